"""Signals before a training begins: the process ends with one line. Imports nothing that takes time."""

import os
import signal
from types import FrameType


def answered() -> tuple[signal.Signals, ...]:
    """The signals that stop a run: not SIGHUP where the program was started with `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP]))


def stop_at_once() -> None:
    """From here until a `StopRequest` a signal ends the process, even within an import."""
    for number in answered():
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    os.write(2, b"error: stopped before a training began\n")
    os._exit(128 + number)
