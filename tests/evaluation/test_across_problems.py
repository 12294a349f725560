"""Statistics over problems against hand computations and plain resampling."""

import numpy as np
import pytest
import scipy.stats

from ganno_jax.evaluation.across_problems import (
    at_or_below,
    is_level,
    over_problems,
    worst_problem,
)
from ganno_jax.evaluation.statistics import interquartile_mean

BY_HAND = [np.array([[-1.0, 0.0, 0.4]]), np.array([[0.1, -0.1]]), np.array([[0.3, 0.1]])]


def test_at_or_below_and_worst_are_of_the_mean_paired_difference():
    np.testing.assert_array_equal(at_or_below(BY_HAND), [True, True, False])  # 0 is at
    worst = worst_problem(BY_HAND)
    assert worst.problem == 2
    np.testing.assert_allclose(worst.difference, 0.2)


def test_one_bad_run_counts_in_proportion():
    assert not at_or_below([np.array([[-0.1] * 9 + [1.0]])])[0]
    assert at_or_below([np.array([[-0.1] * 9 + [0.8]])])[0]


def test_every_problem_weighs_the_same():
    many, few = np.full((1, 50), 1.0), np.full((1, 2), -1.0)
    assert over_problems([many, few]).estimate == 0


def test_equal_differences_leave_no_doubt():
    assert over_problems([np.full((2, 3), -0.5)] * 4) == (-0.5, -0.5, -0.5)


def test_problems_that_differ_widen_the_interval_as_resampling_them_does():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, 12)
    differences = [c + rng.normal(0, 0.01, (1, 10)) for c in centres]
    interval = over_problems(differences)
    plain = [np.mean(rng.choice(centres, 12)) for _ in range(10_000)]
    np.testing.assert_allclose(interval[1:], np.quantile(plain, [0.025, 0.975]), atol=0.04)


def test_the_middle_half_is_scipys_trimmed_mean_and_no_problem_owns_it():
    rng = np.random.default_rng(0)
    differences = [c + rng.normal(0, 0.01, (2, 6)) for c in rng.normal(0, 1, 11)]
    means = [d.mean() for d in differences]
    found = over_problems(differences, statistic=interquartile_mean)
    np.testing.assert_allclose(found.estimate, scipy.stats.trim_mean(means, 0.25))
    plain = [scipy.stats.trim_mean(rng.choice(means, 11), 0.25) for _ in range(5_000)]
    np.testing.assert_allclose(found[1:], np.quantile(plain, [0.025, 0.975]), atol=0.1)
    small = [np.full((1, 3), x) for x in (-0.1, 0.0, 0.1, 0.2)]
    solved = [*small[1:], np.full((1, 3), -8.0)]
    assert over_problems(solved).estimate < -1
    np.testing.assert_allclose(
        over_problems(solved, statistic=interquartile_mean).estimate, (0.0 + 0.1) / 2
    )


def test_learners_that_differ_everywhere_alike_are_not_averaged_away_by_problems():
    luck = np.array([-1.0, 1.0, -1.0, 1.0])[:, None] * np.ones((4, 10))
    interval = over_problems([luck] * 50)
    # The mean of four draws of +-1 has the standard deviation 1/2 however many problems there are.
    assert interval.upper - interval.lower > 1.5
    assert is_level(interval)
    assert not is_level(over_problems([luck[:1]] * 50))


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ([], "as many learners"),
        ([np.zeros((1, 3)), np.zeros((2, 3))], "as many learners"),
        ([np.array([[np.nan]])], "costs its first loss"),
    ],
)
def test_what_has_no_meaning_is_refused(differences, message):
    with pytest.raises(ValueError, match=message):
        over_problems(differences)
