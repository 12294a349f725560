"""Layers that stand in one array `[layer, ...]`, as `nn.scan` and `lax.scan` stack them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.meta import Partitioned
from jax.sharding import PartitionSpec
from jaxtyping import PyTree

from ganno_jax.inner.layer_names import path_names


def check_stacked(stacked: Any) -> None:
    """Whether a setting says what is stacked.

    Raises:
      ValueError: it is no mapping from beginnings of paths to whole numbers.
    """
    fits = isinstance(stacked, Mapping) and all(
        isinstance(prefix, str) and isinstance(axes, int | np.integer) and axes is not True
        for prefix, axes in stacked.items()
    )
    if not fits:
        raise ValueError(
            "`stacked` must be a dict from the beginning of a path to a whole number of leading axes, such as "
            f"{{'blocks': 1}}; got {stacked!r:.100}."
        )


def find_stacks(
    params: PyTree, paths: list[tuple[str, ...]], stacked: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Of each leaf: the beginning of its path that is stacked, and how many leading axes count layers.

    Args:
      params: arrays or shapes.
      paths: of the leaves, in their order.
      stacked: number of leading axes that count layers, by the beginning of the path joined with "/"; the first that
        fits.
    """
    check_stacked(stacked)
    names = ["/".join(path) for path in paths]
    leaves = jax.tree.leaves(params)
    for prefix, axes in stacked.items():
        inside = [jnp.ndim(w) for n, w in zip(names, leaves, strict=True) if _is_under(n, prefix)]
        if axes < 1 or min(inside, default=0) < axes:
            raise ValueError(
                "`stacked` must give a number of leading axes, at least 1, of parameters that exist; got "
                f"{prefix!r}: {axes} for {len(inside)} parameters among {', '.join(names[:4])}, ..."
            )
    inside = [[item for item in stacked.items() if _is_under(name, item[0])] for name in names]
    return [found[0] if found else ("", 0) for found in inside]


def stacks_by_metadata(params: PyTree) -> dict[str, int]:
    """Stacked parameters that say so themselves, by path: the names of their axes begin with one of layers.

    Flax names axes in its boxes (`nn.Partitioned`) and variables (of NNX), and `nn.scan` the axis that it adds, as in
    `metadata_params={nn.PARTITION_NAME: "layers"}`. Names that hold "layer", "block", "stack" or "scan" count.
    """
    keyed = jax.tree_util.tree_leaves_with_path(
        params, is_leaf=lambda x: _axis_names(x) is not None
    )
    found = {}
    for path, leaf in keyed:
        names = _axis_names(leaf) or ()
        count = next((i for i, name in enumerate(names) if not _counts_layers(name)), len(names))
        if count:
            found["/".join(path_names(path))] = count
    return found


def _axis_names(x: Any) -> tuple[Any, ...] | None:
    """Those that a box of Flax holds; None for what is no box."""
    if isinstance(x, Partitioned):
        return x.names
    if hasattr(x, "get_metadata"):
        metadata = x.get_metadata()
        found = (metadata.get(key) for key in ("out_sharding", "sharding_names", "sharding"))
        kinds = (tuple, PartitionSpec)
        return next((tuple(names) for names in found if isinstance(names, kinds)), None)
    return None


def _counts_layers(name: Any) -> bool:
    return isinstance(name, str) and bool(re.search("layer|block|stack|scan", name.lower()))


def stack_axes(path: tuple[str, ...], stacked: Mapping[str, int]) -> int:
    """How many leading axes of the leaf at this path count layers."""
    name = "/".join(path)
    return next((axes for prefix, axes in stacked.items() if _is_under(name, prefix)), 0)


def layers_in_order(
    names: list[str], leaves: list[Any], stacks: list[tuple[str, int]], order: Callable[[str], Any]
) -> list[tuple[str, str]]:
    """Layers first to last: a name, and for a slice of a stack its index, such as "[3]".

    A stack is passed slice by slice, each of them a block with all the modules in it.

    Args:
      names: of the layer of each leaf, without an index.
      leaves: arrays or shapes, in the same order.
      stacks: of each leaf, from `find_stacks`.
      order: sorts names, first layer first.
    """
    keyed = []
    for name in dict.fromkeys(names):
        owned = [i for i, n in enumerate(names) if n == name]
        (prefix, axes), first = stacks[owned[0]], leaves[owned[0]]
        shape = jnp.shape(first)[:axes]
        if any(stacks[i][1] != axes or jnp.shape(leaves[i])[:axes] != shape for i in owned):
            raise ValueError(f"the parameters of {name!r} are not stacked alike.")
        beside = [n for n, stack in zip(names, stacks, strict=True) if stack == (prefix, axes)]
        place = min(map(order, beside)) if axes else order(name)
        for index in np.ndindex(*shape):
            keyed.append((place, index, order(name), name))
    keyed.sort()
    return [
        (name, f"[{','.join(map(str, index))}]" if index else "") for _, index, _, name in keyed
    ]


def _is_under(name: str, prefix: str) -> bool:
    return f"{name}/".startswith(f"{prefix.strip('/')}/")
