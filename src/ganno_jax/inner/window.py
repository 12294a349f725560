"""Many steps in one loop, the last of which are measured. Knows no training, only how it takes a step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Int

from ganno_jax.inner.hyperparameters import LayerHyperparameters
from ganno_jax.inner.layers import LayerMap
from ganno_jax.inner.state import InnerMetrics, InnerState
from ganno_jax.inner.statistics import (
    LayerRecord,
    LossRecord,
    empty_layer_record,
    empty_loss_record,
    record_layers,
    record_loss,
)
from ganno_jax.tasks.task import Params

StepFn = Callable[
    [InnerState, LayerHyperparameters, Int[Array, " batch"]], tuple[InnerState, InnerMetrics]
]


class Walked(NamedTuple):
    """What a window of steps leaves behind."""

    state: InnerState
    losses: LossRecord
    record: LayerRecord
    last_step: tuple[InnerState, Params] | tuple[()]  # before it, and along which direction


def walk(
    step_fn: StepFn,
    state: InnerState,
    rows: LayerHyperparameters,
    indices: Int[Array, "inner_step batch"],
    *,
    num_measured: int,
    layers: LayerMap,
    with_last_step: bool,
) -> Walked:
    """Take one step per row; every loss is recorded, gradients and directions in the last `num_measured` steps.

    Args:
      step_fn: from a state, the hyperparameters of a step and its examples to the next state and what it showed.
      state: before the window.
      rows: hyperparameters `[inner_step, layer]`.
      indices: training examples of each step.
      num_measured: from 1 to the number of rows.
      layers: of the parameters.
      with_last_step: whether the state before the last step and its direction are kept.
    """
    num_bare = len(indices) - num_measured

    def part(some: slice) -> LayerHyperparameters:
        return jax.tree.map(lambda x: x[some], rows)

    def bare(carry, inputs):
        state, losses = carry
        state, metrics = step_fn(state, *inputs)
        return (state, record_loss(losses, metrics.loss)), None

    def measured(carry, inputs):
        before, losses, record = carry[:3]
        state, metrics = step_fn(before, *inputs)
        losses = record_loss(losses, metrics.loss)
        gradient, direction = metrics.gradient, metrics.direction
        record = record_layers(record, gradient, direction, layers)
        last_step = (before, direction) if with_last_step else ()
        return (state, losses, record, *last_step), None

    carry = (state, empty_loss_record())
    if num_bare:
        carry, _ = jax.lax.scan(bare, carry, (part(slice(num_bare)), indices[:num_bare]))
    last_step = (state, state.params) if with_last_step else ()
    carry = (*carry, empty_layer_record(state.params, layers), *last_step)
    carry, _ = jax.lax.scan(measured, carry, (part(slice(num_bare, None)), indices[num_bare:]))
    state, losses, record, *last_step = carry
    return Walked(state, losses, record, tuple(last_step))
