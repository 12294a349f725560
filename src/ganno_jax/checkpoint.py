"""Checkpoints of any pytree of arrays with Orbax: all of it or nothing. Knows no room.

A checkpoint appears under its number only once it is complete, so a process that is killed while it
writes leaves the earlier ones. Beside it lie digests of its files and its number: one flipped bit, or a
folder that was renamed, is found before it is learned from: Orbax restores changed bits without a word. Typed PRNG
keys are stored as their data.
"""

import errno
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ganno_jax import extras

try:
    import orbax.checkpoint as ocp
except ModuleNotFoundError as error:
    raise extras.missing(error) from error

LIBRARIES = ("ganno-jax", "jax", "jaxlib", "flax", "optax")
"""Whose versions stand in a checkpoint."""


def versions() -> dict[str, str]:
    """Versions of the libraries that a checkpoint depends on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a source tree
            found[name] = "not installed"
    return found


_REFUSALS = (  # of the system, as TensorStore tells of them
    *("No space left on device", "Permission denied", "Disk quota exceeded", "File too large"),
    *("No such file or directory", "Read-only file system"),
)
_DIGESTS = "sha256.json"  # in the folder of a checkpoint: the digest of each of its files
_NUMBER = "number"  # the entry there that is none of a file


class Checkpoints:
    """The numbered checkpoints of one run, the last few of which are kept.

    Args:
      folder: of the checkpoints; made by the first `save`.
      keep: how many are kept, >= 1.
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        if keep < 1:
            raise ValueError(f"`keep` must be at least 1; got {keep}.")
        # Orbax tells of every file, and of every error that it raises too.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.folder = Path(folder).absolute()
        self._keep = keep
        self._damaged: set[int] = set()
        self._whole: set[int] = set()  # whose digests were compared

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._keep, enable_async_checkpointing=False, create=True
        )
        return ocp.CheckpointManager(self.folder, options=options)

    @property
    def latest(self) -> int | None:
        """The number of the newest complete checkpoint that was not found damaged, None if there is none."""
        return max(self.numbers, default=None)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all complete checkpoints but those that were found damaged, rising."""
        there = self._manager.all_steps() if self.folder.is_dir() else ()
        return tuple(sorted(set(there) - self._damaged))

    def discard(self, number: int) -> None:
        """Do not count this one any more; its files are removed before the next is written."""
        self._damaged.add(number)

    def save(self, number: int, tree: PyTree, metadata: Mapping[str, Any]) -> None:
        """Write a checkpoint; nothing happens if this number exists. Several processes must all call this.

        Args:
          number: such as the updates done.
          tree: arrays, numbers and typed keys.
          metadata: what JSON can hold, such as the configuration and `versions()`.

        Raises:
          OSError: no space or no permission, or the folder of earlier checkpoints has gone.
        """
        if "_manager" in vars(self) and not self.folder.is_dir():
            raise OSError(errno.ENOENT, "the folder of the checkpoints has gone", str(self.folder))
        if number in self.numbers:
            return
        for damaged in self._damaged & set(self._manager.all_steps()):
            self._manager.delete(damaged)
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(_keys_to_data(tree)),
            metadata=ocp.args.JsonSave(dict(metadata)),
        )
        try:
            self._manager.save(number, args=arguments)
        except ValueError as error:  # how TensorStore tells of a full disk
            for reason in _REFUSALS:
                if reason.lower() in str(error).lower():
                    raise OSError(f"cannot write to {self.folder}: {reason}") from error
            raise
        if jax.process_index() == 0:
            place = self.folder / str(number)
            text = json.dumps({**_digests(place), _NUMBER: str(number)})
            unfinished = place / f"{_DIGESTS}.tmp"
            with unfinished.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(place / _DIGESTS)

    def metadata(self, number: int) -> dict[str, Any]:
        """What was saved beside the tree.

        Raises:
          ValueError: the checkpoint cannot be read.
        """
        arguments = ocp.args.Composite(metadata=ocp.args.JsonRestore())
        return dict(self._restore(number, arguments)["metadata"])

    def restore(self, number: int, like: PyTree) -> PyTree:
        """Read a checkpoint.

        Args:
          number: of the checkpoint.
          like: a tree of arrays, or of shapes (`jax.eval_shape`), of the structure that was saved.

        Returns:
          The tree with host arrays, typed keys as keys.

        Raises:
          ValueError: the checkpoint is damaged, or has another structure or other shapes.
        """
        plain = jax.eval_shape(_keys_to_data, like)
        wanted = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), plain)
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
        found = self._restore(number, arguments)["state"]
        for ours, theirs in zip(jax.tree.leaves(plain), jax.tree.leaves(found), strict=True):
            if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
                raise ValueError(
                    f"checkpoint {number} in {self.folder} holds an array {theirs.dtype}"
                    f"{list(theirs.shape)} where {ours.dtype}{list(ours.shape)} is needed."
                )
        return jax.tree.map(_data_to_key, like, found)

    def close(self) -> None:
        """Let go of the folder."""
        if "_manager" in vars(self):
            self._manager.close()

    def _restore(self, number: int, arguments: ocp.args.Composite) -> Any:
        if number not in self.numbers:
            numbers = ", ".join(map(str, self.numbers)) or "none"
            raise ValueError(f"no checkpoint {number} in {self.folder}; there are: {numbers}")
        try:
            if number not in self._whole:  # metadata and tree are read one after the other
                self._compare_digests(self.folder / str(number))
                self._whole.add(number)
            return self._manager.restore(number, args=arguments)
        except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"checkpoint {self.folder / str(number)} cannot be read ({reason[:200]})."
            ) from error

    def _compare_digests(self, place: Path) -> None:
        """Raise a `ValueError` naming a file that is not as it was written, or the number that the checkpoint had."""
        if not (place / _DIGESTS).is_file():  # killed between the checkpoint and its digests
            return
        written = json.loads((place / _DIGESTS).read_text(encoding="utf-8"))
        number = written.pop(_NUMBER, place.name)  # earlier versions did not write it
        if number != place.name:
            raise ValueError(f"it was written as {number}")
        found = _digests(place)
        changed = sorted(name for name in written if written[name] != found.get(name))
        if changed:
            raise ValueError(f"{changed[0]} is not as it was written")


def _digests(place: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but the list of digests itself, by path."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and path != place / _DIGESTS:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
            found[str(path.relative_to(place))] = digest.hexdigest()
    return found


def require_same(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Compare two flat mappings, such as a checkpoint's settings with a run's.

    Args:
      found: what was stored.
      wanted: what is needed now; a name that only one of the two has differs too.
      what: was stored, for the message, such as "the checkpoint".

    Raises:
      ValueError: the first differing values, both named.
    """
    for name in [*wanted, *(set(found) - set(wanted))]:
        theirs, ours = found.get(name, "nothing"), wanted.get(name, "nothing")
        if theirs != ours:
            raise ValueError(f"{what} was made with {name} {theirs}; here it is {ours}.")


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _keys_to_data(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else jnp.asarray(x), tree)


def _data_to_key(like: Any, found: Any) -> Any:
    if not _is_key(like):
        return found
    impl = jax.random.key_impl(like) if isinstance(like, jax.Array) else like.dtype._impl.name
    return jax.random.wrap_key_data(jnp.asarray(found), impl=impl)
