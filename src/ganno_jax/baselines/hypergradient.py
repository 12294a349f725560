"""Hypergradient descent: the learning rate is trained by its own gradient, one step late."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PyTree

Scalar = float | Float[Array, ""]
RateRule = Callable[
    [Float[Array, ""], Scalar, Float[Array, ""], Float[Array, ""]], Float[Array, ""]
]


@struct.dataclass
class HypergradientState:
    """The base optimizer's state, the learning rate, and what the last step was proportional to."""

    base: Any
    rate: Float[Array, ""]
    direction: PyTree


def additive(
    rate: Float[Array, ""], hyper_rate: Scalar, alignment: Float[Array, ""], size: Float[Array, ""]
) -> Float[Array, ""]:
    r"""$\alpha \leftarrow \alpha + \beta\,g_t \cdot d_{t-1}$, so $\beta$ has a scale.

    Args:
      rate: $\alpha$ of the last step.
      hyper_rate: $\beta \ge 0$, in units of a rate per inner product.
      alignment: $g_t \cdot d_{t-1}$.
      size: the product of their lengths; not used.
    """
    del size
    return rate + hyper_rate * alignment


def multiplicative(
    rate: Float[Array, ""], hyper_rate: Scalar, alignment: Float[Array, ""], size: Float[Array, ""]
) -> Float[Array, ""]:
    r"""$\alpha \leftarrow \alpha\,(1 + \beta \cos(g_t, d_{t-1}))$; blind to the scale of the loss.

    With $\beta < 1$ the rate stays positive.

    Args:
      rate: $\alpha$ of the last step.
      hyper_rate: $\beta \ge 0$, the largest relative change of the rate in one step.
      alignment: $g_t \cdot d_{t-1}$.
      size: the product of their lengths; where it is 0 the rate stays.
    """
    return rate * (1.0 + hyper_rate * jnp.where(size > 0, alignment / jnp.maximum(size, 1e-30), 0))


def hypergradient(
    base: optax.GradientTransformation,
    rate: Scalar,
    hyper_rate: Scalar,
    rule: RateRule = additive,
) -> optax.GradientTransformationExtraArgs:
    r"""Take steps $-\alpha_t d_t$ and move $\alpha$ against its own gradient.

    The step before was $-\alpha d_{t-1}$, so the slope of the loss in $\alpha$ is $-g_t \cdot
    d_{t-1}$. The base optimizer is given $g_t$ before the rate moves; the rate moves before the
    step. The first step uses `rate` as given. Nothing keeps an additive rate positive. One rate per
    layer: `optax.partition` with one of these per label.

    Args:
      base: gives the direction $d_t$ (to be subtracted), for example `optax.scale_by_adam()`. Its
        direction must not depend on the rate.
      rate: $\alpha_0$, may be traced or batched.
      hyper_rate: $\beta \ge 0$; 0 keeps the rate; may be traced or batched.
      rule: `additive`, or `multiplicative` for the variant normalized by the two lengths.

    References:
      Baydin et al. 2018, arXiv:1703.04782.
    """
    base = optax.with_extra_args_support(base)

    def init(params):
        return HypergradientState(
            base=base.init(params),
            rate=jnp.asarray(rate, jnp.float32),
            direction=jax.tree.map(jnp.zeros_like, params),
        )

    def update(updates, state, params=None, **extra_args):
        direction, base_state = base.update(updates, state.base, params, **extra_args)
        alignment = _dot(updates, state.direction)
        size = jnp.sqrt(_dot(updates, updates) * _dot(state.direction, state.direction))
        rate = rule(state.rate, hyper_rate, alignment, size)
        steps = jax.tree.map(lambda d: (-rate * d).astype(jnp.result_type(d)), direction)
        return steps, HypergradientState(base_state, rate, direction)

    return optax.GradientTransformationExtraArgs(init, update)


def hypergradient_sgd(
    rate: Scalar, hyper_rate: Scalar, rule: RateRule = additive
) -> optax.GradientTransformationExtraArgs:
    r"""SGD-HD: the direction is the gradient.

    Args:
      rate: $\alpha_0$, may be traced or batched.
      hyper_rate: $\beta \ge 0$; 0 keeps the rate.
      rule: `additive` or `multiplicative`.
    """
    return hypergradient(optax.identity(), rate, hyper_rate, rule)


def hypergradient_momentum(
    rate: Scalar,
    hyper_rate: Scalar,
    momentum: Scalar = 0.9,
    nesterov: bool = True,
    rule: RateRule = additive,
) -> optax.GradientTransformationExtraArgs:
    r"""SGDN-HD: momentum, in Nesterov's form as in the paper or heavy-ball.

    Args:
      rate: $\alpha_0$, may be traced or batched.
      hyper_rate: $\beta \ge 0$; 0 keeps the rate.
      momentum: decay of the sum of gradients, in [0, 1).
      nesterov: whether the gradient is looked ahead along that sum.
      rule: `additive` or `multiplicative`.
    """
    return hypergradient(optax.trace(momentum, nesterov), rate, hyper_rate, rule)


def hypergradient_adam(
    rate: Scalar, hyper_rate: Scalar, rule: RateRule = additive
) -> optax.GradientTransformationExtraArgs:
    r"""Adam-HD: the direction is Adam's, with Optax's default decays.

    Args:
      rate: $\alpha_0$, may be traced or batched.
      hyper_rate: $\beta \ge 0$; 0 keeps the rate.
      rule: `additive` or `multiplicative`.
    """
    return hypergradient(optax.scale_by_adam(), rate, hyper_rate, rule)


def _dot(left: PyTree, right: PyTree) -> Float[Array, ""]:
    """Inner product over all leaves, in float32."""
    products = jax.tree.map(
        lambda a, b: jnp.sum(jnp.asarray(a, jnp.float32) * jnp.asarray(b, jnp.float32)), left, right
    )
    return jax.tree.reduce(jnp.add, products, jnp.zeros((), jnp.float32))
