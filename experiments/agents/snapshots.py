"""Agents as they stood at some updates, small files."""

from flax import serialization

from experiments.runs import hosts
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder, write_whole
from ganno_jax.policies import AgentPolicy


def save_snapshot(folder: RunFolder, name: str, update: int, policy: AgentPolicy) -> None:
    """Keep agents as they stand; one of several processes writes the file."""
    if not hosts.leads():
        return
    content = serialization.to_bytes((policy.params, policy.normalizer))
    write_whole(folder.snapshots / f"{name}_{update:05d}.msgpack", content)


def load_snapshot(
    folder: RunFolder, name: str, update: int, like: AgentPolicy
) -> AgentPolicy | None:
    """What `save_snapshot` kept, None if it is not there.

    Raises:
      UserError: the file is damaged.
    """
    path = folder.snapshots / f"{name}_{update:05d}.msgpack"
    if not path.is_file():
        return None
    try:
        params, normalizer = serialization.from_bytes(
            (like.params, like.normalizer), path.read_bytes()
        )
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return like.replace(params=params, normalizer=normalizer)
