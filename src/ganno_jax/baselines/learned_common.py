"""Parts that VeLO, Celo and Celo-Adam share: loss features, progress, the recurrent scheduler."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from ganno_jax.baselines.weights import Linear, SchedulerWeights

GRADIENT_LIMIT = 1000.0
NUM_MEANS = 10


@struct.dataclass
class LossBuffer:
    """Ten exponential means of the training loss, fast to slow, and the lowest value of each."""

    means: Float[Array, " mean"]
    decays: Float[Array, " mean"]
    lowest: Float[Array, " mean"]
    count: Int[Array, ""]


def init_loss_buffer(horizon: Int[Array, ""]) -> LossBuffer:
    """An empty buffer; its time constants are log-spaced from 10 to `horizon` steps."""
    exponents = jnp.linspace(1.0, jnp.log10(jnp.asarray(horizon, jnp.float32)), NUM_MEANS)
    return LossBuffer(
        means=jnp.zeros(NUM_MEANS, jnp.float32),
        decays=jnp.exp(-1.0 / 10.0**exponents).astype(jnp.float32),
        lowest=jnp.full(NUM_MEANS, 1e12, jnp.float32),
        count=jnp.zeros((), jnp.int32),
    )


def init_degenerate_loss_buffer() -> LossBuffer:
    """A buffer of ten equal means, which an early bug in VeLO's training caused."""
    return init_loss_buffer(jnp.asarray(100)).replace(
        decays=jnp.full(NUM_MEANS, jnp.exp(-0.1), jnp.float32)
    )


def fold_loss(
    buffer: LossBuffer, loss: Float[Array, ""]
) -> tuple[LossBuffer, Float[Array, " feature"]]:
    r"""Add one loss and read the nine features of progress.

    With bias-corrected means $c_i$ and their minima $lo_i$:
    $f_i = \mathrm{clip}((c_i - lo_i) / \max(10^{-8}, c_{i+1} - lo_i) - 1,\ -1,\ 1)$, and 0 for the
    first two losses. From the second loss on, a loss counts as at most twice the largest mean.

    Returns:
      The new buffer and $f$, fast to slow, in [-1, 1]; -1 is a loss at its running minimum.

    References:
      Metz et al. 2022, arXiv:2211.09760.
    """
    loss = jnp.asarray(loss, jnp.float32)
    count = buffer.count + 1
    correction = 1.0 - buffer.decays**count
    limit = 2.0 * jnp.abs(jnp.max(buffer.means / correction))
    loss = jnp.where(buffer.count > 0, jnp.minimum(loss, limit), loss)
    means = buffer.decays * buffer.means + (1.0 - buffer.decays) * loss
    corrected = means / correction
    lowest = jnp.minimum(buffer.lowest, corrected)
    above = corrected[:-1] - lowest[:-1]
    features = jnp.clip(above / jnp.maximum(1e-8, corrected[1:] - lowest[:-1]) - 1.0, -1.0, 1.0)
    features = jnp.where(count <= 2, 0.0, features)
    return buffer.replace(means=means, lowest=lowest, count=count), features


def progress_embedding(
    count: Int[Array, ""], num_steps: Int[Array, ""]
) -> Float[Array, " feature"]:
    """Nine soft steps over the fraction of the planned updates that is done."""
    thresholds = jnp.asarray([0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1], jnp.float32)
    done = jnp.asarray(count, jnp.float32) / jnp.asarray(num_steps, jnp.float32)
    return jnp.tanh(10.0 * (done - thresholds))


def apply_linear(layer: Linear, inputs: Float[Array, "... input"]) -> Float[Array, "... output"]:
    """`x w + b` in full float32: the recurrent state carries every rounding on to later steps."""
    return jnp.matmul(inputs, layer.w, precision=jax.lax.Precision.HIGHEST) + layer.b


def run_scheduler(
    weights: SchedulerWeights,
    inputs: Float[Array, "tensor input"],
    hidden: Float[Array, "tensor state"],
    cell: Float[Array, "tensor state"],
) -> tuple[
    Float[Array, " tensor"],
    Float[Array, "tensor bank"] | None,
    Float[Array, "tensor state"],
    Float[Array, "tensor state"],
]:
    """One step of the recurrent network over all tensors, which see one another through a maximum.

    Args:
      weights: of the recurrent network.
      inputs: 18 features of each tensor for Celo and Celo-Adam, 30 for VeLO.
      hidden: after the last step; `initial_rows` before the first.
      cell: likewise.

    Returns:
      Raw step multipliers, mixing weights of the bank (None without one), new hidden state, new
      cell.
    """
    pooled = jnp.max(jax.nn.relu(apply_linear(weights.pooled, inputs)), axis=0, keepdims=True)
    mixed = apply_linear(weights.own, inputs) + pooled
    gates = apply_linear(weights.gates, jnp.concatenate([mixed, hidden], axis=-1))
    enter, candidate, forget, leave = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(forget + 1.0) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
    hidden = jax.nn.sigmoid(leave) * jnp.tanh(cell)
    mix = apply_linear(weights.mix, hidden) if weights.mix is not None else None
    return apply_linear(weights.step, hidden)[:, 0], mix, hidden, cell


def initial_rows(
    weights: SchedulerWeights, num_rows: int
) -> tuple[Float[Array, "tensor state"], Float[Array, "tensor state"]]:
    """The learned initial hidden and cell state, once per tensor."""
    shape = (num_rows, weights.hidden.shape[0])
    return jnp.broadcast_to(weights.hidden, shape), jnp.broadcast_to(weights.cell, shape)


def clip_gradient(gradient: Float[Array, "..."]) -> Float[Array, "..."]:
    """A gradient leaf in float32, entries limited to +-1000."""
    return jnp.clip(jnp.asarray(gradient, jnp.float32), -GRADIENT_LIMIT, GRADIENT_LIMIT)


def update_moment(
    moment: Float[Array, "..."], value: Float[Array, "..."], decay: float | Float[Array, "..."]
) -> Float[Array, "..."]:
    """Exponential mean without bias correction; `1 - decay` is formed in float32, as recorded.

    Args:
      moment: the mean so far.
      value: what is added to it, of a shape that broadcasts with it.
      decay: weight of the mean so far, in [0, 1); one number or one per channel of the last axis.
    """
    decay = jnp.asarray(decay, jnp.float32)
    return decay * moment + (1.0 - decay) * value


def check_num_steps(method: str, num_steps: Any) -> Any:
    """The planned number of updates, as an int where it is known; traced values pass unchecked."""
    if num_steps is None:
        raise ValueError(f"`{method}` needs `num_steps`, the planned number of updates; got None.")
    if isinstance(num_steps, jax.core.Tracer):
        return num_steps
    if np.ndim(num_steps) != 0 or not num_steps >= 1:
        raise ValueError(
            f"`{method}` needs `num_steps`, one number of at least 1; got {num_steps}."
        )
    return int(num_steps)


def check_inputs(method: str, params: PyTree | None, value: Any) -> None:
    """Raise unless an update came with parameters and the loss.

    Args:
      method: its name, for messages.
      params: what `update` was given.
      value: the loss that `update` was given; any number for a method that needs none.
    """
    if params is None:
        raise ValueError(f"`{method}` needs the parameters: `update(grads, state, params, ...)`.")
    if value is None:
        raise ValueError(
            f"`{method}` needs the training loss of this step: "
            "`update(grads, state, params, value=loss)`."
        )
