"""What an Optax update sees, reduced per layer over one window of inner steps.

The loss is recorded at every step. The per-layer statistics cost passes over the parameters, so they are taken over
the last few steps of the window only ("measured" steps). The same functions serve the env and `control()`.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, PyTree

from ganno_jax.inner.layers import LayerMap, inner_products, squared_norms

SAMPLE = 2**14
"""Entries of each leaf from which the agreement of successive gradients is taken, so that no gradient is kept whole."""
_TINY = 1e-20


@struct.dataclass
class LossRecord:
    """Running sums of the training loss over a window."""

    count: Float[Array, ""]
    total: Float[Array, ""]
    total_square: Float[Array, ""]  # of differences from `first`, which keeps float32 precise
    first: Float[Array, ""]
    largest: Float[Array, ""]
    last: Float[Array, ""]


@struct.dataclass
class LayerRecord:
    """Running sums of the per-layer statistics over the measured steps of a window."""

    count: Float[Array, ""]
    gradient_square: Float[Array, " layer"]
    direction_square: Float[Array, " layer"]
    alignment: Float[Array, " layer"]  # sum of the cosines of direction and gradient
    agreement: Float[Array, " layer"]  # sum of the cosines of successive gradients
    agreement_count: Float[Array, ""]
    # Per leaf: a sample of the gradient of the step before.
    previous: tuple[Float[Array, "*slice entry"], ...]


@struct.dataclass
class Summary:
    """One window in numbers: global ones, and `[layer]` ones as root mean squares per parameter."""

    loss: Float[Array, ""]  # mean over the window
    loss_spread: Float[Array, ""]  # standard deviation over the window
    loss_slope: Float[Array, ""]  # last minus first
    loss_largest: Float[Array, ""]
    gradient_rms: Float[Array, " layer"]
    direction_rms: Float[Array, " layer"]
    weight_rms: Float[Array, " layer"]
    agreement: Float[Array, " layer"]  # mean cosine of successive gradients, [-1, 1]
    alignment: Float[Array, " layer"]  # mean cosine of direction and gradient, [-1, 1]
    sizes: Float[Array, " layer"]  # parameters in use
    # Raw `inner.example_statistics` of the window's last step; None unless `Training.example_features`.
    example_features: Float[Array, "layer 2"] | None = None


def empty_loss_record() -> LossRecord:
    """Before the first step of a window."""
    zero, lowest = jnp.zeros((), jnp.float32), jnp.finfo(jnp.float32).min
    return LossRecord(zero, zero, zero, zero, jnp.full((), lowest, jnp.float32), zero)


def record_loss(record: LossRecord, loss: Float[Array, ""]) -> LossRecord:
    """Add the training loss of one inner step."""
    loss = loss.astype(jnp.float32)
    first = jnp.where(record.count == 0, loss, record.first)
    return LossRecord(
        count=record.count + 1,
        total=record.total + (loss - first),
        total_square=record.total_square + jnp.square(loss - first),
        first=first,
        largest=jnp.maximum(record.largest, loss),
        last=loss,
    )


def empty_layer_record(params: PyTree, layers: LayerMap) -> LayerRecord:
    """Before the first measured step of a window."""
    zero, zeros = jnp.zeros((), jnp.float32), jnp.zeros(layers.num_layers, jnp.float32)
    return LayerRecord(
        count=zero,
        gradient_square=zeros,
        direction_square=zeros,
        alignment=zeros,
        agreement=zeros,
        agreement_count=zero,
        previous=tuple(map(jnp.zeros_like, sample(params, layers))),
    )


def sample(tree: PyTree, layers: LayerMap) -> tuple[Float[Array, "*slice entry"], ...]:
    """Up to about `SAMPLE` entries of each leaf in float32, evenly spaced along its first axis; all of a small leaf.

    A row of them, or for a stack one for each slice. A leaf that the compiler splits over devices keeps its axes: its
    parts would have to meet in a row.
    """
    taken = []
    for number, x in enumerate(map(jnp.asarray, jax.tree.leaves(tree))):
        axes, split = layers.stacked[number], layers.splits[number] if layers.splits else ()
        rows, size = x.shape[axes] if x.ndim > axes else 1, x.size
        if split and layers.by_hand:
            size *= math.prod(jax.lax.axis_size(name) for names in split for name in names)
        stride = min(-(-size // SAMPLE), rows)
        if stride > 1:
            x = jax.lax.slice_in_dim(x, 0, rows, stride, axis=axes)
        if not split or layers.by_hand:
            x = x.reshape(*x.shape[:axes], -1)
        taken.append(x.astype(jnp.float32))
    return tuple(taken)


def record_layers(
    record: LayerRecord,
    gradient: PyTree,
    direction: PyTree,
    layers: LayerMap,
    *,
    factor: Float[Array, ""] | float = 1.0,
    squares: Float[Array, " layer"] | None = None,
) -> LayerRecord:
    """Add the per-layer statistics of one inner step.

    Args:
      record: sums so far.
      gradient: of the training loss, before clipping and weight decay.
      direction: what the rates are multiplied with, without decoupled weight decay.
      layers: the groups of leaves.
      factor: on the gradient; what is measured of it is multiplied, which saves a pass over it.
      squares: squared norm of each layer's gradient times the factor, where it is known already; saves another pass.
    """
    square = jnp.square(factor) * squared_norms(gradient, layers) if squares is None else squares
    direction_square = squared_norms(direction, layers)
    aligned = factor * inner_products(gradient, direction, layers)
    taken = tuple(factor * x for x in sample(gradient, layers))
    lengths = squared_norms(taken, layers), squared_norms(record.previous, layers)
    alike = _cosine(inner_products(taken, record.previous, layers), *lengths)
    has_previous = record.count > 0
    return LayerRecord(
        count=record.count + 1,
        gradient_square=record.gradient_square + square,
        direction_square=record.direction_square + direction_square,
        alignment=record.alignment + _cosine(aligned, square, direction_square),
        agreement=record.agreement + jnp.where(has_previous, alike, 0.0),
        agreement_count=record.agreement_count + has_previous,
        previous=taken,
    )


def summarize(
    losses: LossRecord,
    measured: LayerRecord,
    params: PyTree,
    layers: LayerMap,
    sizes: Float[Array, " layer"] | None = None,
) -> Summary:
    """Close a window: means over its steps. Safe for a window without steps: zeros, but for the
    largest loss, the lowest number.

    Args:
      losses: of every step.
      measured: of the measured steps.
      params: after the last step.
      layers: the groups of leaves.
      sizes: parameters in use, over which root mean squares are taken; by default all of each layer.
    """
    count = jnp.maximum(losses.count, 1.0)
    offset = losses.total / count
    variance = jnp.maximum(losses.total_square / count - jnp.square(offset), 0.0)
    sizes = jnp.asarray(layers.sizes, jnp.float32) if sizes is None else sizes
    steps = jnp.maximum(measured.count, 1.0)
    return Summary(
        loss=losses.first + offset,
        loss_spread=jnp.sqrt(variance),
        loss_slope=losses.last - losses.first,
        loss_largest=losses.largest,
        gradient_rms=jnp.sqrt(measured.gradient_square / (steps * sizes)),
        direction_rms=jnp.sqrt(measured.direction_square / (steps * sizes)),
        weight_rms=jnp.sqrt(squared_norms(params, layers) / sizes),
        agreement=measured.agreement / jnp.maximum(measured.agreement_count, 1.0),
        alignment=measured.alignment / steps,
        sizes=sizes,
    )


def relative_steps(
    summary: Summary, layers: LayerMap
) -> tuple[Float[Array, " layer"], Bool[Array, " layer"]]:
    """RMS direction over RMS weight of each layer, and which of them say something about the layer's scale.

    Weights count as at least half of what matrices of their shape start from, so a layer that starts at zero is as
    one that does not. Layers of vectors and scalars only, such as gates or position vectors, have no scale
    of their own beside layers with matrices.
    """
    usual = jnp.asarray(layers.usual_weights, jnp.float32)
    steps = summary.direction_rms / jnp.maximum(summary.weight_rms, jnp.maximum(0.5 * usual, 1e-3))
    return steps, (usual > 0) | ~jnp.any(usual > 0)


def _cosine(
    product: Float[Array, " layer"], square: Float[Array, " layer"], other: Float[Array, " layer"]
) -> Float[Array, " layer"]:
    """From an inner product and both squared norms; 0 where one of them is 0."""
    norms = jnp.sqrt(square) * jnp.sqrt(other)
    return jnp.where(norms == 0, 0.0, product / jnp.maximum(norms, _TINY))
