"""A whole run of a tiny experiment: what it leaves, and what is made of that again."""

import csv
import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments.configs import presets
from experiments.run import main
from experiments.runs.enter import command_of, resume_command

from .tiny import assert_one_line, flip_a_bit, read

ROOT = Path(__file__).parents[2]
SUMMARY = {
    *("best_schedule_name", "evaluation_runs", "inner_steps_per_second"),
    *("seconds_total", "seconds_compile"),
}
SPLITS = {
    *("controller", "best_schedule", "paired_difference", "paired_difference_ci95"),
    *("controller_accuracy_median", "controller_accuracy_worst_decile"),
}
FIGURES = {
    *("accuracy", "layer_rates", "learning_curve", "policies", "profiles", "schedules"),
    "sensitivity",
}


def test_a_run_leaves_every_file(whole):
    summary = json.loads((whole / "summary.json").read_text())
    assert set(summary) >= SUMMARY | SPLITS | {f"selection_{name}" for name in SPLITS}
    assert summary["evaluation_runs"] == 10
    low, high = summary["paired_difference_ci95"]
    assert low <= summary["paired_difference"] <= high
    difference = summary["controller"] - summary["best_schedule"]
    assert summary["paired_difference"] == pytest.approx(difference, abs=1e-6)
    assert {path.stem for path in (whole / "figures").glob("*.png")} >= FIGURES
    assert "data:image/png" in (whole / "report.html").read_text()
    assert list((whole / "tensorboard").glob("events.*"))
    assert list((whole / "profile").rglob("*.xplane.pb"))
    description = json.loads((whole / "config.json").read_text())
    assert description["config"]["learner"]["num_updates"] == 4
    assert description["versions"]["jax"] == jax.__version__
    assert len(description["devices"]) == 2
    assert [line["update"] for line in read(whole / "metrics.jsonl")] == [1, 2, 3, 4]
    curve = read(whole / "curve.jsonl")
    assert [line["update"] for line in curve] == [0, 2, 4]
    assert all(x["lower"] <= x["selection_log_loss"] <= x["upper"] for x in curve)


def test_the_best_schedule_is_the_one_that_tuning_chose_on_the_selection_split(whole):
    summary = json.loads((whole / "summary.json").read_text())
    with (whole / "tables" / "policies.csv").open() as file:
        rows = list(csv.DictReader(file))
    schedules = [row for row in rows if row["kind"] == "schedule"]
    assert len(schedules) == 15
    with (whole / "tables" / "tuning.csv").open() as file:
        tried = list(csv.DictReader(file))
    most = max(int(row["seeds"]) for row in tried)
    finalists = [row for row in tried if int(row["seeds"]) == most]
    best = min(finalists, key=lambda row: float(row["selection_log_loss"]))
    assert summary["best_schedule_name"] == best["schedule"]
    assert best["best"] == "1"
    reported = [row for row in schedules if float(row["difference"]) == 0.0]
    assert summary["best_schedule"] == pytest.approx(float(reported[0]["log_loss"]), abs=1e-6)
    seeds = sum(int(row["seeds"]) for row in tried)
    assert (summary["tuning_runs"], summary["tuning_choice_loss"] >= 0) == (seeds, True)


def test_the_first_rows_are_the_agents_and_those_their_gain_is_judged_by(whole):
    with (whole / "tables" / "policies.csv").open() as file:
        rows = [row["policy"] for row in csv.DictReader(file)]
    assert rows[:3] == ["Agents (MAPPO)", "Their base, no agents", "Replay of their mean settings"]
    assert rows[3] == "State-blind agents (1 updates)"
    assert set(rows[-3:]) >= {"Random agents", "Constant, untuned"}
    summary = json.loads((whole / "summary.json").read_text())
    for key in ("base", "replay", "blind"):
        low, high = summary[f"difference_to_{key}_ci95"]
        assert low <= summary[f"difference_to_{key}"] <= high
        assert f"selection_difference_to_{key}" in summary
    verdicts = sum(summary["headline"].count(f": {word}") for word in ("lower", "level", "higher"))
    assert verdicts == 4


def test_plot_draws_again_without_training_or_evaluating(whole, capsys):
    (whole / "report.html").unlink()
    (whole / "figures" / "sensitivity.png").unlink()
    before = (whole / "summary.json").read_text()
    assert main(["plot", "digits", "--run.folder", str(whole.parent)]) == 0
    assert (whole / "report.html").is_file()
    assert (whole / "figures" / "sensitivity.png").is_file()
    assert (whole / "summary.json").read_text() == before
    assert str(whole / "report.html") in capsys.readouterr().out


def test_evaluate_repeats_the_report_of_the_run(whole):
    before = json.loads((whole / "summary.json").read_text())
    assert main(["evaluate", "digits", "--run.folder", str(whole.parent)]) == 0
    after = json.loads((whole / "summary.json").read_text())
    assert after["controller"] == before["controller"]
    assert after["paired_difference_ci95"] == before["paired_difference_ci95"]


def test_a_run_whose_configuration_is_lost_is_drawn_as_before(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "digits")
    (tmp_path / "digits" / "config.json").unlink()
    assert main(["plot", "digits", "--run.folder", str(tmp_path)]) == 0
    assert "config.json was lost; checkpoints/4 has it" in capsys.readouterr().out
    before, after = ((run / "summary.json").read_text() for run in (whole, tmp_path / "digits"))
    assert after == before


def test_evaluate_notices_one_flipped_bit_in_the_state_blind_agents(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "digits")
    snapshot = tmp_path / "digits" / "snapshots" / "blind_00001.msgpack"
    flip_a_bit(snapshot)
    assert main(["evaluate", "digits", "--run.folder", str(tmp_path)]) == 2
    assert_one_line(capsys, "blind_00001.msgpack cannot be read (it is not as it was written)")


@pytest.mark.parametrize(
    "file, content, said",
    [
        ("timing.json", b"{}", "timing.json cannot be read: it is not as it was written"),
        ("curve.jsonl", b'{"update": 1}', "curve.jsonl cannot be read: it is not as it was"),
        ("tables/curves.npz", b"cut", "no evaluation to draw"),
        ("config.json", b'{"config": []}', "config.json cannot be read"),
    ],
)
def test_a_damaged_evaluation_is_one_line(whole, tmp_path, capsys, file, content, said):
    shutil.copytree(whole, tmp_path / "digits", ignore=shutil.ignore_patterns("checkpoints"))
    (tmp_path / "digits" / file).write_bytes(content)
    assert main(["plot", "digits", "--run.folder", str(tmp_path)]) == 2
    assert_one_line(capsys, said)


def test_a_program_without_standard_output_works(tmp_path):
    words = "train digits --run.name a/b"
    command = f"{sys.executable} -m experiments.run {words} >&-"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: `run.name`")
    words = f"{sys.executable} -m experiments.run list >&- 2>&-"
    assert subprocess.run(words, shell=True, cwd=ROOT, capture_output=True).returncode == 0


def test_commands_are_quoted_and_say_where_the_run_is():
    words = ["train", "digits", "--run.name", "my run", "--resume"]
    command = resume_command(words)
    assert shlex.split(command)[3:] == [*words[:-1], "--run.resume"]
    config = presets.digits()
    assert command_of("evaluate", config) == "python -m experiments.run evaluate digits"
    run = dataclasses.replace(config.run, folder="else where", name="x")
    elsewhere = command_of("train", dataclasses.replace(config, run=run), "--run.resume")
    assert elsewhere.endswith("digits --run.folder 'else where' --run.name x --run.resume")
