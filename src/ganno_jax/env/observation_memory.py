"""What observations need from earlier windows."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

TINY = 1e-12  # below it, logarithms are those of this number


@struct.dataclass
class ObservationMemory:
    """What the features need from earlier windows. Logarithms are natural."""

    count: Int[Array, ""]  # windows seen
    log_loss: Float[Array, ""]
    first_log_loss: Float[Array, ""]
    lowest_log_loss: Float[Array, ""]
    fast_log_loss: Float[Array, ""]
    slow_log_loss: Float[Array, ""]
    log_gradient: Float[Array, " layer"]
    log_rates: Float[Array, " layer"]
    log_largest_step: Float[Array, " layer"]
    first_pass_log_loss: Float[Array, ""]
    first_log_weight: Float[Array, " layer"]


def empty_memory(num_layers: int, initial_rate: Float[Array, ""]) -> ObservationMemory:
    """Before the first window."""
    zero, zeros = jnp.zeros((), jnp.float32), jnp.zeros(num_layers, jnp.float32)
    return ObservationMemory(
        count=jnp.zeros((), jnp.int32),
        log_loss=zero,
        first_log_loss=zero,
        lowest_log_loss=zero,
        fast_log_loss=zero,
        slow_log_loss=zero,
        log_gradient=zeros,
        log_rates=jnp.full(num_layers, log(initial_rate)),
        log_largest_step=jnp.full(num_layers, jnp.log(TINY)),
        first_pass_log_loss=zero,
        first_log_weight=zeros,
    )


def carry_first(
    memory: ObservationMemory,
    log_loss: Float[Array, ""],
    log_gradient: Float[Array, " layer"],
    log_weight: Float[Array, " layer"],
) -> ObservationMemory:
    """At the first window, let every "earlier" value be this window's: all differences are zero.

    Args:
      memory: before this window.
      log_loss: logarithm of this window's loss.
      log_gradient: logarithm of each layer's gradient norm.
      log_weight: logarithm of each layer's weight norm.
    """
    first = memory.count == 0
    return memory.replace(
        log_loss=jnp.where(first, log_loss, memory.log_loss),
        first_log_loss=jnp.where(first, log_loss, memory.first_log_loss),
        lowest_log_loss=jnp.where(first, log_loss, memory.lowest_log_loss),
        fast_log_loss=jnp.where(first, log_loss, memory.fast_log_loss),
        slow_log_loss=jnp.where(first, log_loss, memory.slow_log_loss),
        log_gradient=jnp.where(first, log_gradient, memory.log_gradient),
        first_log_weight=jnp.where(first, log_weight, memory.first_log_weight),
    )


def log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The natural logarithm, of `TINY` below it."""
    return jnp.log(jnp.maximum(x, TINY))
