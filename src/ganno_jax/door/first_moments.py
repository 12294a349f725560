"""First moments in half precision: as many bytes less in the state of an optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import PyTree

FIELDS = ("mu", "trace", "momentum")
"""Names that first moments have in the states of Optax and of `inner`."""


def store_first_moments(
    direction: optax.GradientTransformation, dtype: DTypeLike
) -> optax.GradientTransformationExtraArgs:
    """The same direction, whose first moments are in another precision between two updates.

    Within an update they are in float32, so only what is kept is rounded. Second moments stay as they are: what an
    update changes in them is below the precision of bfloat16.

    Args:
      direction: any one of Optax; state that is in none of `FIELDS` stays as it is.
      dtype: a floating one, such as `jnp.bfloat16`.

    Raises:
      ValueError: it is no floating dtype.
    """
    try:
        stored = jnp.dtype(dtype)
    except TypeError:
        stored = None
    if stored is None or not jnp.issubdtype(stored, jnp.floating):
        raise ValueError(
            f"`mu_dtype` must be a floating dtype, such as bfloat16; got {stored or repr(dtype)}."
        )
    inner = optax.with_extra_args_support(direction)

    def init(params: PyTree) -> PyTree:
        return _cast(inner.init(params), stored)

    def update(
        gradient: PyTree, state: PyTree, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, PyTree]:
        updates, state = inner.update(gradient, _cast(state, jnp.float32), params, **extra)
        return updates, _cast(state, stored)

    return optax.GradientTransformationExtraArgs(init, update)


def _cast(state: PyTree, dtype: DTypeLike) -> PyTree:
    def one(path: tuple[Any, ...], x: Any) -> Any:
        is_moment = any(getattr(key, "name", None) in FIELDS for key in path)
        return x.astype(dtype) if is_moment and jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree_util.tree_map_with_path(one, state)
