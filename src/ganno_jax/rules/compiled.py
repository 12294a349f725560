"""A fixed rule as a plain Optax transformation that does and keeps only what the rule names."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int, UInt32

from ganno_jax.rules import functions, language
from ganno_jax.rules.functions import RuleConfig, Signals
from ganno_jax.rules.named import RULES
from ganno_jax.rules.parsing import parse_tree, to_text
from ganno_jax.rules.trees import (
    Apply,
    Combine,
    Leaf,
    Tree,
    leaves,
    table_to_tree,
    tree_to_table,
    unaries,
)

Rule = Any
"""The name of a rule, its text, or its table."""


@struct.dataclass
class CompiledState:
    """Memory of a compiled rule: averages that the rule does not read are None."""

    count: Int[Array, ""]
    seed: UInt32[Array, ""]
    m: Any
    v: Any
    gamma: Any


def rule_tree(rule: Rule) -> Tree:
    """The expression of a name in `RULES`, a text or a table.

    Raises:
      ValueError: malformed, or more than four steps.
    """
    if isinstance(rule, str):
        name = rule.strip()
        if name.isidentifier() and name not in RULES and name.lower() not in language.OPERANDS:
            raise ValueError(
                f"no rule {name!r}; named rules are: {', '.join(RULES)}. A rule can also be a text, such as "
                "'g * exp(sign(g) * sign(m))'."
            )
        tree = parse_tree(RULES.get(name, rule))
    else:
        tree = table_to_tree(rule)
    tree_to_table(tree)
    return tree


def direction(
    rule: Rule,
    *,
    total_steps: float | int | Array | None = None,
    seed: int | Array = 0,
    config: RuleConfig | None = None,
) -> optax.GradientTransformation:
    """The direction of a rule as an Optax transformation.

    Its updates are `d` of `w <- w - rate * d`: not yet scaled, not negated, as from
    `optax.scale_by_adam`. Only the averages, draws and functions that the rule names are computed;
    a rule without averages keeps no slot.

    Args:
      rule: a name (`"power_sign"`), a text (`"g * exp(sign(g) * sign(m))"`) or a table.
      total_steps: length of the training; needed by rules with ld, cd or rd.
      seed: fixes noise and dropout; the draws of a step depend on seed and step alone.
      config: numbers behind the operands.

    Raises:
      ValueError: the rule is malformed, or it decays and `total_steps` is missing; in `update`, the rule scales the
        weights and `params` is missing.
    """
    config = RuleConfig() if config is None else config
    tree = rule_tree(rule)
    operands, functions_used = leaves(tree), unaries(tree)
    if operands & language.DECAYS and total_steps is None:
        raise ValueError(f"the rule {to_text(tree)!r} decays, so it needs `total_steps`; got None.")
    averages = _averages(operands, config)
    draws = {
        name: draw
        for name, needed, draw in (
            ("normal", operands & language.NOISES, functions.draw_normal),
            ("uniform", functions_used & language.DROPS, functions.draw_uniform),
        )
        if needed
    }

    def init_fn(params):
        slots = {name: jax.tree.map(jnp.zeros_like, params) for name in averages}
        empty = dict.fromkeys(("m", "v", "gamma"))
        return CompiledState(
            count=jnp.int32(0), seed=jnp.asarray(seed, jnp.uint32), **(empty | slots)
        )

    def update_fn(updates, state, params=None):
        if operands & language.WEIGHTS and params is None:
            raise ValueError(f"the rule {to_text(tree)!r} scales the weights: `params` is needed.")
        slots, corrected = {}, {}
        for name, (power, decay) in averages.items():
            slots[name] = _averaged(getattr(state, name), updates, power, decay)
            correction = functions.bias_correction(decay, state.count + 1, config.debias)
            corrected[name] = jax.tree.map(lambda a, c=correction: a / c, slots[name])
        grads, treedef = jax.tree.flatten(updates)
        columns = {name: treedef.flatten_up_to(value) for name, value in corrected.items()}
        columns["w"] = None if params is None else treedef.flatten_up_to(params)
        for name, draw in draws.items():
            columns[name] = _split(draw(state.seed, state.count, sum(g.size for g in grads)), grads)
        new = []
        for index, g in enumerate(grads):
            parts = {
                name: None if column is None else column[index] for name, column in columns.items()
            }
            parts = dict.fromkeys(("w", "m", "v", "gamma", "normal", "uniform")) | parts
            signals = Signals(
                g=g, count=state.count, total_steps=total_steps, config=config, **parts
            )
            value = _evaluate(tree, signals, {})
            new.append(jnp.broadcast_to(value, g.shape).astype(g.dtype))
        return treedef.unflatten(new), state.replace(count=state.count + 1, **slots)

    return optax.GradientTransformation(init_fn, update_fn)


compile = direction
"""`direction` by its usual name: `ganno_jax.rules.compile("g * exp(sign(g) * sign(m))")`."""


def optimizer(
    rule: Rule,
    learning_rate: optax.ScalarOrSchedule,
    *,
    total_steps: float | int | Array | None = None,
    seed: int | Array = 0,
    config: RuleConfig | None = None,
) -> optax.GradientTransformation:
    """A rule as a ready optimizer: `direction` times minus the learning rate.

    Args:
      rule: what a step is made of.
      learning_rate: a number, or a schedule of the count of updates.
      total_steps: of the training; needed by a rule that names a decay.
      seed: of the rule's random numbers.
      config: constants of the rule's functions; None for the default.
    """
    return optax.chain(
        direction(rule, total_steps=total_steps, seed=seed, config=config),
        optax.scale_by_learning_rate(learning_rate),
    )


def _averages(operands: set[str], config: RuleConfig) -> dict[str, tuple[int, float | Array]]:
    """Power and decay of each average of gradients that these operands read."""
    return {
        name: (power, decay)
        for name, users, power, decay in (
            ("m", language.USES_M, 1, config.decay_m),
            ("v", language.USES_V, 2, config.decay_v),
            ("gamma", language.USES_GAMMA, 3, config.decay_gamma),
        )
        if operands & users
    }


def _averaged(averages: Any, updates: Any, power: int, decay: float | Array) -> Any:
    """The averages of this power of the gradients, one step on, leaf by leaf."""
    return jax.tree.map(
        lambda average, g: functions.update_average(average, g**power, decay).astype(average.dtype),
        averages,
        updates,
    )


def _split(flat: Array, grads: list[Array]) -> list[Array]:
    """Cut a vector into the shapes of the leaves, in their order."""
    ends, start = [], 0
    for g in grads:
        ends.append(flat[start : start + g.size].reshape(g.shape))
        start += g.size
    return ends


def _evaluate(tree: Tree, signals: Signals, known: dict[Tree, Array]) -> Array:
    """The value of an expression while tracing; equal sub-expressions are computed once."""
    if tree not in known:
        match tree:
            case Leaf(operand):
                value = functions.OPERANDS[operand](signals)
            case Apply(unary, of):
                x = _evaluate(of, signals, known)
                value = functions.UNARIES[unary](x, signals.uniform)
            case Combine(binary, left, right):
                x, y = _evaluate(left, signals, known), _evaluate(right, signals, known)
                value = functions.BINARIES[binary](x, y, signals.config.delta)
        known[tree] = value
    return known[tree]
