"""Verdicts on pairs of policies, and the sentence that says them."""

import numpy as np
import pytest

from ganno_jax.evaluation.bootstrap import Interval
from ganno_jax.evaluation.headline import differences, headline, verdict

from .test_tables import CHANCE, policy_result, rows_of


def test_a_difference_whose_interval_holds_zero_is_level():
    assert verdict(Interval(-0.1, -0.2, -0.01)) == "lower"
    assert verdict(Interval(0.1, 0.01, 0.2)) == "higher"
    assert verdict(Interval(-0.1, -0.2, 0.0)) == "level"


def test_differences_are_paired_and_a_diverged_run_costs_guessing():
    ours = policy_result("ours", np.array([0.1, 0.2, 0.4, 0.8]) / np.e)
    broken = policy_result("broken", diverged=np.ones(4, bool))
    found = differences([ours, policy_result(), broken], "ours", ["cosine", "broken"], CHANCE)
    np.testing.assert_allclose(found["cosine"], -1.0)
    expected = np.log(ours.final_loss).mean() - np.log(CHANCE)
    np.testing.assert_allclose(found["broken"].estimate, expected)


def test_a_gain_is_the_policy_s_own_only_where_it_is_lower_than_all():
    rows = list(rows_of(policy_result(), policy_result("low", [0.01] * 4)).values())
    lower, level = Interval(-2.0, -2.5, -1.5), Interval(-0.1, -0.2, 0.1)
    sentence = headline(rows, "low", {"the base": lower, "the replay": lower})
    assert "Over 4 runs low ends at a mean log test loss of -4.605 [-4.605, -4.605]" in sentence
    assert "99.0% test accuracy; no run diverged" in sentence
    assert "-2.000 [-2.500, -1.500] to the base: lower" in sentence
    assert sentence.endswith("Lower than all of them: a gain of its own.")
    sentence = headline(rows, "low", {"the base": lower, "the replay": level})
    assert "to the replay: level" in sentence
    assert sentence.endswith("No gain of its own: not lower than the replay.")


def test_a_policy_that_is_not_in_the_table_is_refused():
    rows = list(rows_of(policy_result()).values())
    with pytest.raises(ValueError, match="No policy 'x' in the table; there are: cosine"):
        headline(rows, "x", {})
