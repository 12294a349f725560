"""How the program ends: at once after an error, and without what TensorStore's threads still want to say."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments import run

ROOT = Path(__file__).parents[2]
# As after a write that failed: JAX was imported, output is not flushed yet, and a thread goes on for a minute.
PROGRAM = """
import sys, threading, time, types
alone = types.SimpleNamespace(is_initialized=lambda: False)
sys.modules["jax"] = types.SimpleNamespace(distributed=alone)
from experiments import run

def main():
    threading.Thread(target=time.sleep, args=({seconds},)).start()
    print("said", end="")
    return {status}

run.main = main
run.program()
"""


def ended(status, seconds=60):
    program = PROGRAM.format(status=status, seconds=seconds)
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def test_after_an_error_the_program_waits_for_no_thread_and_loses_no_output():
    assert ended(2) == (2, "said", "")


def test_without_an_error_it_ends_as_usual():
    assert ended(0, seconds=0) == (0, "said", "")
    assert ended(143, seconds=0) == (143, "said", "")


def test_of_several_processes_each_takes_leave_of_the_others(monkeypatch):
    left = []
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(run, "main", lambda: 2)
    monkeypatch.setattr(run.hosts, "count", lambda: 2)
    monkeypatch.setattr(run.os, "_exit", left.append)
    with pytest.raises(SystemExit) as ended:
        run.program()
    assert (ended.value.code, left) == (2, [])
    assert sys.excepthook is run._without_closed_loops


def test_only_the_loops_that_tensorstore_found_closed_are_not_shown(capsys):
    closed = RuntimeError("Event loop is closed")
    run._without_closed_loops(RuntimeError, closed, closed.__traceback__)
    assert capsys.readouterr().err == ""
    for error in (RuntimeError("another"), ValueError("Event loop is closed")):
        run._without_closed_loops(type(error), error, None)
        assert f"{type(error).__name__}: {error}" in capsys.readouterr().err
