"""What learners do alike with trainings that go on from update to update: make them, split them, begin them anew.

`field` is where a learner's state holds them, one entry per env and split over the devices; None where every rollout is
a whole episode.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from ganno_jax.env.environment import Env
from ganno_jax.env.mesh import AXIS


def continues(envs: Sequence[Env], rollout_decisions: int) -> bool:
    """Whether some rollout is shorter than its episode, so that env states live on."""
    return any(env.episode_decisions != rollout_decisions for env in envs)


def started(
    learner: Any, state: Any, field: str, fresh_fn: Callable[[Any, Any, int, int], Any], mesh: Mesh
) -> Any:
    """The state with fresh trainings where it needs some and has none.

    Args:
      learner: with `envs` and `continues`.
      state: of the learner.
      field: of the state.
      fresh_fn: `(learner, state, number of the env, number of devices) -> one device's share`.
      mesh: devices.
    """
    if not learner.continues or getattr(state, field) is not None:
        return state
    numbers = range(len(learner.envs))
    make = jax.shard_map(
        lambda learner, state: tuple(fresh_fn(learner, state, n, mesh.size) for n in numbers),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec()),
        out_specs=PartitionSpec(AXIS),
        check_vma=False,
    )
    return state.replace(**{field: make(learner, state)})


def updated(
    learner: Any, state: Any, field: str, update_fn: Callable[..., Any], mesh: Mesh
) -> tuple[Any, dict[str, Array]]:
    """One update, `update_fn(learner, state, num_devices=)` on each device's share of the trainings.

    Args:
      learner: with `continues`; a pytree, the same on all devices.
      state: of the learner; whole on all devices but for `field`.
      field: the name of what holds the trainings.
      update_fn: the update on one device.
      mesh: the devices.

    Returns:
      The new state, and metrics that are the same on all devices.
    """
    specs = specs_of(learner, state, field)
    update = jax.shard_map(
        partial(update_fn, num_devices=mesh.size),
        mesh=mesh,
        in_specs=(PartitionSpec(), specs),
        out_specs=(specs, PartitionSpec()),
        check_vma=False,
    )
    return update(learner, state)


def specs_of(learner: Any, state: Any, field: str) -> Any:
    """How a learner's state lies on devices: whole on each, but for the trainings.

    Args:
      learner: with `continues`.
      state: of the learner.
      field: of the state that holds the trainings.
    """
    specs = jax.tree.map(lambda _: PartitionSpec(), state.replace(**{field: None}))
    return specs.replace(**{field: PartitionSpec(AXIS)}) if learner.continues else specs


def begin(env: Env, old: Any | None, fresh_fn: Callable[[], Any]) -> Any:
    """Episodes of a batch end together: fresh ones where they have, at the cost of one branch.

    Args:
      env: for the length of its episodes.
      old: as the last update left them, with a field `env` of env states; None where there are none.
      fresh_fn: makes new ones, of the same shapes.
    """
    if old is None:
        return fresh_fn()
    done = old.env.decision[0] >= env.episode_decisions
    return jax.lax.cond(done, fresh_fn, lambda: old)
