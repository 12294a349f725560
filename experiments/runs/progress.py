"""What one sees while it runs: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.runs import hosts

EVERY = 15.0  # seconds between plain lines


def console() -> Console:
    """Standard output, as wide as the tables where it is no terminal; only the first process speaks."""
    if not hosts.leads():
        return Console(quiet=True)
    return Console() if sys.stdout.isatty() else Console(width=120, soft_wrap=False)


def say(text: str) -> None:
    """A line for the user, at once; only the first process speaks."""
    if hosts.leads():
        print(text, flush=True)


class Bar:
    """Progress of one phase, such as the training.

    Args:
      what: is counted, such as "updates".
      total: how many.
      done: how many were done before.
    """

    def __init__(self, what: str, total: int, done: int = 0):
        self._what, self._total, self._start, self._first = what, total, time.monotonic(), done
        self._shown = self._start
        self._bar = None
        if sys.stdout.isatty() and hosts.leads():
            self._bar = Progress(
                TextColumn(f"{what} {{task.completed:.0f}}/{{task.total:.0f}}"),
                BarColumn(bar_width=16),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=console(),
            )
            self._task = self._bar.add_task(what, total=total, completed=done, note="")

    def __enter__(self) -> "Bar":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, note: str = "") -> None:
        """Say how far it is.

        Args:
          done: out of the total.
          note: further numbers.
        """
        now = time.monotonic()
        rate = (done - self._first) / max(now - self._start, 1e-9)
        left = f"{_clock((self._total - done) / rate)} left" if rate > 0 else ""
        note = "  ".join(part for part in (left, note) if part)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif now - self._shown >= EVERY or done == self._total:
            self._shown = now
            say(f"{self._what} {done}/{self._total}  {note}")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
