"""Stopping at once, whatever is running."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.runs import hosts
from experiments.runs.errors import Interrupted
from experiments.runs.signals import StopRequest


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def terminate_and_forgive():
    """As JAX does where it reads its compilation cache."""
    try:
        terminate()
    except Exception as error:
        pytest.fail(f"swallowed: {error}")


def test_a_signal_gets_through_code_that_forgives_every_exception():
    with StopRequest("go on with") as stop:
        stop.waits = False
        with pytest.raises(Interrupted, match="go on with"):
            terminate_and_forgive()


def test_a_signal_is_only_noted_while_the_run_waits_and_the_second_one_stops():
    with StopRequest("stopped") as stop:
        terminate()
        assert stop.agreed()
        with pytest.raises(Interrupted) as stopped:
            terminate()
    assert stopped.value.code == 128 + signal.SIGTERM


def test_a_signal_while_processes_agree_is_kept_for_the_next_time(monkeypatch):
    def asked_meanwhile(number):
        terminate()
        return number

    with StopRequest("stopped") as stop:
        with monkeypatch.context() as patch:
            patch.setattr(hosts, "largest", asked_meanwhile)
            assert not stop.agreed()
        assert stop.agreed()


def test_a_lost_terminal_stops_a_run_in_order():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with StopRequest("stopped") as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.agreed()
            with pytest.raises(Interrupted) as stopped:
                stop.stop()
        assert stopped.value.code == 128 + signal.SIGHUP
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_that_was_started_with_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest("stopped") as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.agreed()
    finally:
        signal.signal(signal.SIGHUP, before)


def handles(process, number):
    """Whether the process has a handler of its own for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@contextlib.contextmanager
def as_from_a_terminal():
    """Programs started here get signals as a terminal leaves them: under `nohup`, or in a script, some are ignored."""
    before = {
        number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "number, after",
    [
        (signal.SIGINT, 0.0),
        (signal.SIGINT, 0.3),
        (signal.SIGINT, 1.0),
        pytest.param(signal.SIGINT, 1.9, marks=pytest.mark.slow),
        (signal.SIGHUP, 0.6),
    ],
)
def test_a_signal_while_the_program_starts_is_one_line(tmp_path, number, after):
    words = ["train", "digits", "--run.folder", str(tmp_path)]
    with as_from_a_terminal():
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.run", *words],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    with process:
        deadline = time.monotonic() + 30
        while not handles(process, signal.SIGHUP) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(after)
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()  # of no effect where it has ended
    assert process.returncode == 128 + number
    assert len(said.splitlines()) == 1
    assert "stopped" in said
