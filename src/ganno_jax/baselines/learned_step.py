"""The learned per-parameter step of VeLO and Celo: moments, thirty features, a small network."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Float

from ganno_jax.baselines.learned_common import update_moment
from ganno_jax.baselines.weights import StepBank

MOMENTUM_DECAYS = (0.9, 0.99, 0.999)
SECOND_MOMENT_DECAY = 0.999
FACTORED_DECAYS = (0.9, 0.99, 0.999)


@struct.dataclass
class Accumulators:
    """Running moments of one tensor's gradient; a trailing axis holds one channel per decay.

    A tensor with two axes or more has `row` and `column`, its squared gradient averaged over the
    longest and the second longest axis; a vector has `diagonal`. The others are None. Scalars count
    as vectors of one.
    """

    momentum: Float[Array, "*shape decay"]
    second_moment: Float[Array, "*shape 1"]
    row: Float[Array, "*reduced decay"] | None
    column: Float[Array, "*reduced decay"] | None
    diagonal: Float[Array, "size decay"] | None


def as_tensor(leaf: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A leaf in float32, a scalar as a vector of one."""
    leaf = jnp.asarray(leaf, jnp.float32)
    return leaf.reshape(1) if leaf.ndim == 0 else leaf


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """The longest axis and the second longest; of equally long ones the last counts as longer."""
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return order[-1], order[-2]


def init_accumulators(tensor: Float[Array, "*shape"]) -> Accumulators:
    """Zero moments for a tensor with at least one axis."""
    shape = tensor.shape
    channels = (len(FACTORED_DECAYS),)
    row = column = diagonal = None
    if tensor.ndim >= 2:
        longest, second = factored_axes(shape)
        row = jnp.zeros((*shape[:longest], *shape[longest + 1 :], *channels), jnp.float32)
        column = jnp.zeros((*shape[:second], *shape[second + 1 :], *channels), jnp.float32)
    else:
        diagonal = jnp.zeros((*shape, *channels), jnp.float32)
    return Accumulators(
        momentum=jnp.zeros((*shape, len(MOMENTUM_DECAYS)), jnp.float32),
        second_moment=jnp.zeros((*shape, 1), jnp.float32),
        row=row,
        column=column,
        diagonal=diagonal,
    )


def update_accumulators(
    accumulators: Accumulators, gradient: Float[Array, "*shape"]
) -> Accumulators:
    """Fold one clipped gradient into every moment."""
    gradient = gradient[..., None]
    squared = gradient**2
    factored_decays = jnp.asarray(FACTORED_DECAYS, jnp.float32)
    row = column = diagonal = None
    if accumulators.row is not None and accumulators.column is not None:
        longest, second = factored_axes(gradient.shape[:-1])
        guarded = squared + 1e-30
        row = update_moment(accumulators.row, jnp.mean(guarded, axis=longest), factored_decays)
        column = update_moment(accumulators.column, jnp.mean(guarded, axis=second), factored_decays)
    else:
        diagonal = update_moment(accumulators.diagonal, squared + 1e-30, factored_decays)
    return Accumulators(
        momentum=update_moment(
            accumulators.momentum, gradient, jnp.asarray(MOMENTUM_DECAYS, jnp.float32)
        ),
        second_moment=update_moment(accumulators.second_moment, squared, SECOND_MOMENT_DECAY),
        row=row,
        column=column,
        diagonal=diagonal,
    )


def parameter_features(
    tensor: Float[Array, "*shape"], gradient: Float[Array, "*shape"], accumulators: Accumulators
) -> Float[Array, "*shape feature"]:
    """Thirty features of every parameter, each scaled to unit mean square over its tensor.

    Args:
      tensor: parameters before the step.
      gradient: clipped.
      accumulators: after this gradient.

    References:
      Metz et al. 2022, arXiv:2211.09760.
    """
    gradient = gradient[..., None]
    momentum, second_moment = accumulators.momentum, accumulators.second_moment
    inverse_rms = lax.rsqrt(second_moment + 1e-6)
    if accumulators.row is not None and accumulators.column is not None:
        longest, second = factored_axes(tensor.shape)
        mean_axis = second - 1 if second > longest else second
        mean_row = jnp.mean(accumulators.row, axis=mean_axis, keepdims=True)
        row_factor = lax.rsqrt(jnp.maximum(1e-9, accumulators.row / (mean_row + 1e-9)))
        column_factor = lax.rsqrt(jnp.maximum(1e-9, accumulators.column))
        factor = jnp.expand_dims(row_factor, longest) * jnp.expand_dims(column_factor, second)
        factored_gradient, factored_momentum = gradient * factor, momentum * factor
        row = jnp.expand_dims(accumulators.row, longest)
        column = jnp.expand_dims(accumulators.column, second)
        moments = [row, column, lax.rsqrt(row + 1e-8), lax.rsqrt(column + 1e-8)]
    else:
        diagonal = accumulators.diagonal
        assert diagonal is not None
        factored_gradient = gradient * lax.rsqrt(jnp.maximum(1e-9, diagonal + 1e-9))
        factored_momentum = momentum * lax.rsqrt(diagonal)
        moments = [diagonal] * 2 + [lax.rsqrt(diagonal + 1e-8)] * 2
    groups = [
        gradient,
        jnp.clip(gradient, -0.1, 0.1),
        tensor[..., None],
        momentum,
        second_moment,
        momentum * inverse_rms,
        inverse_rms,
        factored_gradient,
        gradient * inverse_rms,
        *moments,
        factored_momentum,
    ]
    features = jnp.concatenate(
        [jnp.broadcast_to(group, (*tensor.shape, group.shape[-1])) for group in groups], axis=-1
    )
    mean_square = jnp.mean(features**2, axis=tuple(range(tensor.ndim)), keepdims=True)
    return features * lax.rsqrt(1e-5 + mean_square)


def mix_bank(bank: StepBank, mix: Float[Array, "tensor bank"], scale: float) -> StepBank:
    """One network per tensor: `scale` times the mean over the bank, weighted by `mix`.

    Args:
      bank: of small networks.
      mix: raw weights, of either sign; they are not normalized.
      scale: factor on the mean.

    Returns:
      The bank's leaves with an axis of tensors in place of that of networks.
    """

    def mixed(weights: Float[Array, "bank ..."]) -> Float[Array, "tensor ..."]:
        return (scale / mix.shape[-1]) * jnp.tensordot(
            mix, weights, axes=1, precision=lax.Precision.HIGHEST
        )

    return jax.tree.map(mixed, bank)


def learned_step(
    network: StepBank,
    multiplier: Float[Array, ""],
    tensor: Float[Array, "*shape"],
    features: Float[Array, "*shape feature"],
) -> Float[Array, "*shape"]:
    r"""What to add to a tensor: $-0.001\,s\,o_0\,e^{0.001 o_1}\,\mathrm{rms}(p)$.

    Args:
      network: weights of one tensor, without bank axis.
      multiplier: $s$ of the scheduler.
      tensor: $p$, before the step.
      features: input of the network, whose outputs are $o$.
    """

    def dense(inputs, w, b):
        return jnp.matmul(inputs, w, precision=lax.Precision.HIGHEST) + b

    outputs = jax.nn.relu(dense(features, network.w0, network.b0))
    outputs = jax.nn.relu(dense(outputs, network.w1, network.b1))
    outputs = dense(outputs, network.w2, network.b2)
    size = jnp.sqrt(jnp.mean(tensor**2) + 1e-9)
    return -0.001 * multiplier * outputs[..., 0] * jnp.exp(0.001 * outputs[..., 1]) * size
