"""Which parameter leaves form a layer, and reductions per layer.

A layer is a group of leaves: kernel, bias and the norm that follows them. The map is static; nothing of it is
traced.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PyTree

from ganno_jax.inner.layer_names import (
    is_low_rank_factor,
    join_vectors_to_layers,
    kind_of,
    order_of,
    path_names,
)
from ganno_jax.inner.splits import Layout, Split
from ganno_jax.inner.stacks import find_stacks, layers_in_order
from ganno_jax.inner.upper_parts import spread

KINDS = ("dense", "conv", "norm", "other")
"""What a layer can be."""
_ATTRIBUTES = (jax.tree_util.GetAttrKey, jax.tree_util.SequenceKey)


@struct.dataclass
class LayerMap:
    """The layers of one network, first to last."""

    names: tuple[str, ...] = struct.field(pytree_node=False)
    leaves: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)  # leaf numbers per layer
    sizes: tuple[int, ...] = struct.field(pytree_node=False)  # parameters per layer
    kinds: tuple[str, ...] = struct.field(pytree_node=False)  # of KINDS, per layer
    # Usual root mean square of the entries of a layer's matrices, 1 / sqrt(inputs); 0 where it has none.
    usual_weights: tuple[float, ...] = struct.field(pytree_node=False)
    decayed: tuple[bool, ...] = struct.field(pytree_node=False)  # per leaf: matrices, not vectors
    # Per leaf: how many leading axes count layers, as `nn.scan` and `lax.scan` stack them.
    stacked: tuple[int, ...] = struct.field(pytree_node=False)
    # Per leaf: how it is split over devices; empty where none is.
    splits: tuple[Split, ...] = struct.field(pytree_node=False, default=())
    # Whether leaves are the parts of this device, so that sums over them must be added up over devices.
    by_hand: bool = struct.field(pytree_node=False, default=False)

    @property
    def num_layers(self) -> int:
        """Length of every array by layer."""
        return len(self.names)

    @property
    def leaf_layers(self) -> tuple[tuple[int, ...], ...]:
        """The layers of each leaf: one, or one for each slice of a stacked leaf."""
        owners: list[list[int]] = [[] for _ in self.stacked]
        for layer, group in enumerate(self.leaves):
            for leaf in group:
                owners[leaf].append(layer)
        return tuple(tuple(layers) for layers in owners)

    def spread(self, values: Float[Array, " layer"], leaf: int, like: Array) -> Array:
        """The value of a leaf's layer, or of each of its slices, to multiply an array of its shape and type with.

        Args:
          values: one number per layer.
          leaf: number of the leaf, in the order of `jax.tree.leaves`.
          like: an array of the shape and type of that leaf.

        Returns:
          A scalar, or for a stack `[layer, 1, ...]` with as many axes as the leaf.
        """
        owners, axes = self.leaf_layers[leaf], self.stacked[leaf]
        if not axes:
            return values[owners[0]].astype(like.dtype)
        shape = like.shape[:axes] + (1,) * (like.ndim - axes)
        return values[jnp.asarray(owners)].astype(like.dtype).reshape(shape)


def by_module(params: PyTree, stacked: Mapping[str, int] | None = None) -> LayerMap:
    """One layer per module that owns parameters, found from the leaves' paths.

    Layers are ordered as data passes them (`layer_names.order_of`); where all names are attributes, as in Equinox, in
    the order of the tree, in which they were declared. A normalization's scale and bias join the layer that it follows:
    the sibling of the same number (`norm1` to `conv1`), else the layer before it; the first of a block joins the layer
    after it. In a flat dict vectors join the matrix of their name (`b1` to `w1`). The two factors of a low-rank change
    (LoRA) are layers of their own: one of them starts at zero.
    """

    def module(path: tuple[str, ...]) -> str:
        return "/".join(path if is_low_rank_factor(path) or len(path) == 1 else path[:-1])

    return by_path(params, module, join_vectors=True, stacked=stacked)


def by_path(
    params: PyTree,
    layer_fn: Callable[[tuple[str, ...]], str],
    *,
    join_vectors: bool = False,
    stacked: Mapping[str, int] | None = None,
) -> LayerMap:
    """Layers named by a function of the leaf's path, such as `("block0", "conv0", "kernel")`.

    Args:
      params: the network's.
      layer_fn: the layer's name.
      join_vectors: let norms and biases that are layers of their own join those that they belong to.
      stacked: number of leading axes that count layers, by the beginning of the path ("decoder/layers"); each slice
        is then a layer. For parameters from `nn.scan` or for `lax.scan`.

    Raises:
      ValueError: `stacked` names no parameters, or more axes than they have.
    """
    paths = [path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    stacks = find_stacks(params, paths, stacked or {})
    return _from_names(params, [str(layer_fn(path)) for path in paths], join_vectors, stacks)


def by_labels(params: PyTree, labels: PyTree) -> LayerMap:
    """Layers given by a label tree as in `optax.multi_transform`; integer labels are the layers' order.

    Raises:
      ValueError: the label tree has neither the structure of the parameters nor that of their upper part.
    """
    names = [str(label) for label in jax.tree.leaves(spread("layers", "labels", labels, params))]
    return _from_names(params, names, False, [("", 0)] * len(names))


def with_layout(layers: LayerMap, params: PyTree, layout: Layout) -> LayerMap:
    """The map of parameters that are split over devices.

    Args:
      layers: of the whole parameters.
      params: for the paths of the leaves.
      layout: which leaves are split over which axes of the mesh.
    """
    paths = [path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    return layers.replace(splits=tuple(map(layout.of, paths)), by_hand=layout.by_hand)


def layer_sums(
    leaf_values: Sequence[Float[Array, ""] | Float[Array, " slice"]], layers: LayerMap
) -> Float[Array, " layer"]:
    """Add up one number per leaf, or per slice of a stacked leaf, within each layer."""
    owners = layers.leaf_layers

    def of(leaf: int, layer: int) -> Float[Array, ""]:
        value = leaf_values[leaf]
        return value[owners[leaf].index(layer)] if value.ndim else value

    return jnp.stack([sum(of(i, n) for i in group) for n, group in enumerate(layers.leaves)])


def squared_norms(tree: PyTree, layers: LayerMap) -> Float[Array, " layer"]:
    """Squared Euclidean norm of each layer's leaves, in float32."""
    return inner_products(tree, tree, layers)


def inner_products(left: PyTree, right: PyTree, layers: LayerMap) -> Float[Array, " layer"]:
    """Inner product of two trees within each layer, in float32.

    Args:
      left: a tree of the structure of the parameters.
      right: likewise.
      layers: of the parameters; where they are split by hand, sums are over the mesh too.
    """
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), layers.stacked, strict=True)

    def product(x: Array, y: Array, axes: int) -> Array:
        x, y = x.astype(jnp.float32), y.astype(jnp.float32)
        if not axes:
            return jnp.sum(x * y)
        return jnp.sum(x * y, axis=tuple(range(axes, x.ndim))).reshape(-1)

    products = [product(x, y, axes) for x, y, axes in pairs]
    if not layers.by_hand:
        return layer_sums(products, layers)
    over = [tuple(name for names in split for name in names) for split in layers.splits]
    total = jnp.zeros(layers.num_layers, jnp.float32)
    for names in dict.fromkeys(over):
        chosen = [
            p if n == names else jnp.zeros(p.shape) for p, n in zip(products, over, strict=True)
        ]
        part = layer_sums(chosen, layers)
        total += jax.lax.psum(part, names) if names else part
    return total


def apply_rates(
    direction: PyTree,
    layers: LayerMap,
    rates: Float[Array, " layer"],
    params: PyTree | None = None,
    decays: Float[Array, " layer"] | None = None,
) -> PyTree:
    r"""The step $-\eta_l (d_l + \lambda_l w_l)$ of every leaf; dtypes are those of the direction.

    Args:
      direction: $d$, an Optax direction without decoupled weight decay.
      layers: the groups of leaves, and which leaves decay.
      rates: $\eta$.
      params: $w$; needed with `decays`.
      decays: $\lambda$, decoupled weight decay per unit of rate; None for none.
    """
    leaves, structure = jax.tree.flatten(direction)
    if decays is not None:
        weights = jax.tree.leaves(params)
        leaves = [
            d + layers.spread(decays, i, d) * w.astype(d.dtype) if layers.decayed[i] else d
            for i, (d, w) in enumerate(zip(leaves, weights, strict=True))
        ]
    scaled = [-layers.spread(rates, i, leaf) * leaf for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, scaled)


def _from_names(
    params: PyTree, names: list[str], join_vectors: bool, stacks: list[tuple[str, int]]
) -> LayerMap:
    """The map of leaves whose layers have these names."""
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError("there are no parameters, so there is no layer to set a rate for.")
    keyed = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    paths = [path_names(path) for path in keyed]
    shapes = [jnp.shape(w)[axes:] for w, (_, axes) in zip(leaves, stacks, strict=True)]
    kinds = [kind_of(path, len(shape)) for path, shape in zip(paths, shapes, strict=True)]
    if join_vectors:
        names = join_vectors_to_layers(names, paths, kinds, stacks)
    declared = all(isinstance(key, _ATTRIBUTES) for path in keyed for key in path)
    members = layers_in_order(names, leaves, stacks, names.index if declared else order_of)
    groups = tuple(tuple(i for i, m in enumerate(names) if m == name) for name, _ in members)
    return LayerMap(
        names=tuple(f"{name}{index}" for name, index in members),
        leaves=groups,
        sizes=tuple(sum(math.prod(shapes[i]) for i in group) for group in groups),
        kinds=tuple(_kind([kinds[i] for i in group]) for group in groups),
        usual_weights=tuple(
            max(_usual_weight(paths[i], shapes[i]) for i in group) for group in groups
        ),
        decayed=tuple(
            len(shape) >= 2 and path[-1] not in ("bias", "scale")
            for shape, path in zip(shapes, paths, strict=True)
        ),
        stacked=tuple(axes for _, axes in stacks),
    )


def _kind(kinds: list[str]) -> str:
    """Of a layer: that of its largest kind of leaf, as agents know it (`KINDS`)."""
    if set(kinds) == {"vector"}:
        return "norm" if len(kinds) > 1 else "other"
    known = {"conv": "conv", "other": "other"}
    return next(known.get(kind, "dense") for kind in kinds if kind != "vector")


def _usual_weight(path: tuple[str, ...], shape: tuple[int, ...]) -> float:
    """One over the root of a matrix's inputs; where the path does not tell its layout, of its longer side."""
    if len(shape) < 2:
        return 0.0
    first, last = math.prod(shape[:-1]), math.prod(shape[1:])
    inputs = {"kernel": first, "weight": last}.get(path[-1], max(first, last))
    return 1 / math.sqrt(max(inputs, 1))
