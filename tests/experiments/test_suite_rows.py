"""Rows and headlines of a suite, computed by hand."""

import numpy as np
import pytest
from rich.console import Console

from experiments.suites.cells import Cell
from experiments.suites.commands import _sentence
from experiments.suites.compare import (
    LEARNERS,
    finals,
    over_adamw,
    overall,
    overview,
    problem_rows,
    shown,
)
from experiments.suites.headline import headline
from experiments.suites.methods import (
    ADAMW,
    BASE,
    BLIND,
    OURS,
    REFERENCE,
    REPLAY,
    learner_seed,
)
from ganno_jax.evaluation.display import format_table
from ganno_jax.evaluation.optax_loop import LoopResult

pytestmark = pytest.mark.usefixtures("_quick_compilation")


def cell(final, curve=(3.0, 2.0, 1.0), selection=None, **info):
    final = np.array(final, float)
    runs = final.size
    curves = np.broadcast_to(np.array(curve), (runs, len(curve)))
    return Cell(
        LoopResult(
            curve=curves,
            accuracy_curve=np.full_like(curves, 0.1),
            final_loss=final,
            final_accuracy=np.where(np.isfinite(final), 0.75, np.nan),
            selection_loss=final if selection is None else np.array(selection, float),
            selection_accuracy=np.full(runs, 0.5),
            first_loss=np.full(runs, 3.0),
            observed=None,
        ),
        np.array([0, 10, 20]),
        {"tuning_runs": 0, "inner_steps": 20 * runs, **info},
        1.0,
    )


def cells(ours, theirs, **more):
    info = {"schedule": "cosine", "peak": 0.1, "tuning_runs": 30, "choice_loss": 0.004}
    return {OURS: cell(ours, (3.0, 1.0, 0.5)), REFERENCE: cell(theirs, **info), **more}


def test_rows_are_those_computed_by_hand():
    suite = {
        "a": cells([0.5] * 4, [1.0] * 4),  # log loss lower by log 2
        "b": cells([2.0] * 4, [1.0] * 4),  # higher by log 2
    }
    np.testing.assert_allclose(finals(suite["a"])[OURS], np.log(0.5))
    rows = {row["method"]: row for row in overall(suite)}
    ours = rows[OURS]
    np.testing.assert_allclose(ours["difference"], 0.0, atol=1e-12)
    # Over problems either may be drawn twice; over the runs of these problems nothing varies.
    np.testing.assert_allclose(
        [ours["difference_lower"], ours["difference_upper"]], [-np.log(2), np.log(2)]
    )
    np.testing.assert_allclose([ours["runs_lower"], ours["runs_upper"]], 0.0, atol=1e-12)
    np.testing.assert_allclose(ours["worst_difference"], np.log(2.0))
    assert ours["worst_problem"] == "b"
    assert (ours["at_or_below"], ours["problems"], ours["P_better"]) == (1, 2, 0.5)
    assert rows[REFERENCE]["tuning_runs"] == 30
    assert rows[REFERENCE]["inner_steps"] == 160
    assert [row[f"minus {REFERENCE}"][:6] for row in overview(suite)] == ["-0.693", "+0.693"]
    assert [row["accuracy"] for row in overview(suite)] == ["75.0%", "75.0%"]
    assert problem_rows(suite["a"])[1]["settings"] == "cosine peak 0.1"


def test_selection_numbers_stand_apart_from_reported_ones():
    suite = {"a": {**cells([2.0] * 4, [1.0] * 4), OURS: cell([2.0] * 4, selection=[0.5] * 4)}}
    ours = overall(suite)[0]
    np.testing.assert_allclose(ours["difference"], np.log(2))
    np.testing.assert_allclose(ours["selection_difference"], -np.log(2))


def test_a_run_that_got_worse_costs_its_first_loss():
    worse = cells([50.0, np.nan, 3.0, 1.0], [1.0] * 4)
    np.testing.assert_allclose(finals(worse)[OURS], np.log([3.0, 3.0, 3.0, 1.0]))


def test_the_controller_and_what_its_gain_is_measured_against_come_first():
    worst = {name: cell([9.0] * 4) for name in (BLIND, REPLAY, BASE)}
    suite = {"a": {"better": cell([0.1] * 4), **worst, **cells([2.0] * 4, [1.0] * 4)}}
    names = [OURS, BASE, REPLAY, BLIND, "better", REFERENCE]
    assert [row["method"] for row in overall(suite)] == names
    assert [row["method"] for row in problem_rows(suite["a"])] == names


def test_learner_seeds_are_rows_of_their_own_and_one_of_all():
    suite = {"a": cells([2.0] * 4, [1.0] * 4, **{learner_seed(2): cell([0.5] * 4)})}
    rows = {row["method"]: row for row in overall(suite)}
    np.testing.assert_allclose(rows[LEARNERS]["difference"], 0.0, atol=1e-12)
    np.testing.assert_allclose(rows[LEARNERS]["difference_upper"], np.log(2))
    assert rows[OURS]["difference_upper"] == rows[OURS]["difference_lower"]


def test_the_headline_says_what_is_level_and_claims_nothing_about_other_problems():
    level = {
        n: {**cells([x] * 4, [1.0] * 4), BASE: cell([3.0] * 4)} for n, x in (("a", 0.5), ("b", 2.0))
    }
    sentence = headline(level, "development suite, 2 problems")
    assert (
        f"Level, since the interval over problems and seeds holds 0, with: {REFERENCE}." in sentence
    )
    assert f"{BASE} -1.0" in sentence
    assert "at or below it in 1 of 2" in sentence
    assert "Whether the agents gain by what they see is not told without" in sentence
    for word in ("zero-shot", "unseen", "without tuning"):
        assert word not in sentence.lower()


def test_a_gain_is_the_agents_own_only_where_they_are_lower_than_all_that_sees_nothing():
    others = {BASE: cell([3.0] * 4), REPLAY: cell([2.0] * 4)}
    below = {n: {**cells([1.0] * 4, [1.0] * 4), **others, BLIND: cell([2.0] * 4)} for n in "ab"}
    level = {n: {**below[n], BLIND: cell([1.0] * 4)} for n in "ab"}
    assert "The agents gain by what they see: lower than" in headline(below, "")
    assert f"No gain of the agents' own is shown: they are not lower than {BLIND}." in headline(
        level, ""
    )


def test_the_headline_says_how_many_are_right_where_there_are_classes():
    regression = {name: cell([1.0] * 4) for name in (OURS, REFERENCE)}
    for found in regression.values():
        found.result.final_accuracy[:] = np.nan
        found.result.accuracy_curve[:] = np.nan
    half = cells([0.5] * 4, [1.0] * 4)
    half[OURS].result.final_accuracy[:] = 0.5
    sentence = headline({"a": half, "b": regression}, "development suite")
    assert "mean over the problems with classes (1): the controller 50.0%" in sentence
    assert f"{REFERENCE} 75.0%." in sentence
    assert "ccuracy" not in headline({"b": regression}, "development suite")
    assert {row["accuracy"] for row in shown(overall({"b": regression}))} == {"-"}


def test_what_a_choice_may_have_lost_is_on_the_terminal_in_120_columns(capsys):
    named = {"Schedule-Free AdamW, AlgoPerf": cell([1.0] * 4)}
    found = cells([0.5] * 4, [1.0] * 4, **named)
    assert _sentence(found).endswith("; expected loss from a bad choice 0.004")
    rows = {row["method"]: row for row in shown(overall({"a": found}))}
    assert rows[REFERENCE]["choice\nloss"] == "0.004"
    assert rows[OURS]["choice\nloss"] == "-"
    Console(width=120).print(format_table(list(rows.values()), "title"))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.rstrip().endswith("0.004") for line in lines)


def test_the_speed_up_is_of_the_steps_to_where_tuned_adamw_ends():
    found = cells([0.5] * 4, [1.0] * 4, **{ADAMW: cell([1.0] * 4)})
    assert over_adamw(found, OURS) == 2.0  # at AdamW's last loss after 10 steps, not 20
    assert np.isnan(over_adamw(cells([0.5] * 4, [1.0] * 4), OURS))
