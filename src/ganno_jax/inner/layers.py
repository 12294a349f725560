"""Which parameter leaves form a layer, and reductions per layer.

A layer is a group of leaves: kernel, bias and the norm that follows them. The map is static; nothing of it is
traced.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PyTree

KINDS = ("dense", "conv", "norm", "other")


@struct.dataclass
class LayerMap:
    """The layers of one network, first to last."""

    names: tuple[str, ...] = struct.field(pytree_node=False)
    leaves: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)  # leaf numbers per layer
    sizes: tuple[int, ...] = struct.field(pytree_node=False)  # parameters per layer
    kinds: tuple[str, ...] = struct.field(pytree_node=False)  # of KINDS, per layer

    @property
    def num_layers(self) -> int:
        return len(self.names)

    @property
    def leaf_layers(self) -> tuple[int, ...]:
        """The layer of each leaf."""
        pairs = sorted((leaf, layer) for layer, group in enumerate(self.leaves) for leaf in group)
        return tuple(layer for _, layer in pairs)


def by_module(params: PyTree) -> LayerMap:
    """One layer per module that owns parameters, found from the leaves' paths.

    Modules are ordered naturally by path ("dense2" before "dense10"), those named as inputs (`embed`, `stem`)
    first and those named as outputs (`head`, `logits`, `output`) last. A normalization's scale and bias join the
    layer that it follows: the sibling of the same number (`norm1` to `conv1`), else the layer before it.
    """
    return by_path(params, lambda path: "/".join(path[:-1]) or path[-1], join_norms=True)


def by_path(
    params: PyTree, layer_fn: Callable[[tuple[str, ...]], str], *, join_norms: bool = False
) -> LayerMap:
    """Layers named by a function of the leaf's path, such as `("block0", "conv0", "kernel")`."""
    paths = [_path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    return _from_names(params, [str(layer_fn(path)) for path in paths], join_norms)


def by_labels(params: PyTree, labels: PyTree) -> LayerMap:
    """Layers given by a label tree as in `optax.multi_transform`; integer labels are the layers' order.

    Raises:
      ValueError: the label tree has neither the structure of the parameters nor that of their upper part.
    """
    try:
        whole = jax.tree.map(
            lambda label, part: jax.tree.map(lambda _: label, part), labels, params
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`layers` must be a tree of labels with the structure of the parameters, or of their upper part: "
            f"{jax.tree.structure(params)}; got {jax.tree.structure(labels)}."
        ) from error
    return _from_names(params, [str(label) for label in jax.tree.leaves(whole)], False)


def layer_sums(leaf_values: Sequence[Float[Array, ""]], layers: LayerMap) -> Float[Array, " layer"]:
    """Add up one number per leaf within each layer."""
    return jnp.stack([sum(leaf_values[i] for i in group) for group in layers.leaves])


def squared_norms(tree: PyTree, layers: LayerMap) -> Float[Array, " layer"]:
    """Squared Euclidean norm of each layer's leaves, in float32."""
    leaves = [x.astype(jnp.float32) for x in jax.tree.leaves(tree)]
    return layer_sums([jnp.vdot(x, x) for x in leaves], layers)


def inner_products(left: PyTree, right: PyTree, layers: LayerMap) -> Float[Array, " layer"]:
    """Inner product of two trees within each layer, in float32."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return layer_sums(
        [jnp.vdot(x.astype(jnp.float32), y.astype(jnp.float32)) for x, y in pairs], layers
    )


def sizes_in_use(params: PyTree, layers: LayerMap) -> Float[Array, " layer"]:
    """Parameters per layer of a network with masked units, without those of the masked ones.

    Weights into and out of a masked unit are zero from the start and stay so, unlike any others. Of a leaf with one
    number per unit, such as a bias, those are in use whose unit has weights that are not zero. A layer whose weights
    are all zero, as some last layers start, counts whole.
    """
    leaves = jax.tree.leaves(params)
    return jnp.stack([_in_use([leaves[i] for i in group]) for group in layers.leaves])


def _in_use(leaves: Sequence[Array]) -> Float[Array, ""]:
    kernels = [x != 0 for x in leaves if jnp.ndim(x) > 1]
    units = {x.shape[-1]: jnp.any(x, axis=tuple(range(x.ndim - 1))) for x in kernels}
    flags = [*kernels]
    for x in leaves:
        if jnp.ndim(x) <= 1:
            there = units.get(jnp.size(x))
            flags.append(jnp.ones(jnp.shape(x), bool) if there is None else there)
    count = sum(jnp.sum(x, dtype=jnp.float32) for x in flags)
    whole = float(sum(jnp.size(x) for x in leaves))
    any_weight = jnp.any(jnp.stack([jnp.any(x) for x in kernels])) if kernels else False
    return jnp.where(any_weight, count, whole)


def apply_rates(direction: PyTree, layers: LayerMap, rates: Float[Array, " layer"]) -> PyTree:
    """Scale each leaf of an Optax direction by minus the learning rate of its layer; dtypes are kept."""
    leaves, structure = jax.tree.flatten(direction)
    scaled = [
        -rates[layer].astype(leaf.dtype) * leaf
        for leaf, layer in zip(leaves, layers.leaf_layers, strict=True)
    ]
    return jax.tree.unflatten(structure, scaled)


def _path_names(path: tuple[Any, ...]) -> tuple[str, ...]:
    # Variables of NNX and boxes of Linen hold their array as an attribute `value`, which is no module.
    last = path[-1] if len(path) > 1 else None
    if isinstance(last, jax.tree_util.GetAttrKey) and last.name == "value":
        path = path[:-1]
    names = (str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
    return tuple(names) or ("params",)


def _natural(name: str) -> tuple[Any, ...]:
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", name))
    root = name.lower()
    place = 0
    if re.search(r"(^|/)(\w*embed\w*|stem\w*|input\w*)", root):
        place = -1
    if re.search(r"(^|/)(head|logits|output|classifier|decoder_out)\w*", root):
        place = 1
    return (place, *parts)


def _is_norm(name: str, leaf_names: set[str]) -> bool:
    last = name.rsplit("/", 1)[-1].lower()
    return "norm" in last or last.startswith("bn") or leaf_names == {"scale", "bias"}


def _norm_owner(norm: str, names: list[str]) -> str | None:
    """The layer whose outputs a norm normalizes: same parent, same number, else the one before it."""
    parent, _, last = norm.rpartition("/")
    siblings = [n for n in names if n.rpartition("/")[0] == parent]
    number = re.search(r"(\d+)$", last)
    if number:
        same = [n for n in siblings if re.search(rf"(?<!\d){number.group(1)}$", n)]
        if same:
            return same[0]
    before = [n for n in siblings if _natural(n) < _natural(norm)] or siblings
    return before[-1] if before else None


def _from_names(params: PyTree, leaf_layers: list[str], join_norms: bool) -> LayerMap:
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError("there are no parameters, so there is no layer to set a rate for.")
    paths = [_path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    members: dict[str, set[str]] = {}
    for name, path in zip(leaf_layers, paths, strict=True):
        members.setdefault(name, set()).add(path[-1])
    names = sorted(members, key=_natural)
    if join_norms:
        norms = [n for n in names if _is_norm(n, members[n])]
        others = [n for n in names if n not in norms]
        owner = {n: _norm_owner(n, others) for n in norms} if others else {}
        leaf_layers = [owner.get(n) or n for n in leaf_layers]
        names = sorted(set(leaf_layers), key=_natural)
    groups = tuple(tuple(i for i, n in enumerate(leaf_layers) if n == name) for name in names)
    return LayerMap(
        names=tuple(names),
        leaves=groups,
        sizes=tuple(sum(math.prod(jnp.shape(leaves[i])) for i in group) for group in groups),
        kinds=tuple(_kind([leaves[i] for i in group]) for group in groups),
    )


def _kind(leaves: list[Any]) -> str:
    most_axes = max(jnp.ndim(leaf) for leaf in leaves)
    if most_axes <= 1:
        return "norm" if len(leaves) > 1 else "other"
    return "dense" if most_axes == 2 else "conv" if most_axes >= 4 else "other"
