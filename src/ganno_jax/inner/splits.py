"""Parameters whose parts stand on several devices: over which axes of a mesh each axis of a leaf is split."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import struct
from jax.sharding import PartitionSpec
from jaxtyping import Array, PyTree

from ganno_jax.inner.layer_names import path_names
from ganno_jax.inner.upper_parts import spread

Split = tuple[tuple[str, ...], ...]
"""For each axis of a leaf the mesh axes that it is split over; empty for a leaf that is whole."""


@struct.dataclass
class Layout:
    """How the parameters of one network are split; static."""

    splits: Mapping[str, Split] = struct.field(pytree_node=False)  # by path; those that are split
    # Inside `jax.shard_map`: arrays are the parts, and sums over them must be added up by hand. Otherwise arrays are
    # whole and the compiler splits the work.
    by_hand: bool = struct.field(pytree_node=False)

    def of(self, path: tuple[str, ...]) -> Split:
        """The split of the leaf at a path."""
        return self.splits.get("/".join(path), ())

    def whole_shape(self, path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a leaf, from that of its part."""
        split = self.of(path)
        if not (split and self.by_hand):
            return shape
        return tuple(
            size * math.prod(map(jax.lax.axis_size, names))
            for size, names in zip(shape, split, strict=True)
        )


def split_of(spec: PartitionSpec | None, num_axes: int) -> Split:
    """What a `PartitionSpec` says of a leaf with so many axes."""
    parts = tuple(spec or ()) + (None,) * num_axes
    names = tuple(
        () if part is None else (part,) if isinstance(part, str) else tuple(part)
        for part in parts[:num_axes]
    )
    return names if any(names) else ()


def layout_by_specs(params: PyTree, specs: PyTree) -> Layout | None:
    """That of parameters inside `jax.shard_map`; None outside of it, where they are whole.

    Args:
      params: their parts.
      specs: a tree of `PartitionSpec` with the structure of the parameters or of their upper part, as `in_specs`.

    Raises:
      ValueError: the specs do not fit the parameters.
    """

    def is_spec(x: Any) -> bool:
        return x is None or isinstance(x, PartitionSpec)

    flat = jax.tree.leaves(
        spread("specs", "PartitionSpecs", specs, params, is_spec), is_leaf=is_spec
    )
    keyed = jax.tree_util.tree_leaves_with_path(params)
    splits = {
        "/".join(path_names(path)): split_of(spec, len(leaf.shape))
        for (path, leaf), spec in zip(keyed, flat, strict=True)
    }
    used = {name for split in splits.values() for names in split for name in names}
    if not all(map(_is_bound, used)):
        return None
    return Layout({path: split for path, split in splits.items() if split}, by_hand=True)


def layout_by_types(params: PyTree) -> Layout | None:
    """That of parameters on a mesh with explicit axes, as `jax.make_mesh` makes it; None where none is split."""
    splits = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        spec = explicit_spec(leaf)
        if spec is not None:
            splits["/".join(path_names(path))] = split_of(spec, len(leaf.shape))
    return Layout(splits, by_hand=False) if splits else None


def explicit_spec(x: Array | Any) -> PartitionSpec | None:
    """How the type of an array says that it is split; None for one that is whole."""
    spec = jax.typeof(x).sharding.spec
    return spec if any(part is not None for part in spec) else None


def whole_shapes(params: PyTree, layout: Layout) -> PyTree:
    """Shapes of the whole parameters, from their parts."""

    def one(path: tuple[Any, ...], x: Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(layout.whole_shape(path_names(path), x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(one, params)


def off_meshes(tree: PyTree) -> PyTree:
    """Arrays as those of NumPy, which stand on no mesh and so go with any; tracers stay."""

    def moved(x: Any) -> Any:
        is_array = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
        return np.asarray(x) if is_array else x

    return jax.tree.map(moved, tree)


def _is_bound(name: str) -> bool:
    try:
        jax.lax.axis_size(name)
    except NameError:
        return False
    return True
