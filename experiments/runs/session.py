"""One sitting of a run: its state and checkpoints, its metrics and TensorBoard."""

from collections.abc import Mapping
from typing import Any

from experiments.configs.experiment_kinds import AnyConfig
from experiments.runs import history
from experiments.runs.clock import Clock
from experiments.runs.folder import RunFolder
from experiments.runs.logs import Lines, TensorBoard
from experiments.runs.saved import Saved
from experiments.runs.signals import StopRequest


class Session(Saved):
    """One sitting of a run: its state and checkpoints, its metrics and TensorBoard.

    Args:
      folder: of the run.
      config: as in `Saved`.
      settings: as in `Saved`.
      state: as in `Saved`.
      stop: as in `Saved`.
      clock: of the run.

    Raises:
      UserError: the checkpoint is of other settings or libraries, or damaged.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: AnyConfig,
        settings: Mapping[str, Any],
        state: Any,
        stop: StopRequest,
        clock: Clock | None = None,
    ):
        self.clock = Clock() if clock is None else clock
        super().__init__(folder.checkpoints, config, settings, state, stop, self.clock)
        history.say_missing(folder.metrics, range(1, self.update + 1))
        self._lines = Lines(folder.metrics, self.update)
        self._board = TensorBoard(folder.tensorboard, self.update)

    def write(self, group: str, row: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
        """Count an update and keep its numbers, in the metrics and for TensorBoard.

        Args:
          group: of its numbers.
          row: its numbers.
          beside: what the metrics say besides.
        """
        super().write(group, row, beside)
        line = {"update": self.update, **row, **beside, "seconds": self.clock.seconds}
        self._lines.write(line)
        self.show(group, row)

    def show(self, group: str, values: Mapping[str, Any]) -> None:
        """Add values at this update for TensorBoard."""
        self._board.write(group, values, self.update)

    def close(self) -> None:
        """Finish what is being written."""
        for log in (self._lines, self._board):
            log.close()
        super().close()
