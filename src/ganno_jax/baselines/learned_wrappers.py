"""Around a learned optimizer: weight decay that it sees, and steps from several gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PyTree

from ganno_jax.baselines.learned_common import check_inputs


def with_weight_decay(
    inner: optax.GradientTransformationExtraArgs, weight_decay: float | Float[Array, ""]
) -> optax.GradientTransformationExtraArgs:
    """Weight decay before a learned optimizer: it sees the penalized loss and gradients.

    Adds `weight_decay * p` to gradients and `weight_decay * sum(p^2)` to the loss (sic: the
    gradient of that penalty would be twice as large), as VeLO's and Celo's own wrappers do. Numbers
    differ from AdamW's.
    """
    if isinstance(weight_decay, int | float):
        if weight_decay < 0:
            raise ValueError(f"`weight_decay` needs to be at least 0; got {weight_decay}.")
        if weight_decay == 0:
            return inner

    def update(updates, state, params=None, *, value=None, **extra_args):
        check_inputs("weight decay of a learned optimizer", params, value)
        penalty = sum(jnp.sum(jnp.asarray(p, jnp.float32) ** 2) for p in jax.tree.leaves(params))
        updates = jax.tree.map(
            lambda g, p: (g + weight_decay * p).astype(jnp.result_type(g)), updates, params
        )
        value = jnp.asarray(value, jnp.float32) + weight_decay * penalty
        return inner.update(updates, state, params, value=value, **extra_args)

    return optax.GradientTransformationExtraArgs(inner.init, update)


@struct.dataclass
class AccumulatorState:
    """Sums since the inner optimizer's last step."""

    inner: Any
    gradients: PyTree
    loss: Float[Array, ""]
    count: Int[Array, ""]
    num_calls: Int[Array, ""]


def accumulate(
    inner: optax.GradientTransformationExtraArgs, num_calls: int | Int[Array, ""]
) -> optax.GradientTransformationExtraArgs:
    """Pass the mean gradient and mean loss of `num_calls` calls on; parameters rest in between.

    Unlike `optax.MultiSteps` this averages the loss too. Under `vmap` every call costs an inner
    step.
    """

    def init(params):
        return AccumulatorState(
            inner=inner.init(params),
            gradients=jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), jnp.float32), params),
            loss=jnp.zeros((), jnp.float32),
            count=jnp.zeros((), jnp.int32),
            num_calls=jnp.asarray(num_calls, jnp.int32),
        )

    def update(updates, state, params=None, *, value=None, **extra_args):
        check_inputs("accumulation of a learned optimizer", params, value)
        gradients = jax.tree.map(
            lambda total, g: total + jnp.asarray(g, jnp.float32), state.gradients, updates
        )
        loss = state.loss + jnp.asarray(value, jnp.float32)
        count = state.count + 1

        def step():
            mean = jax.tree.map(lambda total: total / state.num_calls, gradients)
            steps, inner_state = inner.update(
                mean, state.inner, params, value=loss / state.num_calls, **extra_args
            )
            zeros = jax.tree.map(jnp.zeros_like, gradients)
            return steps, state.replace(
                inner=inner_state,
                gradients=zeros,
                loss=jnp.zeros_like(loss),
                count=jnp.zeros_like(count),
            )

        def rest():
            steps = jax.tree.map(jnp.zeros_like, params)
            return steps, state.replace(gradients=gradients, loss=loss, count=count)

        return jax.lax.cond(count >= state.num_calls, step, rest)

    return optax.GradientTransformationExtraArgs(init, update)
