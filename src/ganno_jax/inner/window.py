"""Many steps in one loop, the last of which are measured. Knows no training, only how it takes a step."""

from collections.abc import Callable

import jax
from flax import struct
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


@struct.dataclass
class Walk:
    """What steps leave behind; what is None is not recorded."""

    state: InnerState
    losses: LossRecord
    record: LayerRecord | None = None
    last_step: tuple[InnerState, Params] | None = None  # before it, and along which direction


def walk(
    step_fn: StepFn,
    state: InnerState,
    rows: LayerHyperparameters,
    indices: Int[Array, "inner_step batch"],
    *,
    num_measured: int,
    layers: LayerMap,
    with_last_step: bool,
) -> Walk:
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

    def step(walked: Walk, inputs: tuple[LayerHyperparameters, Array]) -> tuple[Walk, None]:
        state, metrics = step_fn(walked.state, *inputs)
        record, last_step = walked.record, walked.last_step
        if record is not None:
            record = record_layers(record, metrics.gradient, metrics.direction, layers)
        if last_step is not None:
            last_step = (walked.state, metrics.direction)
        return Walk(state, record_loss(walked.losses, metrics.loss), record, last_step), None

    num_bare = len(indices) - num_measured
    bare, measured = (
        jax.tree.map(lambda x, some=some: x[some], (rows, indices))
        for some in (slice(num_bare), slice(num_bare, None))
    )
    walked = Walk(state, empty_loss_record())
    if num_bare:
        walked, _ = jax.lax.scan(step, walked, bare)
    room = walked.replace(
        record=empty_layer_record(state.params, layers),
        last_step=(state, state.params) if with_last_step else None,
    )
    return jax.lax.scan(step, room, measured)[0]
