"""Whole runs of a tiny experiment: what they leave, and that stopping them changes nothing."""

import contextlib
import csv
import dataclasses
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.agents import commands, training, updates
from experiments.agents.updates import Updates
from experiments.configs import presets
from experiments.run import main
from experiments.runs import folder, session
from experiments.runs.beginning import command_of, resume_command
from experiments.runs.progress import Bar
from ganno_jax.checkpoint import Checkpoints

from .tiny import RUN, numbers, read

ROOT = Path(__file__).parents[2]
ONLY_TRAIN = "--evaluate.no_after_training"
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


def arguments(folder, *more):
    return ["train", "digits", *RUN.split(), "--run.folder", str(folder), *more]


def flip_a_bit(checkpoint):
    """In its largest file."""
    files = [path for path in (checkpoint / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def learned(run):
    """The final learner state as bytes, leaf by leaf."""
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(run / "checkpoints" / "4" / "state")
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(found)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs")
    assert main(arguments(folder, "--profile")) == 0
    return folder / "digits"


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
    assert [line["update"] for line in read(whole / "curve.jsonl")] == [0, 2, 4]


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
    best = min(finalists, key=lambda row: float(row["log_loss"]))
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


@pytest.fixture
def stopping(monkeypatch):
    """Sends this process SIGTERM once a bar is somewhere."""
    show = Bar.show

    @contextlib.contextmanager
    def stopping(what, at):
        def show_and_stop(self, done, note=""):
            show(self, done, note)
            if self._what == what and done == at:
                os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(Bar, "show", show_and_stop)
            yield

    return stopping


@pytest.mark.parametrize("stop, per_call", [(2, "1"), pytest.param(1, "3", marks=pytest.mark.slow)])
def test_a_stopped_run_says_how_to_go_on_and_ends_as_if_it_had_not_stopped(
    whole, tmp_path, stopping, capsys, stop, per_call
):
    with stopping("updates", stop):
        assert main(arguments(tmp_path)) == 143
    error = capsys.readouterr().err
    assert "--run.resume" in error
    assert len(error.splitlines()) == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert Checkpoints(tmp_path / "digits" / "checkpoints").latest == stop
    chunk = ("--run.updates_per_call", per_call)
    words = ["train", "digits", "--run.folder", str(tmp_path), "--run.resume"]  # no flag again
    assert main([*words, ONLY_TRAIN, *chunk]) == 0
    files = ("metrics.jsonl", "curve.jsonl")
    assert numbers(tmp_path / "digits", *files) == numbers(whole, *files)
    assert learned(tmp_path / "digits") == learned(whole)


@pytest.mark.slow
def test_blind_agents_are_the_same_for_any_chunk_length_and_after_a_stop(whole, tmp_path, stopping):
    kept = []
    for number, per_call in enumerate(("1", "3")):
        runs = tmp_path / per_call
        shutil.copytree(whole, runs / "digits")
        words = ["evaluate", "digits", "--run.folder", str(runs), "--evaluate.blind_updates", "4"]
        if number:
            with stopping("updates of state-blind agents", 2):
                assert main([*words, "--run.updates_per_call", "1"]) == 143
            assert Checkpoints(runs / "digits" / "checkpoints_blind_4").latest == 2
        assert main([*words, "--run.updates_per_call", per_call]) == 0
        assert not (runs / "digits" / "checkpoints_blind_4").exists()
        kept.append((runs / "digits" / "snapshots" / "blind_00004.msgpack").read_bytes())
    assert kept[0] == kept[1]


def test_no_chunk_goes_past_an_evaluation_or_the_end():
    updates = Updates.__new__(Updates)
    for updates.longest in (1, 4, 7, 100):
        done, seen = 15, [15]  # where an earlier run stopped
        while done < 45:
            done = updates.end(done, 45, every=20)
            seen.append(done)
        assert {20, 40, 45} <= set(seen)
        assert max(seen) == 45
        assert max(b - a for a, b in itertools.pairwise(seen)) <= updates.longest
    assert updates.end(15, 45) == 45  # no evaluations


def test_a_run_beyond_its_plan_is_refused(whole, monkeypatch, capsys):
    def restored(*given):
        state, metadata = session.restore(*given)
        return state.replace(update=state.update + 1), metadata

    for module in (commands, training):
        monkeypatch.setattr(module, "restore", restored)
    assert main(arguments(whole.parent, "--run.resume")) == 2
    assert_one_line(capsys, "has made 5 updates, more than the 4 of its plan")
    assert main(["evaluate", "digits", "--run.folder", str(whole.parent)]) == 2
    assert_one_line(capsys, "has made 5 updates, more than the 4 of its plan")


def test_a_learner_that_is_not_finite_stops_and_says_since_when(tmp_path, capsys, monkeypatch):
    make = updates.init  # agents whose first update is not finite

    def spoilt(learner, key):
        state = make(learner, key)
        return state.replace(params=jax.tree.map(lambda w: w * np.inf, state.params))

    monkeypatch.setattr(training, "init", spoilt)
    words = arguments(tmp_path, ONLY_TRAIN)
    assert main(words) == 2
    assert_one_line(capsys, "not finite since update 1: stopped")
    assert read(tmp_path / "digits" / "metrics.jsonl") == []
    assert not Checkpoints(tmp_path / "digits" / "checkpoints").numbers


@pytest.mark.slow
def test_a_killed_run_can_be_resumed_and_ends_as_if_it_had_not_been_killed(whole, tmp_path):
    words = arguments(tmp_path, ONLY_TRAIN, "--evaluate.curve_every", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *words],
        cwd=ROOT,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lines = tmp_path / "digits" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if lines.is_file() and lines.stat().st_size:
            break
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with lines.open("a") as file:  # as if it had been killed in the middle of a line
        file.write('{"update": 3, "ret')
    assert main([*words, "--resume"]) == 0
    assert numbers(tmp_path / "digits", "metrics.jsonl") == numbers(whole, "metrics.jsonl")
    assert learned(tmp_path / "digits") == learned(whole)


@pytest.mark.parametrize(
    "change, named",
    [
        ("--learner.learning_rate 0.5", ("learner.learning_rate 0.002", "0.5")),
        ("--env.interval 3", ("env.interval 2", "3")),
        ("--seed 1", ("seed 0", "1")),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(whole, capsys, change, named):
    assert main(arguments(whole.parent, "--run.resume", *change.split())) == 2
    assert_one_line(capsys, *named)


def test_a_checkpoint_of_another_library_version_is_refused(whole, capsys, monkeypatch):
    there = session.versions()["jax"]
    monkeypatch.setattr(session, "versions", lambda: {"jax": "0.0.1"})
    assert main(arguments(whole.parent, "--run.resume")) == 2
    assert_one_line(capsys, f"jax {there}", "0.0.1")


def test_another_run_in_the_folder_is_left_alone(whole, capsys):
    before = (whole / "metrics.jsonl").read_bytes()
    assert main(arguments(whole.parent)) == 2
    assert_one_line(capsys, "holds another run", "--run.resume", "--run.name")
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_a_damaged_checkpoint_costs_only_what_came_after_the_one_before(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "digits")
    run = tmp_path / "digits"
    flip_a_bit(run / "checkpoints" / "4")
    assert main(arguments(tmp_path, "--run.resume", ONLY_TRAIN)) == 0
    said = capsys.readouterr().out
    assert "checkpoints/4 cannot be read" in said.replace("\n", "")
    assert "going on from update 3 of 4" in said
    assert numbers(run, "metrics.jsonl") == numbers(whole, "metrics.jsonl")
    assert learned(run) == learned(whole)
    (run / "checkpoints" / "4").rename(run / "checkpoints" / "5")
    assert main(arguments(tmp_path, "--run.resume", ONLY_TRAIN)) == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert "checkpoints/5 cannot be read (it was written as 4)" in said
    assert learned(run) == learned(whole)
    for number in ("3", "4"):
        flip_a_bit(run / "checkpoints" / number)
    assert main(arguments(tmp_path, "--run.resume", ONLY_TRAIN)) == 2
    assert_one_line(capsys, "checkpoints/4 cannot be read", "no older one")


def test_a_run_without_a_checkpoint_starts_over_and_says_so_but_never_as_another(
    whole, tmp_path, capsys
):
    shutil.copytree(whole, tmp_path / "digits", ignore=shutil.ignore_patterns("checkpoints"))
    before = numbers(whole, "metrics.jsonl")
    assert main(arguments(tmp_path, "--run.resume", "--seed", "1")) == 2
    assert_one_line(capsys, "was made with seed 0; here it is 1", "--run.name")
    assert numbers(tmp_path / "digits", "metrics.jsonl") == before
    assert main(["evaluate", "digits", "--run.folder", str(tmp_path)]) == 2
    assert_one_line(capsys, "no checkpoint")
    assert not (tmp_path / "digits" / "checkpoints").exists()
    assert main(arguments(tmp_path, "--run.resume", ONLY_TRAIN)) == 0
    assert "no checkpoint in" in capsys.readouterr().out
    assert numbers(tmp_path / "digits", "metrics.jsonl") == before


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
    content = bytearray(snapshot.read_bytes())
    content[len(content) // 2] ^= 1
    snapshot.write_bytes(content)
    assert main(["evaluate", "digits", "--run.folder", str(tmp_path)]) == 2
    assert_one_line(capsys, "blind_00001.msgpack cannot be read (it is not as it was written)")


@pytest.mark.parametrize(
    "file, content, said",
    [
        ("timing.json", b"{}", "no evaluation to draw: it has no 'seconds"),
        ("timing.json", b"[", "no evaluation to draw"),
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


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_two_programs_are_never_in_one_folder(whole, capsys, command):
    with folder.held(folder.RunFolder(whole)):
        words = arguments(whole.parent, "--run.resume")
        assert main(words if command == "train" else [command, "digits", *words[-3:-1]]) == 2
    assert_one_line(capsys, "another process is at work in")
    assert main(arguments(whole.parent, "--run.resume", ONLY_TRAIN)) == 0


def test_commands_are_quoted_and_say_where_the_run_is():
    words = ["train", "digits", "--run.name", "my run", "--resume"]
    command = resume_command(words)
    assert shlex.split(command)[3:] == [*words[:-1], "--run.resume"]
    config = presets.digits()
    assert command_of("evaluate", config) == "python -m experiments.run evaluate digits"
    run = dataclasses.replace(config.run, folder="else where", name="x")
    elsewhere = command_of("train", dataclasses.replace(config, run=run), "--run.resume")
    assert elsewhere.endswith("digits --run.folder 'else where' --run.name x --run.resume")


def assert_one_line(capsys, *parts):
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    for part in parts:
        assert part in error
