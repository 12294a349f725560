"""Chunks of updates of any learner in one jitted call."""

from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Learner(Protocol):
    """What improves a policy; a frozen pytree. Its state is a pytree that holds everything that changes."""

    def init(self, key: PRNGKeyArray, mesh: Mesh | None = None) -> Any:
        """Nothing learned. With a mesh the state lies on its devices as `update` returns it."""
        ...

    def started(self, state: Any, mesh: Mesh) -> Any:
        """The state with everything that `update` carries on, such as trainings that are under way."""
        ...

    def update(self, state: Any, mesh: Mesh) -> tuple[Any, dict[str, Float[Array, ""]]]:
        """One update and its metrics; the new state has the structure of the old one."""
        ...

    def policy(self, state: Any) -> Any:
        """What was learned, as a policy; `params` are its weights."""
        ...


@partial(jax.jit, static_argnames=("num_updates", "mesh"), donate_argnames=("state",))
def train(
    learner: Learner, state: Any, num_updates: int, mesh: Mesh
) -> tuple[Any, dict[str, Float[Array, " update"]]]:
    """A chunk of updates in one jitted call.

    Args:
      learner: what is shared by all updates.
      state: donated; do not use it afterwards.
      num_updates: length of the chunk.
      mesh: from `make_mesh`.

    Returns:
      The new state and metrics, one value per update. `finite` is 1 while the policy's weights and all metrics are.
    """
    return _updates(learner, state, jnp.int32(num_updates), num_updates, mesh)


@partial(jax.jit, static_argnames=("longest", "mesh"), donate_argnames=("state",))
def train_some(
    learner: Learner, state: Any, num_updates: Int[Array, ""] | int, longest: int, mesh: Mesh
) -> tuple[Any, dict[str, Float[Array, " longest"]]]:
    """`train` with a number of updates that is no part of the program: chunks of any length share one.

    Args:
      learner: what is shared by all updates.
      state: donated; do not use it afterwards.
      num_updates: length of the chunk, at most `longest`.
      longest: length of the metrics.
      mesh: from `make_mesh`.

    Returns:
      The new state and metrics, of which the first `num_updates` count.
    """
    return _updates(learner, state, jnp.minimum(num_updates, longest), longest, mesh)


def _updates(learner: Learner, state: Any, num_updates: Int[Array, ""], longest: int, mesh: Mesh):
    """A loop whose length the compiler does not know, so that an update is the same program in chunks of any length."""
    num_updates = jax.lax.optimization_barrier(num_updates)
    state = learner.started(state, mesh)
    update = jax.jit(
        lambda learner, state: _checked(learner, state, mesh)
    )  # traced once for both uses
    shapes = jax.eval_shape(update, learner, state)[1]
    metrics = jax.tree.map(lambda x: jnp.zeros((longest, *x.shape), x.dtype), shapes)

    def one(number: Int[Array, ""], carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, metrics = carry
        state, row = update(learner, state)
        return state, jax.tree.map(lambda x, value: x.at[number].set(value), metrics, row)

    return jax.lax.fori_loop(0, num_updates, one, (state, metrics))


def _checked(learner: Learner, state: Any, mesh: Mesh):
    state, metrics = learner.update(state, mesh)
    return state, with_finite(learner, state, metrics)


def with_finite(learner: Learner, state: Any, metrics: dict[str, Array]) -> dict[str, Array]:
    """Metrics of an update with `finite`: 1 while the policy's weights and all of them are, else 0.

    Args:
      learner: makes the policy of a state.
      state: after the update.
      metrics: of the update.
    """
    parts = jax.tree.leaves((learner.policy(state).params, metrics))
    finite = jnp.stack([jnp.isfinite(x).all() for x in parts]).all()
    return metrics | {"finite": finite.astype(jnp.float32)}
