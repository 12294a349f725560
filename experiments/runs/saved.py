"""The state of something that learns and the checkpoints that keep it: written, read again, stopped in order."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from experiments.configs.experiment_kinds import AnyConfig
from experiments.configs.values import to_dict
from experiments.runs import hosts
from experiments.runs.clock import Clock
from experiments.runs.errors import UserError
from experiments.runs.progress import say
from experiments.runs.signals import StopRequest
from experiments.runs.whole_files import plain
from ganno_jax.checkpoint import Checkpoints, require_same, versions


def restore(
    checkpoints: Checkpoints, settings: Mapping[str, Any], like: Any
) -> tuple[Any, dict[str, Any]]:
    """The newest state that can be read, placed like `like`, and what was written beside it.

    A damaged checkpoint is said to be one, and the one before it is taken.

    Args:
      checkpoints: of the run.
      settings: what the state depends on; the checkpoint's must be the same.
      like: a pytree of that structure.

    Raises:
      UserError: there is none, it is of other settings or libraries, or damaged.
    """
    if checkpoints.latest is None:
        raise UserError(f"no checkpoint in {checkpoints.folder}; train first")
    damage: ValueError | None = None
    while (number := checkpoints.latest) is not None:
        found, metadata = None, {}
        try:
            metadata = checkpoints.metadata(number)
            _require_ours(metadata, settings, f"checkpoint {checkpoints.folder / str(number)}")
            found = checkpoints.restore(number, like)
        except ValueError as error:
            damage = damage or error
            say(str(error))
        if not hosts.largest(found is None):  # of several processes all can read it
            if damage is not None:
                say(f"going on from the checkpoint before: {number}")
            return found, metadata
        checkpoints.discard(number)
    raise UserError(f"{damage} There is no older one: train again under another --run.name")


def require_finite(learned: Any, what: str, since: str) -> None:
    """Raise a `UserError` where a number of a pytree that was learned is not finite: going on would be for nothing.

    Args:
      learned: a pytree of arrays.
      what: was learned, for the message.
      since: when, for the message, such as "update 3".
    """
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(learned)):
        raise UserError(f"{what} are not finite since {since}: stopped")


def _require_ours(metadata: Mapping[str, Any], settings: Mapping[str, Any], what: str) -> None:
    """Raise a `UserError` where a checkpoint is of other settings or libraries, or of another program."""
    try:
        require_same(metadata["settings"], settings, what)
        require_same(metadata["versions"], versions(), what)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{what} is not one of this program ({error!r})") from error
    except ValueError as error:
        raise UserError(str(error)) from error


class Saved:
    """The state of something that learns, update by update, and the checkpoints that keep it.

    Args:
      checkpoints: their folder.
      config: of the run; says how often checkpoints are written, which keep it.
      settings: what is found depends on these; a checkpoint made with others is refused.
      state: a fresh one, a pytree; replaced by that of the newest checkpoint where there is one.
      stop: asked after every chunk of updates.
      clock: of the run, if checkpoints are to keep its time.

    Raises:
      UserError: the checkpoint is of other settings or libraries, or damaged.
    """

    def __init__(
        self,
        checkpoints: Path,
        config: AnyConfig,
        settings: Mapping[str, Any],
        state: Any,
        stop: StopRequest,
        clock: Clock | None = None,
    ):
        self.state, self.update = state, 0
        self._config, self._settings, self._stop = config, plain(settings), stop  # as JSON has them
        self._clock, self._saved = clock, time.monotonic()
        self._checkpoints = Checkpoints(checkpoints)
        if self._checkpoints.latest is not None:
            self.state, metadata = restore(self._checkpoints, self._settings, state)
            self.update = self._checkpoints.latest
            if clock is not None:
                clock.go_on_from(metadata)

    def write(self, group: str, row: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
        """Count an update.

        Args:
          group: of its numbers.
          row: its numbers.
          beside: what the metrics say besides.
        """
        del group, row, beside
        self.update += 1

    def record(self, group: str, row: Mapping[str, Any], state: Any) -> None:
        """`write` the numbers of an update, take the state after it, then `pause`.

        Args:
          group: of its numbers.
          row: its numbers.
          state: after it.
        """
        self.write(group, row, {"of": group})
        self.state = state
        self.pause()

    def pause(self) -> None:
        """Keep the state where that is due; stop here if somebody asked.

        Raises:
          Interrupted: somebody asked; the state is saved.
        """
        due = hosts.largest(time.monotonic() - self._saved >= self._config.run.checkpoint_every)
        asked = self._stop.agreed()
        if asked or due:
            self.save()
        if asked:
            self._stop.stop()

    def save(self) -> None:
        """Write a checkpoint of the state, unless there is one of this update."""
        metadata = {
            "settings": self._settings,
            "config": plain(to_dict(self._config)),
            "versions": versions(),
            **({} if self._clock is None else self._clock.kept()),
        }
        if self.update:
            self._checkpoints.save(self.update, self.state, metadata)
        self._saved = time.monotonic()

    def close(self) -> None:
        """Finish what is being written."""
        self._checkpoints.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
