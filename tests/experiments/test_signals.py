"""Stopping at once, whatever is running."""

import os
import signal

import pytest

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
