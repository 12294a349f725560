"""Parameters that are split over devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from ganno_jax.inner.splits import Layout, explicit_spec, layout_by_specs, layout_by_types


def over_explicit_mesh(step: Callable[..., Any], outputs_like: PyTree, *args: Any) -> Any:
    """Run a step as the compiler splits it, and hand its results back split as they were.

    On a mesh with explicit axes, the default of `jax.make_mesh`, every operation must say how its result is split,
    which no direction does. Without such parameters the step runs as it is.

    Args:
      step: of `args`.
      outputs_like: a tree of arrays that are split as the results must be.
      *args: arrays.
    """
    split = _first_split(outputs_like)
    if split is None:
        return step(*args)
    mesh = jax.typeof(split).sharding.mesh

    def sharding_of(x: Array) -> NamedSharding:
        return NamedSharding(mesh, explicit_spec(x) or PartitionSpec(*[None] * jnp.ndim(x)))

    with jax.sharding.use_abstract_mesh(mesh):
        shardings = jax.tree.map(sharding_of, outputs_like)
        return jax.sharding.auto_axes(step, out_sharding=shardings)(*args)


def layout_of(params: PyTree, specs: PyTree | None) -> Layout | None:
    """How parameters are split: by `specs` inside `jax.shard_map`, else by their types; None where they are whole."""
    by_hand = None if specs is None else layout_by_specs(params, specs)
    return layout_by_types(params) if by_hand is None else by_hand


def names_of(layout: Layout | None) -> tuple[str, ...]:
    """Mesh axes over which sums must be added up by hand."""
    if layout is None or not layout.by_hand:
        return ()
    names = (name for split in layout.splits.values() for part in split for name in part)
    return tuple(dict.fromkeys(names))


def mean_over(x: Float[Array, "*any"], names: tuple[str, ...]) -> Float[Array, "*any"]:
    """Mean over devices; the same where it is the same on all."""
    return jax.lax.pmean(x, names) if names else x


def on_devices_of(params: PyTree, state: PyTree, layout: Layout | None) -> PyTree:
    """A copy of a fresh state that stands where the parameters do; no buffer is in it twice, so it can be donated.

    On an explicit mesh it stands on all devices, split where it is like split parameters. Inside `jax.shard_map` it
    varies over devices where parameters do, or where the layout is known only in what is like them.

    Args:
      params: where the state shall stand; inside of a jitted function, tracers.
      state: arrays, fresh from `init`.
      layout: how the parameters are split; None where they are whole.
    """
    if layout is not None and not layout.by_hand:
        return jax.tree.map(partial(_on_mesh, _first_split(params)), state)
    if layout is not None:
        return jax.tree.map(jnp.copy, state)
    nothing: Float[Array, ""] = jnp.sum(
        jnp.ravel(jax.tree.leaves(params)[0])[:0]
    )  # zero, made of parameters

    def copied(x: Array) -> Array:
        x = jnp.asarray(x)
        if x.dtype == bool:
            return x | (nothing > 0)
        return x + nothing.astype(x.dtype)

    return jax.tree.map(copied, state)


def _first_split(tree: PyTree) -> Array | None:
    return next((x for x in jax.tree.leaves(tree) if explicit_spec(x) is not None), None)


def _on_mesh(split: Array, x: Array) -> Array:
    if explicit_spec(x) is not None:
        return jnp.copy(x)
    whole = PartitionSpec(*[None] * x.ndim)
    if isinstance(split, jax.core.Tracer):
        return jax.sharding.reshard(x, NamedSharding(jax.typeof(split).sharding.mesh, whole))
    return jax.device_put(np.asarray(x), NamedSharding(split.sharding.mesh, whole))
