"""What the formulas of schedules are made of: shares of a training, half a cosine, a warm-up."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

Steps = Int[Array, "*step"] | int
Total = Int[Array, ""] | int
Number = Num[Array, ""] | float | int
Rate = Float[Array, "*step"]
Schedule = Callable[..., Rate]
"""`(step, total_steps, peak, **numbers) -> rate`: two counts of inner steps, peak > 0."""


def whole_steps(
    fraction: Num[Array, "*fraction"] | float, total_steps: Total, at_least: int = 0
) -> Int[Array, "*fraction"]:
    """A fraction of the training as a whole number of inner steps.

    Args:
      fraction: of the training, in [0, 1].
      total_steps: of the training.
      at_least: what fewer steps become.
    """
    return jnp.maximum(jnp.round(fraction * jnp.asarray(total_steps)), at_least).astype(int)


def progress(step: Steps, total_steps: Total) -> Float[Array, "*step"]:
    """The share of the training that is done, in [0, 1]."""
    return jnp.clip(jnp.asarray(step) / jnp.maximum(total_steps, 1), 0.0, 1.0)


def half_cosine(
    first: Number, last: Number, progress: Float[Array, "*step"]
) -> Float[Array, "*step"]:
    """From `first` to `last` along half a cosine; `progress` is clipped to [0, 1].

    The square of a sine is (1 + cos)/2 without its cancellation, which in single precision makes
    the last rates of a long training zero.

    Args:
      first: value at progress 0.
      last: value at progress 1.
      progress: any number.
    """
    wave = jnp.sin(0.5 * jnp.pi * (1.0 - jnp.clip(progress, 0.0, 1.0))) ** 2
    return last + (first - last) * wave


def warmup_share(
    step: Int[Array, "*step"], top: Int[Array, ""], initial_factor: Number
) -> Float[Array, "*step"]:
    """From `initial_factor` at step 0 to one at step `top`.

    Args:
      step: from 0 to `top`.
      top: length of the warm-up in steps; 0 counts as 1.
      initial_factor: in [0, 1].
    """
    return initial_factor + (1.0 - initial_factor) * step / jnp.maximum(top, 1)
