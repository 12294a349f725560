"""Rules as data: one compiled program follows any table.

The token ids are traced integers. Where a table is not batched (a loop over rules), each
`lax.switch` runs the one branch that is chosen; under `vmap` over tables it runs them all and
selects, in one fused pass. Moving averages belong to the weights: every token that reads `m` reads
the same one.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Integer, UInt32

from ganno_jax.rules import functions, language
from ganno_jax.rules.functions import RuleConfig, Signals


@struct.dataclass
class InterpreterState:
    """Memory of the interpreter for one flat vector of weights."""

    count: Int[Array, ""]
    seed: UInt32[Array, ""]
    m: Float[Array, " weight"]
    v: Float[Array, " weight"]
    gamma: Float[Array, " weight"]


class Needs(NamedTuple):
    """Which costly parts a table reads."""

    m: Bool[Array, ""]
    v: Bool[Array, ""]
    gamma: Bool[Array, ""]
    normal: Bool[Array, ""]
    uniform: Bool[Array, ""]


def needs(table: Int[Array | np.ndarray, "step 5"]) -> Needs:
    """Which costly parts the tokens of a table name, used by its value or not."""
    operands, unaries = table[:, :2], table[:, 2:4]

    def any_of(tokens, ids):
        return jnp.isin(tokens, np.array(sorted(ids))).any()

    return Needs(
        any_of(operands, language.USES_M),
        any_of(operands, language.USES_V),
        any_of(operands, language.USES_GAMMA),
        any_of(operands, language.NOISES),
        any_of(unaries, language.DROPS),
    )


def init(weights: Float[Array, " weight"], seed: Integer[Array, ""] | int = 0) -> InterpreterState:
    """The memory before the first step; `seed` fixes noise and dropout."""
    zeros = jnp.zeros_like(weights)
    return InterpreterState(jnp.int32(0), jnp.asarray(seed, jnp.uint32), zeros, zeros, zeros)


def step(
    table: Int[Array | np.ndarray, "step 5"],
    state: InterpreterState,
    gradient: Float[Array, " weight"],
    weights: Float[Array | np.ndarray, " weight"],
    total_steps: Float[Array, ""] | Int[Array, ""] | float | int,
    config: RuleConfig | None = None,
) -> tuple[InterpreterState, Float[Array, " weight"]]:
    """Follow a rule for one optimizer step of one training.

    Args:
      table: the rule; ids that their place does not allow are clamped.
      state: from `init` or the last step.
      gradient: of the loss.
      weights: at which the gradient was taken.
      total_steps: length of the training, for the decays.
      config: numbers behind the operands.

    Returns:
      The new memory and the direction `d` of `w <- w - rate * d`; where the rule leaves its domain
      the direction is not finite, which is for the caller to see.
    """
    config = RuleConfig() if config is None else config
    read, g = needs(table), gradient
    state = state.replace(
        m=_average(read.m, state.m, g, 1, config.decay_m),
        v=_average(read.v, state.v, g, 2, config.decay_v),
        gamma=_average(read.gamma, state.gamma, g, 3, config.decay_gamma),
    )
    corrections = [
        functions.bias_correction(decay, state.count + 1, config.debias)
        for decay in (config.decay_m, config.decay_v, config.decay_gamma)
    ]
    size, zeros = g.shape[0], jnp.zeros(g.shape, jnp.float32)
    signals = Signals(
        g=g,
        w=weights,
        m=state.m,
        v=state.v,
        gamma=state.gamma,
        normal=jax.lax.cond(
            read.normal,
            lambda: functions.draw_normal(state.seed, state.count, size),
            lambda: zeros,
        ),
        uniform=jax.lax.cond(
            read.uniform,
            lambda: functions.draw_uniform(state.seed, state.count, size),
            lambda: zeros,
        ),
        count=state.count,
        total_steps=total_steps,
        config=config,
    )
    direction = evaluate(table, signals, corrections)
    return state.replace(count=state.count + 1), direction


def _average(read, average, gradient, power: int, decay):
    def updated():
        value = gradient
        for _ in range(power - 1):
            value = value * gradient
        return functions.update_average(average, value, decay).astype(average.dtype)

    return jax.lax.cond(read, updated, lambda: average)


def evaluate(
    table: Int[Array | np.ndarray, "step 5"], signals: Signals, corrections=(1.0, 1.0, 1.0)
) -> Float[Array, " weight"]:
    """The value of a table's last row.

    Args:
      table: the rule, operand and function numbers in each row.
      signals: what operands stand for at this step, arrays `[weight]`.
      corrections: what m, v and gamma are divided by where they are read.
    """
    like = signals.g
    values: list[Array] = []

    def operand(index):
        def base(fn):
            corrected = signals.replace(
                m=signals.m / corrections[0],
                v=signals.v / corrections[1],
                gamma=signals.gamma / corrections[2],
            )
            return jnp.broadcast_to(fn(corrected), like.shape).astype(like.dtype)

        branches = [partial(base, fn) for fn in functions.OPERANDS]
        return jax.lax.switch(index, branches + [lambda value=value: value for value in values])

    def unary(index, x):
        branches = [
            lambda x, fn=fn: fn(x, signals.uniform).astype(x.dtype) for fn in functions.UNARIES
        ]
        return jax.lax.switch(index, branches, x)

    def binary(index, x, y):
        branches = [
            lambda x, y, fn=fn: fn(x, y, signals.config.delta).astype(x.dtype)
            for fn in functions.BINARIES
        ]
        return jax.lax.switch(index, branches, x, y)

    for row in range(table.shape[0]):
        operand1, operand2, unary1, unary2, which = (table[row, column] for column in range(5))
        left = unary(unary1, operand(operand1))
        right = unary(unary2, operand(operand2))
        values.append(binary(which, left, right))
    return values[-1]


def interpret(
    table: Int[Array | np.ndarray, "step 5"],
    *,
    total_steps: Float[Array, ""] | Int[Array, ""] | float | int,
    seed: Integer[Array, ""] | int = 0,
    config: RuleConfig | None = None,
) -> optax.GradientTransformation:
    """A rule that may be traced or batched, as an Optax transformation.

    Its updates are the direction `d` of `w <- w - rate * d`, not yet scaled and not negated. For a
    rule that is fixed while tracing, `compile` gives the same numbers at less cost.

    Args:
      table: the rule; any array of token ids, as from `parse`.
      total_steps: length of the training, for the decays.
      seed: fixes noise and dropout.
      config: numbers behind the operands.
    """
    table = jnp.asarray(table)

    def init_fn(params) -> Any:
        return init(ravel_pytree(params)[0], seed)

    def update_fn(updates, state, params=None):
        if params is None:
            raise ValueError("an interpreted rule needs `params`, as it may scale the weights.")
        gradient, unravel = ravel_pytree(updates)
        state, direction = step(
            table, state, gradient, ravel_pytree(params)[0], total_steps, config
        )
        return unravel(direction), state

    return optax.GradientTransformation(init_fn, update_fn)
