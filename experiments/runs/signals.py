"""SIGTERM, SIGHUP and Ctrl-C: finish what is running, then stop in order."""

import signal
from types import FrameType

from experiments.runs import hosts
from experiments.runs.at_once import answered
from experiments.runs.errors import Interrupted


class StopRequest:
    """Whether somebody asked the run to stop.

    While `waits` is true a signal is only noted, so that a checkpoint can be written first; a second
    signal, or a first one while `waits` is false, raises `Interrupted` at once.
    """

    def __init__(self, message: str):
        self.message = message
        self.waits = True
        self.number: int | None = None
        self._old: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        try:
            self._old = {number: signal.signal(number, self._handle) for number in answered()}
        except ValueError:  # not in the main thread: signals go elsewhere
            self._old = {}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def agreed(self) -> bool:
        """Whether somebody had asked any of the processes, which must all call this.

        A signal that comes meanwhile is one for the next call: the others do not know of it yet.
        """
        asked = hosts.largest(self.number or 0)
        if asked:
            self.number = asked
        return asked > 0

    def stop(self) -> None:
        """Raise `Interrupted` if somebody asked."""
        if self.number is not None:
            raise Interrupted(self.message, 128 + self.number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        again, self.number = self.number is not None, number
        if again or not self.waits:
            self.stop()
