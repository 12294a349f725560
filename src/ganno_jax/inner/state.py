"""One training between two inner steps, and what a step shows of it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.inner.directions import Hyperparameters
from ganno_jax.tasks.task import Params, Task


@struct.dataclass
class InnerState:
    """One training, between two inner steps."""

    params: Params
    model_state: Any
    optimizer_state: Any
    step: Int[Array, ""]
    task: Task
    hyperparameters: Hyperparameters
    key: PRNGKeyArray


@struct.dataclass
class InnerMetrics:
    """What one inner step shows to an observer."""

    loss: Float[Array, ""]  # training loss before the step
    gradient: Params
    direction: Params


def select(keep: Bool[Array, ""], kept: Any, otherwise: Any) -> Any:
    """`kept` where `keep`, else `otherwise`, leaf by leaf; NaN in the one not chosen does no harm.

    Args:
      keep: one condition for all leaves.
      kept: a tree of arrays or typed keys.
      otherwise: of the same structure and shapes.
    """
    return jax.tree.map(lambda a, b: _where(keep, a, b), kept, otherwise)


def _where(keep: Bool[Array, ""], a: Array, b: Array) -> Array:
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        data = jnp.where(keep, jax.random.key_data(a), jax.random.key_data(b))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(a))
    return jnp.where(keep, a, b)
