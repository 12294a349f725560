"""One sitting of a search: metrics, TensorBoard, checkpoints, and stopping in order."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.configs.experiment_kinds import AnyConfig
from experiments.configs.place import PlaceConfig
from experiments.configs.values import to_dict
from experiments.runs import history, hosts
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.logs import Lines, TensorBoard
from experiments.runs.progress import say
from experiments.runs.signals import StopRequest
from experiments.runs.whole_files import plain
from ganno_jax.checkpoint import Checkpoints, require_same, versions
from ganno_jax.learners import make_mesh


def mesh_of(place: PlaceConfig) -> Mesh:
    """The devices that a run uses.

    Raises:
      UserError: there are not so many.
    """
    there = jax.local_device_count()
    if place.devices is not None and not 1 <= place.devices <= there:
        raise UserError(
            f"`run.devices` must be between 1 and the {there} there are; got {place.devices}"
        )
    return make_mesh(hosts.devices(place.devices or there))


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
    """Raise a `UserError` where a number of a pytree that was learned is not finite: going on would be for nothing."""
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


class Session:
    """Keeps what a search says of itself, and its state.

    Args:
      folder: of the run.
      config: of the run; says how often checkpoints are written, which keep it.
      settings: what is found depends on these; a checkpoint made with others is refused.
      state: fresh states by name, pytrees; replaced by the newest checkpoint where there is one.
      stop: asked after every record.

    Raises:
      UserError: the checkpoint is of other settings or libraries, or damaged.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: AnyConfig,
        settings: Mapping[str, Any],
        state: dict[str, Any],
        stop: StopRequest,
    ):
        self.state, self.update = state, 0
        self._config, self._settings, self._stop = config, plain(settings), stop  # as JSON has them
        self._start, self._earlier = time.monotonic(), 0.0
        self._saved = self._start
        self._checkpoints = Checkpoints(folder.checkpoints)
        if self._checkpoints.latest is not None:
            restored, metadata = restore(self._checkpoints, self._settings, state)
            self.state = {name: restored[name] for name in state}  # a pytree sorts its names
            self.update, self._earlier = self._checkpoints.latest, metadata["seconds"]
            history.say_missing(folder.metrics, range(1, self.update + 1))
        self._lines = Lines(folder.metrics, self.update)
        self._board = TensorBoard(folder.tensorboard, self.update)

    @property
    def seconds(self) -> float:
        """Of all sittings."""
        return self._earlier + time.monotonic() - self._start

    def record(self, group: str, row: Mapping[str, Any], state: Any) -> None:
        """Keep the numbers of an update, sometimes the state; stop here if somebody asked.

        Raises:
          Interrupted: somebody asked; the state is saved.
        """
        self.update, self.state = self.update + 1, state
        self._lines.write({"update": self.update, "of": group, **row, "seconds": self.seconds})
        self._board.write(group, row, self.update)
        due = hosts.largest(time.monotonic() - self._saved >= self._config.run.checkpoint_every)
        if self._stop.agreed() or due:
            self.save()
        self._stop.stop()

    def save(self) -> None:
        """Write a checkpoint of the state."""
        metadata = {
            "settings": self._settings,
            "config": plain(to_dict(self._config)),
            "versions": versions(),
            "seconds": self.seconds,
        }
        if self.update:
            self._checkpoints.save(self.update, self.state, metadata)
        self._saved = time.monotonic()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *error: object) -> None:
        for log in (self._lines, self._board, self._checkpoints):
            log.close()
