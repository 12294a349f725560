"""Muon for matrices that are split over devices: only products as small as the matrix's other side travel."""

import math
import string
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, PyTree
from optax.contrib import MuonDimensionNumbers

from ganno_jax.inner.splits import Split

_FAR_LONGER = 4
"""Where the side that is whole is so many times the one that is split, the parts meet: products would be larger."""


class NesterovState(NamedTuple):
    """State of `nesterov`."""

    num_updates: Int[Array, ""]
    momentum: PyTree


def nesterov(momentum: Float[Array, ""] | float) -> optax.GradientTransformation:
    """The momentum that `optax.contrib.scale_by_muon` orthogonalizes: Nesterov's, with corrected bias."""

    def init(params: PyTree) -> NesterovState:
        return NesterovState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(
        gradient: PyTree, state: NesterovState, params: PyTree | None = None
    ) -> tuple[PyTree, NesterovState]:
        del params
        moments = optax.tree.update_moment(gradient, state.momentum, momentum, 1)
        count = optax.safe_increment(state.num_updates)
        ahead = optax.tree.bias_correction(moments, momentum, optax.safe_increment(count))
        now = optax.tree.bias_correction(gradient, momentum, count)
        direction = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, ahead, now)
        return direction, NesterovState(count, moments)

    return optax.GradientTransformation(init, update)


def orthogonalize_split(
    x: Float[Array, "..."],
    axes: MuonDimensionNumbers,
    split: Split,
    by_hand: bool,
    polynomials: Sequence[tuple[float, float, float]],
    epsilon: Float[Array, ""] | float,
) -> Float[Array, "..."]:
    r"""Newton-Schulz iterations $X \leftarrow a X + (b A + c A^2) X$ with $A = X X^\top$ summed over the split side.

    As `optax.contrib` orthogonalizes, but for the order of float additions. Where both sides are split, the parts of
    the shorter one meet first, once; where the whole side is far longer than the split one, those of the split one.

    Args:
      x: of any number of axes, or a part of it.
      axes: which of them are the matrix's rows and columns; others count matrices.
      split: of each axis.
      by_hand: whether `x` is a part, so that sums must be added up here.
      polynomials: $a, b, c$ of each iteration.
      epsilon: added to the norm.
    """
    sides = tuple(axes.reduction_axis), tuple(axes.output_axis)
    names = [tuple(n for axis in side for n in split[axis]) for side in sides]
    lengths = [math.prod(x.shape[axis] for axis in side) for side in sides]
    if by_hand:
        sizes = [math.prod(map(jax.lax.axis_size, over)) for over in names]
        lengths = [length * size for length, size in zip(lengths, sizes, strict=True)]
    longer = int(lengths[1] > lengths[0])
    summed = longer if all(names) or not any(names) else int(not names[0])
    meeting: tuple[int, ...] = ()  # axes whose parts meet
    if all(names):
        meeting = sides[1 - longer]
    elif lengths[1 - summed] > _FAR_LONGER * lengths[summed]:
        meeting, summed = sides[summed], longer
    meeting = tuple(axis for axis in meeting if split[axis])
    if not by_hand:
        held = partial(_whole_along, axes=meeting, split=split)
        return _iterated(x, sides, summed, (), polynomials, epsilon, held)
    whole = x
    for axis in meeting:
        whole = jax.lax.all_gather(whole, split[axis], axis=axis, tiled=True)
    over = tuple(n for axis in sides[summed] if axis not in meeting for n in split[axis])
    found = _iterated(whole, sides, summed, over, polynomials, epsilon)
    for axis in meeting:
        start = jax.lax.axis_index(split[axis]) * x.shape[axis]
        found = jax.lax.dynamic_slice_in_dim(found, start, x.shape[axis], axis)
    return found


def _whole_along(x: Float[Array, "..."], axes: Sequence[int], split: Split) -> Float[Array, "..."]:
    """Tells the compiler that parts meet along these axes here, not in each product."""
    if not axes or jax.sharding.get_abstract_mesh().empty:
        return x
    spec = [names if names and i not in axes else None for i, names in enumerate(split)]
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*spec))


def _iterated(
    x: Float[Array, "..."],
    sides: tuple[tuple[int, ...], tuple[int, ...]],
    summed: int,
    over: tuple[str, ...],
    polynomials: Sequence[tuple[float, float, float]],
    epsilon: Float[Array, ""] | float,
    held: Callable[[Array], Array] = lambda x: x,
) -> Float[Array, "..."]:
    """The iterations with sums over one side, and over devices where parts of it stand there."""

    def added(y: Array) -> Array:
        return jax.lax.psum(y, over) if over else y

    kept, num_axes = sides[1 - summed], x.ndim
    own = string.ascii_letters[:num_axes]
    other = string.ascii_letters[num_axes : 2 * num_axes]
    twin = "".join(other[i] if i in kept else own[i] for i in range(num_axes))
    batch = "".join(own[i] for i in range(num_axes) if i not in (*sides[0], *sides[1]))
    pairs = batch + "".join(own[i] for i in kept) + "".join(other[i] for i in kept)
    square = tuple(x.shape[i] for i in kept)
    norm = jnp.sqrt(added(jnp.sum(jnp.square(x), axis=(*sides[0], *sides[1]), keepdims=True)))
    x = held(x / (norm + epsilon))
    for a, b, c in polynomials:
        gram = added(jnp.einsum(f"{own},{twin}->{pairs}", x, x))
        leading = gram.shape[: len(batch)]
        gram = gram.reshape(*leading, math.prod(square), math.prod(square))
        mixed = (b * gram + c * gram @ gram).reshape(*leading, *square, *square)
        x = held(a * x + jnp.einsum(f"{pairs},{twin}->{own}", mixed, x))
    return x
