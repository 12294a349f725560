"""Agents as they stood at some updates, small files with a digest beside each."""

import jax
import numpy as np
from flax import serialization

from experiments.runs import hosts
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.whole_files import read_with_digest, write_with_digest
from ganno_jax.policies import AgentPolicy


def save_snapshot(folder: RunFolder, name: str, update: int, policy: AgentPolicy) -> None:
    """Keep agents as they stand; one of several processes writes the file.

    Args:
      folder: of the run.
      name: of these agents, such as "blind".
      update: after which they stand so.
      policy: the agents.
    """
    if not hosts.leads():
        return
    content = serialization.to_bytes((policy.params, policy.normalizer))
    write_with_digest(folder.snapshots / snapshot_name(name, update), content)


def snapshot_name(name: str, update: int) -> str:
    """Of the file of agents as they stood at an update."""
    return f"{name}_{update:05d}.msgpack"


def load_snapshot(
    folder: RunFolder, name: str, update: int, like: AgentPolicy
) -> AgentPolicy | None:
    """What `save_snapshot` kept, None if it is not there.

    Args:
      folder: of the run.
      name: as for `save_snapshot`.
      update: as for `save_snapshot`.
      like: agents of that structure, whose weights are replaced.

    Raises:
      UserError: the file is damaged.
    """
    path = folder.snapshots / snapshot_name(name, update)
    if not path.is_file():
        return None
    try:
        wanted = like.params, like.normalizer
        kept = serialization.from_bytes(wanted, read_with_digest(path))
        for ours, theirs in zip(jax.tree.leaves(wanted), jax.tree.leaves(kept), strict=True):
            if np.shape(theirs) != ours.shape or not np.isfinite(theirs).all():
                raise ValueError("it holds arrays of other shapes, or none that are finite")
    except Exception as error:  # msgpack and Flax raise many kinds for damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} cannot be read ({reason[:200]}): without this file, its agents learn again"
        ) from error
    params, normalizer = kept
    return like.replace(params=params, normalizer=normalizer)
