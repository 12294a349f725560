"""Losses in any unit."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

LOWEST, HIGHEST = 1e-3, 1e4
"""First gradients with a norm in this range are taken as they are."""


class UnitState(NamedTuple):
    """State of `usual_unit`."""

    unit: Float[Array, ""]  # factor on losses and gradients; 0 before the first update
    inner: Any


def usual_unit(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Measure the loss in a unit in which the first gradient has a norm of about 1, where it is far from it.

    Rates of momentum have the unit of one over the loss; the bounds of rates and Adam's epsilon have not. The unit is a
    power of two, so it changes no digit; within `LOWEST` to `HIGHEST` it is 1. Needs `squares=`,
    and hands `gradient_factor=` to `inner`: scaled here, gradients would be written once more.
    """

    def init(params: PyTree) -> UnitState:
        return UnitState(jnp.zeros((), jnp.float32), inner.init(params))

    def update(
        gradient: PyTree,
        state: UnitState,
        params: PyTree,
        *,
        squares: Float[Array, " layer"],
        value: Float[Array, ""] | None = None,
        gradient_factor: Float[Array, ""] | float = 1.0,
        **extra: Any,
    ) -> tuple[PyTree, UnitState]:
        norm = jnp.sqrt(jnp.sum(squares))
        usual = (norm >= LOWEST) & (norm <= HIGHEST)
        exponent = -jnp.round(jnp.log2(norm)).astype(jnp.int32)
        found = jnp.where(usual, 1.0, jnp.ldexp(jnp.float32(1.0), exponent))
        unit = jnp.where(state.unit > 0, state.unit, found)
        updates, new = inner.update(
            gradient,
            state.inner,
            params,
            squares=jnp.square(unit) * squares,
            value=None if value is None else unit * value,
            gradient_factor=unit * gradient_factor,
            **extra,
        )
        return updates, UnitState(unit, new)

    return optax.GradientTransformationExtraArgs(init, update)
