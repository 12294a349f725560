"""Celo and Celo-Adam: a learned schedule over a learned step or over Adam."""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from ganno_jax.baselines.learned_common import (
    LossBuffer,
    check_inputs,
    check_num_steps,
    clip_gradient,
    fold_loss,
    init_loss_buffer,
    initial_rows,
    progress_embedding,
    run_scheduler,
    update_moment,
)
from ganno_jax.baselines.learned_step import (
    Accumulators,
    as_tensor,
    init_accumulators,
    learned_step,
    parameter_features,
    update_accumulators,
)
from ganno_jax.baselines.learned_wrappers import with_weight_decay
from ganno_jax.baselines.weights import (
    LearnedWeights,
    SchedulerWeights,
    check_weights,
    shipped_weights,
)


@struct.dataclass
class GlobalSchedule:
    """A learned schedule of one number for the whole network.

    The published code runs one row per tensor; all rows have the same input and state, so one row
    is enough.
    """

    count: Int[Array, ""]
    num_steps: Int[Array, ""]
    loss_buffer: LossBuffer
    hidden: Float[Array, "1 state"]
    cell: Float[Array, "1 state"]
    multiplier: Float[Array, ""]  # of the last step, for curves


def init_schedule(weights: SchedulerWeights, num_steps: int | Int[Array, ""]) -> GlobalSchedule:
    """The schedule before the first loss."""
    num_steps = jnp.asarray(num_steps, jnp.int32)
    hidden, cell = initial_rows(weights, 1)
    return GlobalSchedule(
        count=jnp.zeros((), jnp.int32),
        num_steps=num_steps,
        loss_buffer=init_loss_buffer(num_steps),
        hidden=hidden,
        cell=cell,
        multiplier=jnp.zeros((), jnp.float32),
    )


def advance_schedule(
    weights: SchedulerWeights, schedule: GlobalSchedule, loss: Float[Array, ""]
) -> GlobalSchedule:
    r"""Read one loss and set the multiplier, $0.1 e^{s}$ with $s$ the output of the network.

    Args:
      weights: of the recurrent network.
      schedule: after the last step.
      loss: training loss of this step, in nats or any other unit, as it is.
    """
    loss_buffer, loss_features = fold_loss(schedule.loss_buffer, loss)
    progress = progress_embedding(schedule.count, schedule.num_steps)
    inputs = jnp.concatenate([progress, loss_features])[None]
    step, _, hidden, cell = run_scheduler(weights, inputs, schedule.hidden, schedule.cell)
    return schedule.replace(
        count=schedule.count + 1,
        loss_buffer=loss_buffer,
        hidden=hidden,
        cell=cell,
        multiplier=0.1 * jnp.exp(step[0]),
    )


@struct.dataclass
class CeloAdamState:
    """The learned schedule and Adam's moments, float32."""

    schedule: GlobalSchedule
    mean: PyTree
    square: PyTree

    @property
    def rate(self) -> Float[Array, ""]:
        """Adam's learning rate in the last step."""
        return 0.001 * self.schedule.multiplier


def celo_adam(
    weights: LearnedWeights | None = None,
    num_steps: int | Int[Array, ""] | None = None,
    weight_decay: float | Float[Array, ""] = 0.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam whose learning rate a recurrent network sets from the training loss and the progress.

    $p \leftarrow p - \eta\,\hat m / (10^{-8} + \sqrt{\hat v + 10^{-10}})$ with one $\eta$ for all
    tensors. `update(grads, state, params, value=loss)` needs the training loss of the same step.
    Updates have the dtype of the parameters. `num_steps` and `weight_decay` may be traced or
    batched.

    Args:
      weights: from `load_weights`; None takes the published ones, which come with the package.
      num_steps: planned calls of `update`, at least 1. The weights saw runs of up to 2000.
      weight_decay: coupled, seen by the schedule; the authors show 0.0812 as an example.

    Raises:
      ValueError: weights of another optimizer, `num_steps` missing or below 1, a negative weight
        decay.

    References:
      Moudgil et al. 2025, arXiv:2501.12670.
    """
    weights = shipped_weights("celo_adam") if weights is None else weights
    scheduler = check_weights(weights, "celo_adam", num_inputs=18, has_step=False).scheduler
    num_steps = check_num_steps("celo_adam", num_steps)

    def init(params):
        zeros = jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), jnp.float32), params)
        return CeloAdamState(init_schedule(scheduler, num_steps), zeros, zeros)

    def update(updates, state, params=None, *, value=None, **extra_args):
        del extra_args
        check_inputs("celo_adam", params, value)
        gradients = jax.tree.map(clip_gradient, updates)
        schedule = advance_schedule(scheduler, state.schedule, value)
        mean = jax.tree.map(lambda m, g: update_moment(m, g, 0.9), state.mean, gradients)
        square = jax.tree.map(lambda v, g: update_moment(v, g**2, 0.999), state.square, gradients)
        state = CeloAdamState(schedule, mean, square)
        steps = jnp.asarray(schedule.count, jnp.float32)
        mean_weight = 1.0 - jnp.float32(0.9) ** steps
        square_weight = 1.0 - jnp.float32(0.999) ** steps

        def step(p, m, v):
            size = 1e-8 + jnp.sqrt(v / square_weight + 1e-10)
            return (-state.rate * (m / mean_weight) / size).astype(jnp.result_type(p))

        return jax.tree.map(step, params, mean, square), state

    transformation = optax.GradientTransformationExtraArgs(init, update)
    return with_weight_decay(transformation, weight_decay)


@struct.dataclass
class CeloState:
    """The learned schedule and one set of accumulators per tensor, float32."""

    schedule: GlobalSchedule
    accumulators: PyTree[Accumulators]


def celo(
    weights: LearnedWeights | None = None,
    num_steps: int | Int[Array, ""] | None = None,
    weight_decay: float | Float[Array, ""] = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Celo: VeLO's per-parameter step, a single network, under a learned global schedule.

    `update(grads, state, params, value=loss)` needs the training loss of the same step. Updates
    have the dtype of the parameters. `num_steps` and `weight_decay` may be traced or batched.

    Args:
      weights: from `load_weights`; None takes the published ones, which come with the package.
      num_steps: planned calls of `update`, at least 1. The weights saw runs of up to 2000.
      weight_decay: coupled, seen by the schedule and the features.

    Raises:
      ValueError: weights of another optimizer or with a bank of several networks, `num_steps`
        missing or below 1, a negative weight decay.

    References:
      Moudgil et al. 2025, arXiv:2501.12670.
    """
    weights = shipped_weights("celo") if weights is None else weights
    check_weights(weights, "celo", num_inputs=18, has_step=True)
    num_steps = check_num_steps("celo", num_steps)
    if weights.step.b0.shape[0] != 1:
        raise ValueError(
            "`celo` needs weights with one per-parameter network; "
            f"these have {weights.step.b0.shape[0]}."
        )
    network = jax.tree.map(lambda w: w[0], weights.step)

    def init(params):
        return CeloState(
            schedule=init_schedule(weights.scheduler, num_steps),
            accumulators=jax.tree.map(lambda leaf: init_accumulators(as_tensor(leaf)), params),
        )

    def update(updates, state, params=None, *, value=None, **extra_args):
        del extra_args
        check_inputs("celo", params, value)
        schedule = advance_schedule(weights.scheduler, state.schedule, value)

        def step(leaf, gradient, old):
            tensor, gradient = as_tensor(leaf), as_tensor(clip_gradient(gradient))
            new = update_accumulators(old, gradient)
            features = parameter_features(tensor, gradient, new)
            change = learned_step(network, schedule.multiplier, tensor, features)
            return change.reshape(jnp.shape(leaf)).astype(jnp.result_type(leaf)), new

        leaves, structure = jax.tree.flatten(params)
        steps, accumulators = zip(
            *map(
                step,
                leaves,
                structure.flatten_up_to(updates),
                structure.flatten_up_to(state.accumulators),
            ),
            strict=True,
        )
        return structure.unflatten(steps), CeloState(schedule, structure.unflatten(accumulators))

    transformation = optax.GradientTransformationExtraArgs(init, update)
    return with_weight_decay(transformation, weight_decay)
