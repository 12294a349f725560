"""Rows of a table against NumPy, and their way through CSV and terminal."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

from ganno_jax.evaluation import csv_tables
from ganno_jax.evaluation.csv_tables import csv_of, write_csv
from ganno_jax.evaluation.display import shown_columns
from ganno_jax.evaluation.tables import PolicyResult, format_table, summarize

CHANCE = math.log(10)


def policy_result(name="cosine", final=(0.1, 0.2, 0.4, 0.8), peak=0.1, **changed):
    final = np.asarray(final, float)
    fields = {
        "kind": "schedule",
        "peak": peak,
        "final_loss": final,
        "final_accuracy": np.exp(-final),
        "selection_loss": final / 2,
        "selection_accuracy": np.exp(-final / 2),
        "auc": np.log(final),
        "diverged": np.zeros(final.size, bool),
        "initial_rate": np.full(final.size, 0.1),
        "loss_curve": final[:, None] * np.array([8.0, 4.0, 2.0, 1.0]),
        "steps": np.array([10, 20, 30, 40]),
    }
    return PolicyResult(name=name, **(fields | changed))


def rows_of(*results, reference="cosine", chance=CHANCE, **changed):
    rows = summarize(results, reference, chance, num_resamples=500, **changed)
    return {row["policy"]: row for row in rows}


def test_a_row_holds_the_plain_statistics_of_its_runs():
    final = np.array([0.1, 0.2, 0.4, 0.8])
    row = rows_of(policy_result(final=final))["cosine"]
    assert row["runs"] == 4
    np.testing.assert_allclose(row["log_loss"], np.log(final).mean())
    np.testing.assert_allclose(row["log_loss_iqm"], np.log([0.2, 0.4]).mean())
    np.testing.assert_allclose(row["accuracy"], np.exp(-final).mean())
    np.testing.assert_allclose(row["selection_log_loss"], np.log(final / 2).mean())
    np.testing.assert_allclose(row["selection_accuracy"], np.exp(-final / 2).mean())
    np.testing.assert_allclose(row["accuracy_median"], np.median(np.exp(-final)))
    np.testing.assert_allclose(row["accuracy_worst_decile"], np.exp(-0.8))
    assert row["log_loss_lower"] < row["log_loss"] < row["log_loss_upper"]


def test_the_reference_compares_with_itself_as_equal():
    row = rows_of(policy_result())["cosine"]
    assert (row["difference"], row["improvement"], row["speedup"]) == (0, 0.5, 1)


def test_a_diverged_run_costs_as_much_as_guessing_everywhere():
    broken = policy_result("broken", diverged=np.array([True, False, False, False]))
    row = rows_of(policy_result(), broken)["broken"]
    np.testing.assert_allclose(row["log_loss"], np.log([CHANCE, 0.2, 0.4, 0.8]).mean())
    np.testing.assert_allclose(row["selection_log_loss"], np.log([CHANCE, 0.1, 0.2, 0.4]).mean())
    np.testing.assert_allclose(row["accuracy_worst_decile"], 0.1)
    assert row["share_diverged"] == 0.25


def test_broken_numbers_without_a_flag_count_as_diverged_too():
    lost = np.array([np.nan, 0.2, 0.4, 0.8])
    flagged = policy_result("flagged", diverged=np.isnan(lost))
    silent = policy_result("silent", final=lost)
    rows = rows_of(policy_result(), flagged, silent)
    for key in ("log_loss", "accuracy_worst_decile", "selection_accuracy", "share_diverged"):
        assert rows["silent"][key] == rows["flagged"][key]


def test_speedup_is_the_ratio_of_steps_to_the_end_of_the_reference():
    fast = policy_result("fast", loss_curve=policy_result().loss_curve / 4)
    slow = policy_result("slow", loss_curve=policy_result().loss_curve * 1.5)
    rows = rows_of(policy_result(), fast, slow)
    assert rows["fast"]["speedup"] == 2  # there after 20 steps, the reference after 40
    assert math.isnan(rows["slow"]["speedup"])


def test_a_reference_that_ends_above_its_start_gives_a_table():
    rising = np.broadcast_to([0.5, 0.6, 1.0, 1.5], (4, 4))
    steps = np.array([0, 10, 20, 30])
    risen = policy_result(loss_curve=rising, steps=steps)
    falling = policy_result("falling", loss_curve=rising[:, ::-1] * 1.2, steps=steps)
    rows = rows_of(risen, falling)
    assert rows["cosine"]["speedup"] == 1  # there before the first step
    assert rows["falling"]["speedup"] == 0
    format_table(list(rows.values()))


def test_a_run_that_diverged_last_does_not_hold_its_last_loss_in_the_curve():
    diverged = policy_result("diverged", diverged=np.array([True, False, False, False]))
    assert math.isnan(rows_of(policy_result(), diverged)["diverged"]["speedup"])


def test_rows_are_sorted_and_compared_in_pairs():
    better = policy_result("better", final=np.array([0.1, 0.2, 0.4, 0.8]) / math.e)
    rows = summarize([policy_result(), better], "cosine", CHANCE, num_resamples=200)
    assert [row["policy"] for row in rows] == ["better", "cosine"]
    ends = [rows[0]["difference" + end] for end in ("", "_lower", "_upper")]
    np.testing.assert_allclose(ends, -1)  # every pair differs by one in log loss


def test_tasks_are_strata():
    task = np.array([0, 0, 1, 1])
    row = rows_of(policy_result(final=[0.1, 0.1, 0.8, 0.8], task=task))["cosine"]
    np.testing.assert_allclose(row["log_loss_lower"], row["log_loss_upper"])


def test_measurements_that_nobody_made_stay_out_of_the_table():
    none = np.full(4, np.nan)
    rows = summarize(
        [policy_result(final_accuracy=none, selection_accuracy=none, selection_loss=none)],
        "cosine",
        CHANCE,
        num_resamples=10,
    )
    assert math.isnan(rows[0]["selection_log_loss"])
    shown = {column.header for column in format_table(rows).columns}
    assert not shown & {"test\nacc.", "worst\n10%", "selec.\nloss", "selec.\nacc."}


@pytest.mark.parametrize(
    "results, message",
    [
        ([policy_result("linear")], "No policy 'cosine' to compare with; there are: linear"),
        ([policy_result(), policy_result()], "unique names"),
        ([policy_result(), policy_result("few", [0.1, 0.2])], "'few' has 2 runs, 'cosine' 4"),
        ([policy_result(), policy_result("b", task=np.arange(4))], "the same tasks"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(results, message):
    with pytest.raises(ValueError, match=message):
        summarize(results, "cosine", CHANCE, num_resamples=10)


def test_fields_of_the_wrong_length_are_refused():
    with pytest.raises(ValueError, match=r"`auc` of 'cosine'.*got \(3,\)"):
        policy_result(auc=np.zeros(3))
    with pytest.raises(ValueError, match=r"`loss_curve` of 'cosine' needs shape \[4, decision\]"):
        policy_result(loss_curve=np.zeros((3, 4)))


def test_csv_gives_back_what_was_written(tmp_path):
    rows = summarize(
        [policy_result(), policy_result('agents, "deep"', [0.3, 0.1, 0.2, 0.2], None)],
        "cosine",
        CHANCE,
        num_resamples=100,
    )
    write_csv(rows, tmp_path / "table.csv")
    back = csv_tables.rows_of((tmp_path / "table.csv").read_text())
    assert str(back) == str(rows)  # as text, because nan is not equal to itself
    with pytest.raises(ValueError, match="at least one row"):
        write_csv([], tmp_path / "none.csv")


def test_the_report_split_stands_before_what_was_chosen():
    rows = list(rows_of(policy_result()).values())
    keys = [column.key for column, _ in shown_columns(rows)]
    assert keys[:3] == ["policy", "log_loss", "accuracy"]
    assert keys[-3:] == ["peak", "selection_log_loss", "selection_accuracy"]
    numbers = [key for key, value in rows[0].items() if isinstance(value, float)]
    assert numbers[0] == "log_loss"


def test_a_text_with_a_row_of_another_length_is_no_table():
    text = csv_of([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])
    for damaged in (text + "3\n", text + "3,z,4\n"):
        with pytest.raises(ValueError, match="as many entries as the header"):
            csv_tables.rows_of(damaged)
    with pytest.raises(ValueError, match="no table"):
        csv_tables.rows_of(text + '3,"z')


def test_the_terminal_table_fits_120_columns_and_emphasizes_the_best():
    rows = summarize(
        [policy_result("warmup-stable-decay"), policy_result("agents [ours]", [0.1] * 4, None)],
        "warmup-stable-decay",
        CHANCE,
        num_resamples=100,
    )
    console = Console(width=120, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(format_table(rows, "Digits [4 runs]"))
    text = console.file.getvalue()
    plain = Console(width=120, file=io.StringIO())
    plain.print(format_table(rows, "Digits [4 runs]"))
    assert "\x1b[1m-2.303 [-2.303, -2.303]\x1b[0m" in text
    lines = plain.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    assert "Digits [4 runs]" in lines[0]
    assert sum("warmup-stable-decay " in line for line in lines) == 1  # on one line, uncut
