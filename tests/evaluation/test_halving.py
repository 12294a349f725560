"""Successive halving on losses whose best setting is known."""

import numpy as np
import pytest

from ganno_jax.evaluation.halving import Rung, grid_neighbours, successive_halving

RUNGS = (Rung(2, 12), Rung(6, 4), Rung(20))


def noisy(means, noise, seed=0, calls=None):
    """Losses of settings around their means; what all settings share in a seed is ten times as large."""
    rng = np.random.default_rng(seed)
    shared, own = rng.normal(size=64), rng.normal(size=(means.size, 64))

    def run(settings, seeds):
        if calls is not None:
            calls.append((settings.tolist(), seeds.tolist()))
        losses = means[:, None] + 10 * noise * shared + noise * own
        return losses[np.ix_(settings, seeds)]

    return run


def test_without_noise_the_best_setting_is_found_and_nothing_is_lost():
    means = np.random.default_rng(1).normal(size=100)
    found = successive_halving(noisy(means, 0.0), 100, RUNGS)
    assert found.best == means.argmin()
    assert found.choice_loss == 0
    np.testing.assert_allclose(found.means[found.best], means.min())


def test_every_training_is_run_once_and_counted():
    calls = []
    means = np.linspace(0, 1, 100)
    found = successive_halving(noisy(means, 1e-4, calls=calls), 100, RUNGS)
    assert [(len(s), seeds) for s, seeds in calls] == [
        (100, [0, 1]),
        (12, [2, 3, 4, 5]),
        (4, list(range(6, 20))),
    ]
    assert found.trainings == 100 * 2 + 12 * 4 + 4 * 14
    assert np.isfinite(found.losses).sum() == found.trainings


def test_the_estimated_loss_of_a_bad_choice_is_near_the_true_one():
    estimated, true = [], []
    for seed in range(60):
        means = np.random.default_rng(seed).uniform(0, 0.5, size=60)
        found = successive_halving(noisy(means, 0.06, seed), 60, RUNGS)
        estimated.append(found.choice_loss)
        true.append(means[found.best] - means.min())
    assert np.mean(true) < 0.01
    # The bootstrap judges by the losses that it chose from, so it sees a little less than there is.
    assert 0.3 < np.mean(estimated) / np.mean(true) < 1.5


def test_more_seeds_leave_less_to_lose():
    means = np.random.default_rng(2).uniform(0, 0.3, size=40)
    few = successive_halving(noisy(means, 0.1), 40, (Rung(2),))
    many = successive_halving(noisy(means, 0.1), 40, (Rung(2, 20), Rung(10, 8), Rung(40)))
    assert many.choice_loss < few.choice_loss / 2


def test_a_coarse_grid_grows_finer_around_its_best():
    peaks, decays = np.meshgrid(np.arange(13.0), np.arange(5.0), indexing="ij")
    means = ((peaks - 7) ** 2 + (decays - 3) ** 2).ravel()
    start = np.flatnonzero((np.arange(65) // 5 % 2 == 0) & (np.arange(65) % 5 == 1))
    assert means.argmin() not in start
    rungs = (Rung(1, 2), Rung(2, 2), Rung(4))
    found = successive_halving(
        noisy(means, 0.0), 65, rungs, start=start, neighbours=grid_neighbours((13, 5))
    )
    assert found.best == means.argmin()
    assert found.trainings < 65 * 4 / 3
    assert np.isinf(found.means).any()


def test_neighbours_of_a_grid_are_one_step_away_and_stop_at_its_border():
    neighbours = grid_neighbours((2, 3))
    np.testing.assert_array_equal(neighbours[0], [0, 3, 0, 1])
    np.testing.assert_array_equal(neighbours[4], [1, 4, 3, 5])
    np.testing.assert_array_equal(grid_neighbours((1, 2))[1], [1, 1, 0, 1])


@pytest.mark.parametrize(
    ("rungs", "message"),
    [((), "at least one rung"), ((Rung(4), Rung(2)), "rising seeds"), ((Rung(0),), "rising seeds")],
)
def test_rungs_that_cannot_work_are_refused(rungs, message):
    with pytest.raises(ValueError, match=message):
        successive_halving(noisy(np.zeros(3), 0.0), 3, rungs)


def test_a_run_without_a_finite_loss_is_refused():
    with pytest.raises(ValueError, match="a run that diverged costs"):
        successive_halving(lambda settings, seeds: np.full((3, 1), np.nan), 3, (Rung(1),))
