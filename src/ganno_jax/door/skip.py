"""Updates that are not finite change nothing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree


class SkipState(NamedTuple):
    """State of `skip_not_finite`."""

    begun: Int[Array, ""]  # 1 once a whole update with a gradient has been
    flat: Int[Array, ""]  # updates without any gradient before that one
    skipped: Int[Array, ""]  # updates that changed nothing but this count
    inner: Any


def skip_not_finite(
    inner: optax.GradientTransformationExtraArgs,
    *,
    check_updates: bool = True,
    over: tuple[str, ...] = (),
) -> optax.GradientTransformationExtraArgs:
    """Leave out updates whose loss, gradient or result is not finite, as if they had not been.

    So are all before the first gradient that is not zero: there is nothing to learn from them. How many there were,
    `inner` is told as `flat_updates=`.

    As `optax.apply_if_finite`, but it never gives up, and also judges the loss and the result. Needs `squares=`, the
    squared norm of each layer's gradient.

    Args:
      inner: what is left out.
      check_updates: False saves a pass over the parameters where a finite gradient cannot give an infinite update.
      over: mesh axes of `jax.shard_map` that parameters are split over, so that all devices skip the same updates.
    """

    def init(params: PyTree) -> SkipState:
        none = jnp.zeros((), jnp.int32)
        return SkipState(none, none, none, inner.init(params))

    def update(
        gradient: PyTree,
        state: SkipState,
        params: PyTree,
        *,
        squares: Float[Array, " layer"],
        value: Float[Array, ""] | None = None,
        **extra: Any,
    ) -> tuple[PyTree, SkipState]:
        norm = jnp.sum(squares)
        is_flat = (state.begun == 0) & (norm == 0)
        healthy = jnp.isfinite(norm) & ~is_flat
        if value is not None:
            healthy &= jnp.isfinite(value)

        def run() -> tuple[PyTree, Any]:
            return inner.update(
                gradient,
                state.inner,
                params,
                squares=squares,
                value=value,
                flat_updates=state.flat,
                **extra,
            )

        def skip() -> tuple[PyTree, Any]:
            return jax.tree.map(jnp.zeros_like, gradient), state.inner

        updates, new = jax.lax.cond(healthy, run, skip)
        if check_updates:  # such as those of `log(g)` at zero
            sums = [jnp.sum(jnp.abs(u)) for u in jax.tree.leaves(updates)]
            total = jnp.sum(jnp.stack(sums))
            healthy &= jnp.isfinite(jax.lax.psum(total, over) if over else total)
            updates = jax.tree.map(lambda u: jnp.where(healthy, u, 0), updates)
            new = jax.tree.map(lambda a, b: jnp.where(healthy, a, b), new, state.inner)
        begun = jnp.where(healthy, 1, state.begun)
        return updates, SkipState(begun, state.flat + is_flat, state.skipped + ~healthy, new)

    return optax.GradientTransformationExtraArgs(init, update)
