"""How much of its agents' actions a controller should keep."""

import numpy as np
import pytest

from experiments.problems.problem import Problem
from experiments.suites import shares
from experiments.suites.shares import BASE, Variant, lines, measure
from ganno_jax.controller_files import load
from ganno_jax.policies import Ensemble


def test_a_variant_scales_the_bound_of_the_actions_and_the_base():
    policy = load("muon").policy
    kept = Variant(0.5, 2.0, 3.0).of(load("muon")).policy
    assert kept.actions.size.alpha == 0.5 * policy.actions.size.alpha
    assert kept.actions.forgetting.alpha == 0.5 * policy.actions.forgetting.alpha
    assert kept.actions.size.relative_size == 2 * policy.actions.size.relative_size
    assert kept.actions.forgetting.kappa == 3 * policy.actions.forgetting.kappa


def test_gains_are_over_the_base_problem_by_problem_and_the_worst_is_named():
    variants = (BASE, Variant(1.0, 1.0, 0.5))
    losses = {  # two seeds of base and variant
        "second": [np.array([[0.5, 1.5], [0.4, 1.4]]), np.array([[2.0, 2.0], [2.1, 2.5]])],
        "third": [np.zeros((2, 2))],
    }
    assert lines(["muon"], variants, losses)[2:] == [
        "| 0, 1, 1 | +0.000 | +0.000 | +0.000 | +0.000 |",
        "| 1, 1, 0.5 | +0.100 | +0.000 | +0.067 | +0.300 |",
    ]
    of_the_second = (BASE, Variant(1.0, 1.0, 1.0, which=1))
    assert lines(["a", "b"], of_the_second, losses)[3].startswith("| b: 1, 1, 1 |")


@pytest.mark.parametrize(
    "controller, words", [("broad", "whose agents set size and forgetting"), ("no such", "no such")]
)
def test_a_controller_without_these_actions_is_refused_in_one_line(controller, words, capsys):
    with pytest.raises(SystemExit):
        shares.main([controller])
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_words_that_no_problem_has_are_refused_in_one_line(capsys):
    with pytest.raises(SystemExit):
        shares.main(["muon", "--problems", "nothing like it"])
    assert "no problem has such a name" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_team_of_three_alike_does_what_one_does_in_the_same_runs():
    one = load("muon")
    three = one.replace(policy=Ensemble([one.policy] * 3))
    problem = Problem("wine", {"name": "wine"}, {"name": "softmax"}, batch_size=8).of_steps(20)
    variants = (BASE, Variant(1.0, 1.0, 1.0), Variant(1.0, 1.0, 1.0, which=1))
    base, alone, together = measure(problem, [one, three], variants, None, num_seeds=2)
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert np.abs(base - alone).max() > 1e-4


@pytest.mark.slow
def test_no_share_of_the_actions_is_the_base_and_all_of_them_are_the_controller():
    problem = Problem("wine", {"name": "wine"}, {"name": "softmax"}, batch_size=8).of_steps(20)
    variants = (BASE, Variant(0.75, 1.0, 1.0), Variant(0.0, 1.0, 1.0), Variant(0.0, 2.0, 1.0))
    losses = measure(problem, [load("muon")], variants, None, num_seeds=2)
    np.testing.assert_array_equal(losses[0], losses[2])
    assert np.abs(losses[0] - losses[1]).max() > 1e-6
    assert np.abs(losses[0] - losses[3]).max() > 1e-6
