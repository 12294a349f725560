"""Statistics of runs against hand computations, identities and the coverage of the bootstrap."""

import numpy as np
import pytest
import scipy.stats

from ganno_jax.evaluation.bootstrap import (
    bootstrap_interval,
    mean_band,
    paired_difference,
    probability_of_improvement,
    profile_band,
)
from ganno_jax.evaluation.statistics import (
    area_under_curve,
    interquartile_mean,
    log_losses,
    performance_profile,
    replace_diverged,
    share_diverged,
    steps_to_reach,
    worst_decile,
)

CHANCE = float(np.log(10))


def test_diverged_runs_cost_as_much_as_guessing():
    losses = np.array([0.5, np.nan, np.inf, 100.0, 0.25])
    flagged = np.array([False, False, False, False, True])
    expected = [np.log(0.5), *[np.log(CHANCE)] * 4]
    np.testing.assert_allclose(log_losses(losses, CHANCE, flagged), expected)


def test_a_lower_loss_never_costs_more():
    losses = np.array([0.0, 1e-9, 0.1, 2.0, 2.4, 50.0, np.inf])
    assert (np.diff(log_losses(losses, CHANCE)) >= 0).all()
    assert np.isfinite(log_losses(losses, CHANCE)).all()


def test_every_task_may_have_its_own_chance_loss():
    logged = log_losses(np.array([np.nan, np.nan]), np.log([2.0, 10.0]))
    np.testing.assert_allclose(logged, np.log(np.log([2.0, 10.0])))


def test_logged_losses_and_bad_chance_levels_are_refused():
    with pytest.raises(ValueError, match="not logged yet; got -2"):
        log_losses(np.array([-2.0, 1.0]), CHANCE)
    with pytest.raises(ValueError, match="positive finite"):
        log_losses(np.array([1.0]), np.nan)


def test_share_diverged_counts_flags_and_broken_losses_once():
    losses = np.array([1.0, np.nan, np.inf, 1.0])
    assert share_diverged(losses) == 0.5
    assert share_diverged(losses, np.array([True, True, False, False])) == 0.75
    np.testing.assert_array_equal(replace_diverged(losses, 9.0), [1, 9, 9, 1])


def test_interquartile_mean_drops_a_quarter_at_either_end():
    values = np.array([100.0, 1, 2, 3, 4, 5, 6, -100])
    assert interquartile_mean(values) == np.mean([2, 3, 4, 5])
    # Nine runs drop floor(9 / 4) = 2 at either end.
    assert interquartile_mean(np.arange(9.0) ** 2) == np.mean([4, 9, 16, 25, 36])
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0


def test_interquartile_mean_reduces_the_named_axis():
    values = np.random.default_rng(0).normal(size=(12, 5))
    np.testing.assert_allclose(
        interquartile_mean(values, axis=0), [interquartile_mean(column) for column in values.T]
    )


def test_interquartile_mean_moves_and_scales_with_its_data():
    values = np.random.default_rng(1).normal(size=21)
    np.testing.assert_allclose(
        interquartile_mean(3 - 2 * values), 3 - 2 * interquartile_mean(values)
    )


@pytest.mark.parametrize("num_runs", [1, 3, 4, 7, 32, 37])
def test_interquartile_mean_is_the_trimmed_mean_of_scipy(num_runs):
    values = np.random.default_rng(num_runs).standard_cauchy((3, num_runs))
    expected = scipy.stats.trim_mean(values, 0.25, axis=-1)
    np.testing.assert_allclose(interquartile_mean(values), expected)


def test_worst_decile_is_the_mean_of_the_lowest_tenth():
    scores = np.array([0.9, 0.1, 0.8, 0.7, 0.95, 0.3, 0.6, 0.85, 0.92, 0.5, 0.91])
    np.testing.assert_allclose(worst_decile(scores), 0.2)  # ceil(11 / 10) = 2 runs: 0.1 and 0.3
    assert worst_decile(np.array([0.4, 0.2])) == 0.2


@pytest.mark.parametrize("statistic", [interquartile_mean, worst_decile, bootstrap_interval])
def test_non_finite_values_are_refused_with_a_hint(statistic):
    with pytest.raises(ValueError, match=r"replace_diverged.*got 1 that"):
        statistic(np.array([1.0, np.nan]))


def test_equal_values_have_an_interval_of_width_zero():
    assert bootstrap_interval(np.full(7, 2.5), np.median) == (2.5, 2.5, 2.5)


def test_bootstrap_of_the_mean_has_the_plug_in_standard_error():
    values = np.random.default_rng(2).normal(size=200)
    interval = bootstrap_interval(values, num_resamples=20_000)
    half = 1.959964 * values.std() / np.sqrt(200)
    # Percentiles of 20 000 resamples vary by about 1.5% of the half width.
    np.testing.assert_allclose(interval.upper - interval.estimate, half, rtol=0.06)
    np.testing.assert_allclose(interval.estimate - interval.lower, half, rtol=0.06)


@pytest.mark.parametrize("statistic", [np.mean, np.median, interquartile_mean, worst_decile])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_an_interval_is_the_percentile_bootstrap_of_scipy(statistic, level):
    values = np.random.default_rng(0).exponential(size=37)
    ours = bootstrap_interval(values, statistic, seed=3, num_resamples=999, level=level)
    theirs = scipy.stats.bootstrap(
        (values,),
        statistic,
        n_resamples=999,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(3),  # it draws the same indices
    ).confidence_interval
    np.testing.assert_allclose([ours.lower, ours.upper], [theirs.low, theirs.high])


def test_bootstrap_intervals_of_normal_data_cover_the_mean():
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(400):
        interval = bootstrap_interval(rng.normal(1.0, 2.0, size=40), np.mean, seed, 500)
        covered += interval.lower <= 1.0 <= interval.upper
    # Theory: 93.9% for the percentile bootstrap of 40 runs; 400 repetitions vary by 1.2%.
    assert 0.90 <= covered / 400 <= 0.975


def test_the_seed_decides_the_interval_and_chunks_do_not_change_its_meaning(monkeypatch):
    values = np.random.default_rng(4).normal(size=30)
    once = bootstrap_interval(values, interquartile_mean, seed=5, num_resamples=4000)
    assert once == bootstrap_interval(values, interquartile_mean, seed=5, num_resamples=4000)
    monkeypatch.setattr("ganno_jax.evaluation.bootstrap.CHUNK", 30 * 1000)
    chunked = bootstrap_interval(values, interquartile_mean, seed=5, num_resamples=4000)
    # Monte Carlo error of the 2.5% point with 4000 resamples.
    np.testing.assert_allclose(chunked, once, atol=0.03)


def test_differences_between_tasks_do_not_widen_a_stratified_interval():
    task = np.repeat([0, 1, 2], 5)
    values = 100.0 * task  # runs of a task agree exactly
    assert bootstrap_interval(values, strata=task) == (100, 100, 100)
    free = bootstrap_interval(values)
    assert free.upper - free.lower > 50


def test_strata_may_be_unequal_and_unsorted():
    task = np.array([1, 0, 1, 1, 0])
    values = np.array([3.0, 8.0, 3.0, 3.0, 8.0])
    np.testing.assert_allclose(bootstrap_interval(values, strata=task), np.full(3, 5.0))
    with pytest.raises(ValueError, match="one task per run, 5"):
        bootstrap_interval(values, strata=task[:4])


def test_a_wider_level_contains_the_narrower():
    values = np.random.default_rng(5).normal(size=25)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide.lower < narrow.lower < narrow.upper < wide.upper
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval(values, level=95.0)


def test_pairing_removes_what_both_policies_share():
    rng = np.random.default_rng(6)
    difficulty = rng.normal(0, 10, size=50)
    difference = paired_difference(difficulty - 0.5 + rng.normal(0, 0.01, 50), difficulty)
    np.testing.assert_allclose(difference, np.full(3, -0.5), atol=0.01)
    with pytest.raises(ValueError, match="equally many runs"):
        paired_difference(difficulty, difficulty[:-1])


def test_probability_of_improvement_by_hand():
    # Pairs: 1<2, 1<3, 3 against 2 lost, 3 against 3 tied: (1 + 1 + 0 + 0.5) / 4.
    estimate = probability_of_improvement(np.array([1.0, 3.0]), np.array([2.0, 3.0])).estimate
    assert estimate == 0.625


def test_probability_of_improvement_of_the_two_sides_sums_to_one():
    rng = np.random.default_rng(7)
    ours, theirs = rng.integers(0, 5, 20).astype(float), rng.integers(0, 5, 30).astype(float)
    there = probability_of_improvement(ours, theirs).estimate
    back = probability_of_improvement(theirs, ours).estimate
    np.testing.assert_allclose(there + back, 1)
    assert probability_of_improvement(ours, ours).estimate == 0.5
    # Only the order of the runs matters.
    assert probability_of_improvement(ours**3, theirs**3).estimate == there


def test_probability_of_improvement_is_averaged_over_tasks():
    task = np.array([0, 0, 1, 1])
    ours, theirs = np.array([1.0, 1.0, 9.0, 9.0]), np.array([2.0, 2.0, 8.0, 8.0])
    assert probability_of_improvement(ours, theirs, strata=task) == (0.5, 0.5, 0.5)
    won = probability_of_improvement(ours, np.array([2.0, 2.0, 9.5, 9.5]), strata=task)
    assert won == (1, 1, 1)


def test_the_interval_of_the_probability_of_improvement_agrees_with_plain_resampling():
    rng = np.random.default_rng(8)
    ours, theirs = rng.normal(size=15), rng.normal(0.5, 1, size=12)
    fast = probability_of_improvement(ours, theirs)
    slow = [
        np.mean(rng.choice(ours, 15)[:, None] < rng.choice(theirs, 12)) for _ in range(4000)
    ]  # no ties in continuous data
    # Monte Carlo error of the end points.
    np.testing.assert_allclose(fast[1:], np.quantile(slow, [0.025, 0.975]), atol=0.02)


def test_a_performance_profile_rises_from_none_to_all():
    profile = performance_profile(np.array([1.0, 2.0, 2.0, 4.0]), np.array([0.0, 1, 2, 3, 4]))
    np.testing.assert_array_equal(profile, [0, 0.25, 0.75, 0.75, 1])


def test_the_mean_value_is_the_area_above_the_profile():
    values = np.random.default_rng(9).uniform(size=50)
    thresholds = np.linspace(0, 1, 20_001)
    above = np.mean(1 - performance_profile(values, thresholds))
    np.testing.assert_allclose(above, values.mean(), atol=1e-4)  # width of the grid


def test_bands_hold_the_mean_and_match_the_interval_of_each_point():
    curves = np.random.default_rng(10).normal(size=(40, 3))
    lower, upper = mean_band(curves, num_resamples=10_000)
    assert (lower < curves.mean(axis=0)).all()
    assert (curves.mean(axis=0) < upper).all()
    point = bootstrap_interval(curves[:, 1])
    # Monte Carlo error of the end points.
    np.testing.assert_allclose([lower[1], upper[1]], point[1:], atol=0.02)
    low, high = profile_band(curves[:, 0], np.array([-10.0, 0.0, 10.0]))
    assert low[0] == high[0] == 0
    assert low[2] == high[2] == 1
    assert low[1] < high[1]


def test_steps_to_reach_is_the_first_step_at_the_target():
    curve = np.array([[5.0, 3.0, 1.0, 2.0], [5.0, np.nan, 4.0, np.inf], [5.0, 2.0, np.nan, np.nan]])
    np.testing.assert_array_equal(steps_to_reach(curve, 2.0), [2, np.nan, 1])
    steps = np.array([10, 20, 30, 40])
    np.testing.assert_array_equal(steps_to_reach(curve, 1.0, steps), [30, np.nan, np.nan])


def test_steps_to_reach_agrees_with_the_running_minimum():
    curve = np.random.default_rng(11).normal(size=(20, 50)).cumsum(axis=-1)
    running = np.minimum.accumulate(curve, axis=-1)
    np.testing.assert_array_equal(steps_to_reach(curve, -2.0), steps_to_reach(running, -2.0))


def test_area_under_curve_is_the_mean_log_loss():
    curve = np.array([[1.0, np.exp(-1), np.exp(-2)], [1.0, np.inf, np.nan]])
    expected = [-1.0, 2 / 3 * np.log(CHANCE)]
    np.testing.assert_allclose(area_under_curve(curve, CHANCE), expected)
