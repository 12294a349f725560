"""Two processes on this machine as one program: the same numbers as one process with two devices."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import serialization

from experiments.configs.place import PlaceConfig
from experiments.run import main
from experiments.runs import hosts
from experiments.runs.errors import UserError
from ganno_jax.checkpoint import Checkpoints

from .tiny import RUN, numbers

ROOT = Path(__file__).parents[2]
WORDS = f"train digits {RUN} --learner.num_envs 16 --evaluate.no_after_training".split()


def together(folder, *more):
    """Start both processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    words = [*WORDS, "--run.folder", str(folder), *more]
    words += ["--run.devices", "1", "--run.coordinator", address, "--run.num_processes", "2"]
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
    }
    return [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.run", *words, "--run.process_id", str(number)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def ends(processes):
    """What they said, and how they ended."""
    said = [process.communicate(timeout=240) for process in processes]
    return said, [process.returncode for process in processes]


def assert_same_run(two, one, updates):
    """Up to the order of float additions."""
    for file in ("metrics.jsonl", "curve.jsonl"):
        for ours, theirs in zip(numbers(two, file), numbers(one, file), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert numbers(two / "process_1", "metrics.jsonl") == numbers(two, "metrics.jsonl")
    agents = [run / "snapshots" / f"agents_{updates:05}.msgpack" for run in (two, one)]
    ours, theirs = (jax.tree.leaves(serialization.msgpack_restore(a.read_bytes())) for a in agents)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compilation")
def test_two_processes_learn_what_one_learns(tmp_path):
    said, codes = ends(together(tmp_path / "two"))
    assert codes == [0, 0], said
    assert "updates 4/4" in said[0][0]
    assert "updates" not in said[1][0]  # the first process speaks for all
    assert main([*WORDS, "--run.folder", str(tmp_path / "one")]) == 0
    assert_same_run(tmp_path / "two" / "digits", tmp_path / "one" / "digits", 4)


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compilation")
def test_two_processes_stop_and_go_on_together(tmp_path):
    updates = ("--learner.num_updates", "20")
    processes = together(tmp_path / "two", *updates)
    run = tmp_path / "two" / "digits"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and processes[1].poll() is None:
        if (run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size:
            break
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)  # one is asked, both stop
    said, codes = ends(processes)
    assert codes == [143, 143], said
    assert "--run.resume" in said[0][1]
    stopped = Checkpoints(run / "checkpoints").latest or 0
    assert 0 < stopped < 20
    said, codes = ends(together(tmp_path / "two", *updates, "--run.resume"))
    assert codes == [0, 0], said
    assert f"going on from update {stopped}" in said[0][0]
    assert main([*WORDS, *updates, "--run.folder", str(tmp_path / "one")]) == 0
    assert_same_run(run, tmp_path / "one" / "digits", 20)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_processes": 2}, "need `run.coordinator`"),
        ({"coordinator": "here", "num_processes": 2, "process_id": 0}, "host:port or auto; got"),
        ({"coordinator": "here:1"}, "needs `run.num_processes` and `run.process_id`"),
        ({"coordinator": "here:1", "num_processes": 2, "process_id": 2}, "from 0 to .* = 1; got 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        hosts.join(PlaceConfig(**options))


def test_what_runs_in_one_process_says_so(capsys):
    words = ["train", "search_digits", "--run.coordinator", "here:1"]
    assert main([*words, "--run.num_processes", "2", "--run.process_id", "0"]) == 2
    assert "`train search_digits` runs in one process" in capsys.readouterr().err
