"""Against outliers: gradients far above their own history, and losses far above theirs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from ganno_jax.door.scatter import Scatter, empty_scatter, highest_usual, is_known, seen


class LimitState(NamedTuple):
    """State of `limit_gradients`."""

    norms: Scatter
    limited: Int[Array, ""]  # updates whose gradient was shortened
    inner: Any


def limit_gradients(
    inner: optax.GradientTransformationExtraArgs, *, deviations: float = 4.0, factor: float = 10.0
) -> optax.GradientTransformationExtraArgs:
    """Shorten a gradient whose norm is an outlier among those before it, down to the largest that is none.

    The norm is judged on a logarithmic scale, against the running mean and deviation that this training shows, so that
    ordinary noise of small batches is left as it is (docs/control.md has how often it fires). Needs `squares=`,
    and hands `gradient_factor=` to `inner`.

    Args:
      inner: takes `gradient_factor=` and `squares=`.
      deviations: how far above the running mean a norm is usual, in running deviations of the logarithm, >= 0.
      factor: how far above that even, as a factor, >= 1; ten times as far for the second gradient, falling with their
        count.
    """

    def init(params: PyTree) -> LimitState:
        return LimitState(empty_scatter(), jnp.zeros((), jnp.int32), inner.init(params))

    def update(
        gradient: PyTree,
        state: LimitState,
        params: PyTree,
        *,
        squares: Float[Array, " layer"],
        gradient_factor: Float[Array, ""] | float = 1.0,
        **extra: Any,
    ) -> tuple[PyTree, LimitState]:
        norm = jnp.sqrt(jnp.sum(squares))
        highest = highest_usual(state.norms, deviations, factor, 10 * factor)
        share = jnp.where(norm > highest, highest / norm, 1.0)
        updates, new = inner.update(
            gradient,
            state.inner,
            params,
            squares=jnp.square(share) * squares,
            gradient_factor=share * gradient_factor,
            **extra,
        )
        limited = state.limited + (share < 1)
        return updates, LimitState(seen(state.norms, norm, highest), limited, new)

    return optax.GradientTransformationExtraArgs(init, update)


ALONE = 5
"""Updates in which rates recover after a single outlier, which may be a batch with one hard example."""


class BackOffState(NamedTuple):
    """State of `back_off`."""

    losses: Scatter
    high: Int[Array, ""]  # 1 after a loss that was an outlier
    pace: Float[Array, ""]  # doublings of the rates per update, back to what they were
    signed: Int[Array, ""]  # 1 once a loss below zero was seen
    backoff: Float[Array, ""]  # factor on the rates, 1 unless there was a spike lately
    spikes: Int[Array, ""]
    inner: Any


def back_off(
    inner: optax.GradientTransformationExtraArgs,
    interval: int,
    *,
    deviations: float = 4.0,
    factor: float = 4.0,
) -> optax.GradientTransformationExtraArgs:
    """Halve the rates after a loss that is an outlier among those before it; they recover within `interval` updates.

    After one that stands alone they recover within `ALONE` updates: where examples are known by heart, a batch with a
    hard one is thousands of times above the others, and nothing is lost by it. Judged as gradients are in
    `limit_gradients`, after ten losses. Hands `rate_factor=` to `inner`. Losses of zero, and no `value`, are not
    judged; after the first loss below zero none is, since it has no scale to be judged by.

    Args:
      inner: takes `rate_factor=` and `value=`.
      interval: updates in which a factor doubles again, up to 1, >= 1, after outliers in a row.
      deviations: how far above the running mean a loss is usual, in running deviations of the logarithm, >= 0.
      factor: how far above that even, as a factor, >= 1.
    """

    def init(params: PyTree) -> BackOffState:
        one, none = jnp.ones((), jnp.float32), jnp.zeros((), jnp.int32)
        return BackOffState(empty_scatter(), none, one, none, one, none, inner.init(params))

    def update(
        gradient: PyTree,
        state: BackOffState,
        params: PyTree,
        *,
        value: Float[Array, ""] | None = None,
        **extra: Any,
    ) -> tuple[PyTree, BackOffState]:
        if value is None:
            updates, new = inner.update(
                gradient, state.inner, params, value=None, rate_factor=state.backoff, **extra
            )
            return updates, state._replace(inner=new)
        highest = highest_usual(state.losses, deviations, factor, factor)
        signed = jnp.where(value < 0, 1, state.signed)
        outlier = is_known(state.losses, 10) & (value > highest) & (signed == 0)
        pace = jnp.where(state.high > 0, 1.0 / interval, 1.0 / min(ALONE, interval))
        pace = jnp.where(outlier, pace, state.pace)
        recovered = jnp.minimum(1.0, state.backoff * 2.0**state.pace)
        backoff = jnp.where(outlier, jnp.maximum(0.5 * state.backoff, 2.0**-10), recovered)
        updates, new = inner.update(
            gradient, state.inner, params, value=value, rate_factor=backoff, **extra
        )
        judged = seen(state.losses, value, highest)
        losses = jax.tree.map(lambda a, b: jnp.where(value > 0, a, b), judged, state.losses)
        high = outlier.astype(jnp.int32)
        spikes = state.spikes + outlier
        return updates, BackOffState(losses, high, pace, signed, backoff, spikes, new)

    return optax.GradientTransformationExtraArgs(init, update)
