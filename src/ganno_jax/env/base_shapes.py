"""Base shapes: the size of a training's updates over its budget, as a share of the largest one."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganno_jax.env.observation import Observation


def warmup_cosine_shape(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """A base shape: from 0.1 to 1 over the first tenth, then a cosine to 0.01."""
    warmup = 0.1 + 0.9 * jnp.minimum(fraction / 0.1, 1.0)
    decay = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((fraction - 0.1) / 0.9, 0.0, 1.0)))
    return warmup * (0.01 + 0.99 * decay)


def flat_shape(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """A base shape: always 1."""
    return jnp.ones_like(fraction)


def one_cycle_shape(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """A base shape: a half cosine from 1/25 up to 1 over the first 30%, another down to 0.001."""
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((fraction - 0.3) / 0.7, 0.0, 1.0)))
    return _rise_and_fall(fraction, 0.3, fall)


def linear_one_cycle_shape(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """A base shape: a half cosine from 1/25 up to 1 over the first 30%, then a straight line to 0.001."""
    return _straight_fall(fraction, 0.3)


def warmup_linear_shape(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """A base shape: a half cosine from 1/25 up to 1 over the first 10%, then a straight line to 0.001."""
    return _straight_fall(fraction, 0.1)


def _straight_fall(fraction: Float[Array, ""], peak: float) -> Float[Array, ""]:
    fall = 1.0 - jnp.clip((fraction - peak) / (1.0 - peak), 0.0, 1.0)
    return _rise_and_fall(fraction, peak, fall)


def _rise_and_fall(
    fraction: Float[Array, ""], peak: float, fall: Float[Array, ""]
) -> Float[Array, ""]:
    """A rise over this share of the training, then `fall`, which goes from 1 to 0, down to 0.001."""
    rise = 0.5 * (1 - jnp.cos(jnp.pi * jnp.clip(fraction / peak, 0.0, 1.0)))
    return jnp.where(fraction < peak, 0.04 + 0.96 * rise, 0.001 + 0.999 * fall)


SHAPES: dict[str, Callable[[Float[Array, ""]], Float[Array, ""]]] = {
    "flat": flat_shape,
    "linear_one_cycle": linear_one_cycle_shape,
    "one_cycle": one_cycle_shape,
    "warmup_cosine": warmup_cosine_shape,
    "warmup_linear": warmup_linear_shape,
}
"""Base schedules of the anchored action spaces, by name: share of the budget to share of the peak."""


def shape_ahead(
    schedule_fn: Callable[[Float[Array, ""]], Float[Array, ""]], observation: Observation
) -> Float[Array, ""]:
    """The base schedule over the coming window, for which its middle stands."""
    middle = observation.step + observation.interval / 2
    return schedule_fn(middle / observation.total_steps)
