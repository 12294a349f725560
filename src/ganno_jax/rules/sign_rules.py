r"""PowerSign and AddSign as Optax transformations.

Both compare the sign of the gradient $g$ with the sign of its moving average $m$ and take larger
steps where the two agree. The internal decay $f(t)$ fades the comparison out: `linear_decay`,
`cosine_decay` and `restart_decay` give the published variants -ld, -cd and -rd.

References:
  Bello et al. 2017, arXiv:1709.07417; TensorFlow 1.x, `contrib/opt`, whose defaults are kept.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int, PyTree

from ganno_jax.rules.functions import update_average


@struct.dataclass
class SignState:
    """Steps taken, and the moving average of the gradient: the one slot per weight."""

    count: Int[Array, ""]
    m: PyTree


def scale_by_power_sign(
    base: float | Array = math.e,
    decay_m: float | Array = 0.9,
    decay_fn: optax.Schedule | None = None,
) -> optax.GradientTransformation:
    r"""$d = b^{f(t)\,\mathrm{sign}(g)\,\mathrm{sign}(m)}\, g$; $f = 1$ without `decay_fn`.

    Args:
      base: $b > 0$.
      decay_m: of the average $m$ of gradients, in [0, 1).
      decay_fn: $f$, from the count of updates to a factor in [0, 1]; None for 1.
    """
    return _scale_by_sign(lambda agreement: jnp.exp(jnp.log(base) * agreement), decay_m, decay_fn)


def scale_by_add_sign(
    alpha: float | Array = 1.0,
    decay_m: float | Array = 0.9,
    decay_fn: optax.Schedule | None = None,
) -> optax.GradientTransformation:
    r"""$d = (\alpha + f(t)\,\mathrm{sign}(g)\,\mathrm{sign}(m))\, g$; $f = 1$ without
    `decay_fn`.

    Args:
      alpha: $\alpha$.
      decay_m: of the average $m$ of gradients, in [0, 1).
      decay_fn: $f$, from the count of updates to a factor in [0, 1]; None for 1.
    """
    return _scale_by_sign(lambda agreement: alpha + agreement, decay_m, decay_fn)


def power_sign(
    learning_rate: optax.ScalarOrSchedule = 0.1,
    base: float | Array = math.e,
    decay_m: float | Array = 0.9,
    decay_fn: optax.Schedule | None = None,
) -> optax.GradientTransformation:
    """The PowerSign optimizer; `decay_fn=linear_decay(total_steps)` makes it PowerSign-ld.

    Args:
      learning_rate: a number, or a schedule of the count of updates.
      base: $b > 0$ of `scale_by_power_sign`.
      decay_m: of the average of gradients, in [0, 1).
      decay_fn: internal decay, from the count of updates to a factor in [0, 1]; None for 1.
    """
    return optax.chain(
        scale_by_power_sign(base, decay_m, decay_fn), optax.scale_by_learning_rate(learning_rate)
    )


def add_sign(
    learning_rate: optax.ScalarOrSchedule = 0.1,
    alpha: float | Array = 1.0,
    decay_m: float | Array = 0.9,
    decay_fn: optax.Schedule | None = None,
) -> optax.GradientTransformation:
    r"""The AddSign optimizer; `decay_fn=cosine_decay(total_steps)` makes it AddSign-cd.

    Args:
      learning_rate: a number, or a schedule of the count of updates.
      alpha: $\alpha$ of `scale_by_add_sign`.
      decay_m: of the average of gradients, in [0, 1).
      decay_fn: internal decay, from the count of updates to a factor in [0, 1]; None for 1.
    """
    return optax.chain(
        scale_by_add_sign(alpha, decay_m, decay_fn), optax.scale_by_learning_rate(learning_rate)
    )


def _scale_by_sign(
    factor_fn: Callable[[Array], Array],
    decay_m: float | Array,
    decay_fn: optax.Schedule | None,
) -> optax.GradientTransformation:
    def init_fn(params):
        return SignState(jnp.int32(0), jax.tree.map(jnp.zeros_like, params))

    def update_fn(updates, state, params=None):
        del params
        strength = 1.0 if decay_fn is None else decay_fn(state.count)
        m = jax.tree.map(
            lambda m, g: update_average(m, g, decay_m).astype(m.dtype), state.m, updates
        )
        scaled = jax.tree.map(
            lambda g, m: (factor_fn(strength * jnp.sign(g) * jnp.sign(m)) * g).astype(g.dtype),
            updates,
            m,
        )
        return scaled, SignState(state.count + 1, m)

    return optax.GradientTransformation(init_fn, update_fn)
