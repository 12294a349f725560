"""What the tokens mean: one function each, shared by the interpreter and compiled rules."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, UInt32

from ganno_jax.rules import language
from ganno_jax.rules.decays import cosine_factor, linear_factor, restart_factor


@struct.dataclass
class RuleConfig:
    """Numbers behind the operands; all but `debias` are leaves, so they can be batched."""

    decay_m: float | Array = 0.9
    decay_v: float | Array = 0.999
    decay_gamma: float | Array = 0.999
    delta: float | Array = 1e-8
    """Added to divisors, and to the roots under Adam and RMSProp."""
    noise_std: float | Array = 0.01
    annealed_variance: float | Array = 1.0
    annealed_power: float | Array = 0.55
    cosine_periods: float | Array = 0.5
    restart_periods: float | Array = 2.0
    """With one period `rd` never restarts, and is `cd` of half a period."""
    debias: bool = struct.field(pytree_node=False, default=True)
    """Divide the moving averages by `1 - decay ** step`."""


@struct.dataclass
class Signals:
    """What a rule sees of an array of weights at one step; parts that it does not use may be
    None."""

    g: Any
    w: Any
    m: Any
    v: Any
    gamma: Any
    normal: Any
    """One standard normal draw per weight and step, shared by `noise` and `annealed_noise`."""
    uniform: Any
    """One draw in [0, 1) per weight and step, shared by all dropouts."""
    count: Int[Array, ""]
    """Steps already taken."""
    total_steps: Any
    config: RuleConfig


def _scaled_weight(scale: float) -> Callable[[Signals], Array]:
    return lambda s: scale * s.w


OPERAND_FNS: dict[str, Callable[[Signals], Array]] = {
    "g": lambda s: s.g,
    "g^2": lambda s: s.g * s.g,
    "g^3": lambda s: s.g * s.g * s.g,
    "m": lambda s: s.m,
    "v": lambda s: s.v,
    "gamma": lambda s: s.gamma,
    "sign(g)": lambda s: jnp.sign(s.g),
    "sign(m)": lambda s: jnp.sign(s.m),
    "1": lambda s: jnp.float32(1.0),
    "2": lambda s: jnp.float32(2.0),
    "noise": lambda s: s.config.noise_std * s.normal,
    "annealed_noise": lambda s: (
        s.normal * jnp.sqrt(s.config.annealed_variance / (1.0 + s.count) ** s.config.annealed_power)
    ),
    "adam": lambda s: s.m / (jnp.sqrt(s.v) + s.config.delta),
    "rmsprop": lambda s: s.g / (jnp.sqrt(s.v) + s.config.delta),
    "ld": lambda s: linear_factor(s.count, s.total_steps),
    "cd": lambda s: cosine_factor(s.count, s.total_steps, s.config.cosine_periods),
    "rd": lambda s: restart_factor(s.count, s.total_steps, s.config.restart_periods),
} | {f"1e-{k} w": _scaled_weight(10.0**-k) for k in range(1, 7)}
"""The value of each operand, a number or one per weight."""


def _clip(bound: float):
    return lambda x, uniform: jnp.clip(x, -bound, bound)


def _drop(rate: float):
    return lambda x, uniform: jnp.where(uniform >= rate, x / (1.0 - rate), 0.0)


UNARY_FNS: dict[str, Callable[[Array, Any], Array]] = {
    "x": lambda x, uniform: x,
    "-x": lambda x, uniform: -x,
    "exp": lambda x, uniform: jnp.exp(x),
    "log": lambda x, uniform: jnp.log(jnp.abs(x)),
    "sqrt": lambda x, uniform: jnp.sqrt(jnp.abs(x)),
    "clip(x, 1e-5)": _clip(1e-5),
    "clip(x, 1e-4)": _clip(1e-4),
    "clip(x, 1e-3)": _clip(1e-3),
    "drop(x, 0.1)": _drop(0.1),
    "drop(x, 0.3)": _drop(0.3),
    "drop(x, 0.5)": _drop(0.5),
    "sign": lambda x, uniform: jnp.sign(x),
}
"""Each unary function, of `x` and the uniform draws of the step."""

BINARY_FNS: dict[str, Callable[[Array, Array, Any], Array]] = {
    "+": lambda x, y, delta: x + y,
    "-": lambda x, y, delta: x - y,
    "*": lambda x, y, delta: x * y,
    "/": lambda x, y, delta: x / (y + delta),
    "^": lambda x, y, delta: jnp.power(x, y),
    "keep": lambda x, y, delta: x,
}
"""Each binary function, of both sides and `RuleConfig.delta`; `^` of a negative base is NaN."""

OPERANDS = tuple(OPERAND_FNS[name] for name in language.OPERANDS)
UNARIES = tuple(UNARY_FNS[name] for name in language.UNARIES)
BINARIES = tuple(BINARY_FNS[name] for name in language.BINARIES)


def update_average(average: Array, value: Array, decay: float | Array) -> Array:
    r"""$\bar x \leftarrow \beta \bar x + (1 - \beta) x$.

    Args:
      average: $\bar x$ so far.
      value: $x$, of the same shape.
      decay: $\beta$ in [0, 1).
    """
    return decay * average + (1.0 - decay) * value


def bias_correction(
    decay: float | Array, count: Int[Array, ""], debias: bool
) -> Float[Array, ""] | float:
    r"""What an average is divided by after `count` updates: $1 - \beta^t$, or 1 for none.

    Args:
      decay: $\beta$ in [0, 1).
      count: $t \ge 1$, updates of the average.
      debias: whether the average is corrected for its start at zero.
    """
    return 1.0 - jnp.asarray(decay, jnp.float32) ** count if debias else 1.0


def draw_normal(seed: UInt32[Array, ""], count: Int[Array, ""], size: int) -> Float[Array, " size"]:
    """The Gaussian draws of a step, a function of seed and step.

    Args:
      seed: of the training.
      count: the step.
      size: how many numbers.
    """
    return jax.random.normal(_step_key(seed, count, 0), (size,))


def draw_uniform(
    seed: UInt32[Array, ""], count: Int[Array, ""], size: int
) -> Float[Array, " size"]:
    """The uniform draws of a step, a function of seed and step.

    Args:
      seed: of the training.
      count: the step.
      size: how many numbers.
    """
    return jax.random.uniform(_step_key(seed, count, 1), (size,))


def _step_key(seed, count, which: int):
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), count), which)
