"""The best of so many trials, against every draw written out."""

import itertools

import numpy as np
import pytest

from ganno_jax.evaluation.best_of import best_of


def by_hand(chosen_by, reported, budget):
    """The mean over all draws of the others."""
    outcomes = []
    for others in itertools.combinations(range(1, len(chosen_by)), budget - 1):
        best = min((0, *others), key=lambda trial: chosen_by[trial])
        outcomes.append(reported[best])
    return np.mean(outcomes)


@pytest.mark.parametrize("seed", range(5))
def test_the_expectation_is_that_over_all_draws(seed):
    rng = np.random.default_rng(seed)
    chosen_by, reported = rng.normal(size=(2, 3, 7))
    budgets = [1, 2, 3, 6, 7]
    found = best_of(chosen_by, reported, budgets)
    wanted = [[by_hand(c, r, k) for k in budgets] for c, r in zip(chosen_by, reported, strict=True)]
    np.testing.assert_allclose(found, wanted)


def test_one_trial_is_the_first_and_all_are_the_best_whatever_is_reported_of_it():
    chosen_by, reported = np.array([2.0, 3.0, 1.0]), np.array([0.0, 5.0, 9.0])
    np.testing.assert_allclose(best_of(chosen_by, reported, [1, 3]), [0.0, 9.0])


def test_a_first_trial_that_is_no_worse_is_kept():
    tied = np.array([1.0, 1.0, 1.0])
    np.testing.assert_allclose(best_of(tied, np.array([4.0, 1.0, 2.0]), [1, 2, 3]), 4.0)


def test_a_single_trial_is_enough():
    np.testing.assert_allclose(best_of(np.ones((2, 1)), np.full((2, 1), 3.0), [1]), 3.0)


@pytest.mark.parametrize("budget", [0, 4])
def test_a_budget_beyond_the_trials_is_refused(budget):
    with pytest.raises(ValueError, match=f"from 1 to the 3 trials; got {budget}"):
        best_of(np.zeros(3), np.zeros(3), [budget])


def test_what_is_not_finite_or_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="finite"):
        best_of(np.array([0.0, np.nan]), np.zeros(2), [1])
    with pytest.raises(ValueError, match="shapes differ"):
        best_of(np.zeros(3), np.zeros(2), [1])
