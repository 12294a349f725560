"""VeLO, an optimizer whose step is a network, as an Optax transformation."""

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
    init_degenerate_loss_buffer,
    init_loss_buffer,
    initial_rows,
    progress_embedding,
    run_scheduler,
)
from ganno_jax.baselines.learned_step import (
    Accumulators,
    as_tensor,
    init_accumulators,
    learned_step,
    mix_bank,
    parameter_features,
    update_accumulators,
)
from ganno_jax.baselines.learned_wrappers import accumulate, with_weight_decay
from ganno_jax.baselines.weights import LearnedWeights, check_weights

NUM_RANKS = 5


@struct.dataclass
class VeloState:
    """Memory of one training. Rows of tensors are in the order of `jax.tree.leaves(params)`."""

    count: Int[Array, ""]
    num_steps: Int[Array, ""]
    loss_buffer: LossBuffer
    hidden: Float[Array, "tensor state"]
    cell: Float[Array, "tensor state"]
    multipliers: Float[Array, " tensor"]  # of the last step, for curves
    accumulators: PyTree[Accumulators]


def velo(
    weights: LearnedWeights,
    num_steps: int | Int[Array, ""],
    max_training_steps: int | None = 150_000,
    weight_decay: float | Float[Array, ""] = 0.0,
    *,
    mix_scale: float = 100.0,
    bugged_loss_features: bool = False,
    bugged_lstm_state: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """The learned optimizer VeLO; its only hyperparameter is the planned number of updates.

    `update(grads, state, params, value=loss)` needs the training loss of the same step. Moments are
    float32; updates have the dtype of the parameters. `num_steps` and `weight_decay` may be traced
    or batched.

    Args:
      weights: from `load_weights`; the released ones have 2,320,385 numbers. Pass them as an
        argument of your jitted function, or they become constants of the program.
      num_steps: planned calls of `update`, at least 1.
      max_training_steps: if more are planned, gradients of several calls are averaged into one
        step. With a traced `num_steps` the buffers for that are always kept; None never averages.
      weight_decay: coupled, seen by the features; the authors suggest values around 1e-6.
      mix_scale: factor on the mixed per-parameter networks, 100 in the released weights.
      bugged_loss_features: the ten loss means are all equal, as the oldest checkpoints were
        trained.
      bugged_lstm_state: every step starts from the initial recurrent state, likewise.

    Raises:
      ValueError: weights of another optimizer, `num_steps` missing or below 1, a negative weight
        decay.

    References:
      Metz et al. 2022, arXiv:2211.09760.
    """
    check_weights(weights, "velo", num_inputs=30, has_step=True)
    num_steps = check_num_steps("velo", num_steps)
    if max_training_steps is not None and max_training_steps < 1:
        raise ValueError(f"`max_training_steps` needs to be at least 1; got {max_training_steps}.")
    num_calls = 1
    if max_training_steps is not None:
        num_calls = -(-num_steps // max_training_steps)
    inner_steps = num_steps // num_calls

    def init(params):
        tensors = [as_tensor(leaf) for leaf in jax.tree.leaves(params)]
        hidden, cell = initial_rows(weights.scheduler, len(tensors))
        steps = jnp.asarray(inner_steps, jnp.int32)
        return VeloState(
            count=jnp.zeros((), jnp.int32),
            num_steps=steps,
            loss_buffer=(
                init_degenerate_loss_buffer() if bugged_loss_features else init_loss_buffer(steps)
            ),
            hidden=hidden,
            cell=cell,
            multipliers=jnp.zeros(len(tensors), jnp.float32),
            accumulators=jax.tree.map(lambda leaf: init_accumulators(as_tensor(leaf)), params),
        )

    def update(updates, state, params=None, *, value=None, **extra_args):
        del extra_args
        check_inputs("velo", params, value)
        steps, new = _step(weights, mix_scale, updates, state, params, value)
        if bugged_lstm_state:
            new = new.replace(hidden=state.hidden, cell=state.cell)
        return steps, new

    transformation = optax.GradientTransformationExtraArgs(init, update)
    if isinstance(num_calls, jax.Array) or num_calls > 1:
        transformation = accumulate(transformation, num_calls)
    return with_weight_decay(transformation, weight_decay)


def _step(
    weights: LearnedWeights,
    mix_scale: float,
    updates: PyTree,
    state: VeloState,
    params: PyTree,
    value: Float[Array, ""],
) -> tuple[PyTree, VeloState]:
    """What is added to the parameters, and the new memory."""
    leaves, structure = jax.tree.flatten(params)
    tensors = [as_tensor(leaf) for leaf in leaves]
    gradients = [as_tensor(clip_gradient(g)) for g in structure.flatten_up_to(updates)]
    old = structure.flatten_up_to(state.accumulators)

    loss_buffer, loss_features = fold_loss(state.loss_buffer, value)
    progress = progress_embedding(state.count, state.num_steps)
    inputs = jnp.stack(
        [
            jnp.concatenate([progress, loss_features, tensor_features(p, a)])
            for p, a in zip(tensors, old, strict=True)
        ]
    )
    multipliers, mix, hidden, cell = run_scheduler(
        weights.scheduler, inputs, state.hidden, state.cell
    )
    networks = mix_bank(weights.step, mix, mix_scale)

    new = [update_accumulators(a, g) for a, g in zip(old, gradients, strict=True)]
    steps = []
    for row, (leaf, p, g, a) in enumerate(zip(leaves, tensors, gradients, new, strict=True)):
        network = jax.tree.map(lambda w, row=row: w[row], networks)
        step = learned_step(network, multipliers[row], p, parameter_features(p, g, a))
        steps.append(step.reshape(jnp.shape(leaf)).astype(jnp.result_type(leaf)))
    return structure.unflatten(steps), state.replace(
        count=state.count + 1,
        loss_buffer=loss_buffer,
        hidden=hidden,
        cell=cell,
        multipliers=multipliers,
        accumulators=structure.unflatten(new),
    )


def tensor_features(
    tensor: Float[Array, "*shape"], accumulators: Accumulators
) -> Float[Array, " feature"]:
    """Twelve scheduler inputs that describe one tensor: size and spread of its moments, its rank.

    Args:
      tensor: parameters before the step.
      accumulators: before this step's gradient.
    """
    positions = tuple(range(tensor.ndim))
    scale = jax.lax.rsqrt(jnp.maximum(1e-9, jnp.mean(tensor**2)))
    momentum, second_moment = scale * accumulators.momentum, scale * accumulators.second_moment
    center = jnp.mean(momentum, axis=positions)
    rank = sum(length > 1 for length in tensor.shape)
    return jnp.concatenate(
        [
            _squash(jnp.mean(second_moment, axis=positions)),
            jax.nn.one_hot(rank, NUM_RANKS, dtype=jnp.float32),
            _squash(jnp.mean((momentum - center) ** 2, axis=positions)),
            # Around the means of the momentum, hence three numbers from one channel.
            _squash(jnp.mean((second_moment - center) ** 2, axis=positions)),
        ]
    )


def _squash(size: Float[Array, " channel"]) -> Float[Array, " channel"]:
    return jnp.clip(jnp.log(1e-8 + 10.0 * jnp.abs(size)), -5.0, 5.0) / 2.0
