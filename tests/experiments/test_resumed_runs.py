"""Stopping a run changes nothing: it goes on, or says in one line why it cannot."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.agents import commands, train, updates
from experiments.agents.updates import Updates
from experiments.run import main
from experiments.runs import folder, saved
from experiments.runs.progress import Bar
from ganno_jax.checkpoint import Checkpoints

from .tiny import ONLY_TRAIN, arguments, assert_one_line, flip_a_bit, learned, numbers, read

ROOT = Path(__file__).parents[2]


def largest_file(checkpoint):
    files = [path for path in (checkpoint / "state").rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


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


@pytest.mark.parametrize(
    "stop, per_call",
    [
        (2, "1"),
        pytest.param(1, "3", marks=pytest.mark.slow),
        pytest.param(4, "1", marks=pytest.mark.slow),  # after the last update
    ],
)
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
    restore = saved.restore

    def restored(*given):
        state, metadata = restore(*given)
        return state.replace(update=state.update + 1), metadata

    for module in (commands, saved):
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

    monkeypatch.setattr(train, "init", spoilt)
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
    there = saved.versions()["jax"]
    monkeypatch.setattr(saved, "versions", lambda: {"jax": "0.0.1"})
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
    flip_a_bit(largest_file(run / "checkpoints" / "4"))
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
        flip_a_bit(largest_file(run / "checkpoints" / number))
    assert main(arguments(tmp_path, "--run.resume", ONLY_TRAIN)) == 2
    assert_one_line(capsys, "checkpoints/4 cannot be read", "no older one")


@pytest.mark.slow
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


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_two_programs_are_never_in_one_folder(whole, capsys, command):
    with folder.held(folder.RunFolder(whole)):
        words = arguments(whole.parent, "--run.resume")
        assert main(words if command == "train" else [command, "digits", *words[-3:-1]]) == 2
    assert_one_line(capsys, "another process is at work in")
    assert main(arguments(whole.parent, "--run.resume", ONLY_TRAIN)) == 0
