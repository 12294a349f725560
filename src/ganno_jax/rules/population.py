"""Rules x learning rates x seeds trained by one compiled program, and the fitness of a rule."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, PyTree

from ganno_jax.platforms import platform
from ganno_jax.rules import interpreter
from ganno_jax.rules.functions import RuleConfig

MAPPINGS = ("auto", "map", "vmap")


def step_keys(key: PRNGKeyArray, num_steps: int) -> Key[Array, " step"]:
    """A key for each step of a training."""
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num_steps))


@struct.dataclass
class Child:
    """What the rules train: the inner problem as functions.

    All that differs between two trainings comes from their keys, so all rules and rates of a seed meet the same
    examples.
    """

    init_fn: Callable[[PRNGKeyArray], PyTree] = struct.field(pytree_node=False)
    """Key to initial parameters."""
    loss_fn: Callable[[PyTree, PyTree], Float[Array, ""]] = struct.field(pytree_node=False)
    """Parameters and what `draw_fn` drew for a step to the training loss."""
    score_fn: Callable[[PyTree, PRNGKeyArray], Float[Array, ""]] = struct.field(pytree_node=False)
    """Final parameters and the key of the training's data to the score, higher is better; at least 0 for a search."""
    draw_fn: Callable[[PRNGKeyArray, int], PyTree] = struct.field(
        pytree_node=False, default=step_keys
    )
    """Key of a training's data and its number of steps to what each step takes, `[step, ...]`; by default a key."""


@struct.dataclass
class RunState:
    """One inner training under a rule."""

    weights: Float[Array, " weight"]
    rule: interpreter.InterpreterState
    alive: Bool[Array, ""]


def train(
    child: Child,
    table: Int[Array | np.ndarray, "step 5"],
    rate: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    num_steps: int,
    config: RuleConfig | None = None,
) -> Float[Array, ""]:
    """Train one child with one rule, rate and seed.

    Args:
      child: the problem.
      table: the rule.
      rate: learning rate, > 0.
      key: of initial weights, data and the rule's draws.
      num_steps: of the training, >= 1.
      config: constants of the rule's functions; None for the default.

    Returns:
      Its score, or minus infinity where a weight or the score stopped being finite.
    """
    init_key, data_key, draw_key = jax.random.split(key, 3)
    weights, unravel = ravel_pytree(child.init_fn(init_key))
    seed = jax.random.bits(draw_key, dtype=jnp.uint32)

    def inner_step(state: RunState, drawn: PyTree):
        gradient = ravel_pytree(jax.grad(child.loss_fn)(unravel(state.weights), drawn))[0]
        rule, direction = interpreter.step(
            table, state.rule, gradient, state.weights, num_steps, config
        )
        weights = state.weights - rate * direction
        alive = state.alive & jnp.isfinite(weights).all()
        weights = jnp.where(alive, weights, state.weights)
        return RunState(weights, rule, alive), None

    start = RunState(weights, interpreter.init(weights, seed), jnp.bool_(True))
    state, _ = jax.lax.scan(inner_step, start, child.draw_fn(data_key, num_steps))
    score = child.score_fn(unravel(state.weights), data_key)
    return jnp.where(state.alive & jnp.isfinite(score), score, -jnp.inf)


def train_population(
    child: Child,
    tables: Int[Array | np.ndarray, "rule step 5"],
    rates: Float[Array | np.ndarray, " rate"] | Sequence[float],
    keys: Key[Array, " seed"],
    *,
    num_steps: int,
    mapping: str = "auto",
    config: RuleConfig | None = None,
) -> Float[Array, "rule rate seed"]:
    """Train every rule at every rate with every seed.

    Args:
      child: what is trained.
      tables: the rules, padded to one number of rows (`pad_table`).
      rates: learning rates.
      keys: one per seed; all rules and rates share initial weights, batches and draws of a seed.
      num_steps: inner steps, also $T$ of the decays.
      mapping: over the rules. "map" takes them one after another, so that only the functions a rule
        names are executed; "vmap" takes all at once and computes every function; "auto" is "map" on
        CPU, "vmap" elsewhere.
      config: numbers behind the operands.

    Returns:
      Scores; minus infinity for dead children.

    Raises:
      ValueError: `mapping` is none of the above.
    """
    if mapping not in MAPPINGS:
        raise ValueError(f"`mapping` is one of {', '.join(MAPPINGS)}; got {mapping!r}.")
    tables, rates = jnp.asarray(tables), jnp.asarray(rates)
    one = partial(train, child, num_steps=num_steps, config=config)
    over_seeds = jax.vmap(one, in_axes=(None, None, 0))
    over_rates = jax.vmap(over_seeds, in_axes=(None, 0, None))
    return _over_rules(lambda table: over_rates(table, rates, keys), mapping, tables)


def _over_rules(function: Callable[..., Array], mapping: str, *arguments: Array) -> Array:
    """A function of one rule, for all rules."""
    one_after_another = mapping == "map" or (mapping == "auto" and platform() == "cpu")
    if one_after_another:
        return jax.lax.map(lambda pack: function(*pack), arguments)
    return jax.vmap(function)(*arguments)


def sweep_population(
    child: Child,
    tables: Int[Array | np.ndarray, "rule step 5"],
    rates: Float[Array | np.ndarray, " rate"] | Sequence[float],
    keys: Key[Array, " seed"],
    *,
    sweep_steps: int,
    num_steps: int,
    mapping: str = "auto",
    config: RuleConfig | None = None,
) -> tuple[Float[Array, " rule"], Int[Array, " rule"]]:
    """Choose each rule's rate by short trainings at every rate, then train at that rate alone.

    The published protocol: one epoch at each of seven rates, then five epochs at the best. The two
    trainings share initial weights and draws; each takes its own length as $T$ of the decays.

    Args:
      child: what is trained.
      tables: the rules, padded to one number of rows (`pad_table`).
      rates: learning rates.
      keys: one per seed.
      sweep_steps: inner steps at every rate.
      num_steps: inner steps at the best rate.
      mapping: over the rules, as in `train_population`.
      config: numbers behind the operands.

    Returns:
      Mean score over seeds at the chosen rate (minus infinity if a seed is dead), and the index of
      that rate, the lowest of equals.

    References:
      Bello et al. 2017, arXiv:1709.07417; lengths from memory, unverified.
    """
    rates = jnp.asarray(rates)
    settings: dict[str, Any] = {"mapping": mapping, "config": config}
    first = train_population(child, tables, rates, keys, num_steps=sweep_steps, **settings)
    chosen = first.mean(axis=2).argmax(axis=1)
    over_seeds = jax.vmap(
        partial(train, child, num_steps=num_steps, config=config), in_axes=(None, None, 0)
    )
    scores = _over_rules(
        lambda table, rate: over_seeds(table, rate, keys),
        mapping,
        jnp.asarray(tables),
        rates[chosen],
    )
    return scores.mean(axis=1), chosen


def make_fitness(
    child: Child,
    rates: Float[Array | np.ndarray, " rate"] | Sequence[float],
    *,
    num_steps: int,
    num_seeds: int = 1,
    mapping: str = "auto",
    config: RuleConfig | None = None,
) -> Callable[[Int[Array, "rule step 5"], PRNGKeyArray], Float[Array, " rule"]]:
    """The fitness of a rule: its mean score over seeds at its best learning rate.

    Args:
      child: the problem; its score is the larger the better.
      rates: learning rates that are tried, > 0.
      num_steps: of each training, >= 1.
      num_seeds: trainings of each rule and rate, >= 1.
      mapping: how trainings are batched, as in `train_population`.
      config: constants of the rule's functions; None for the default.

    Returns:
      A jitted `fitness_fn(tables, key)`; minus infinity where every rate has a dead seed.
    """

    @jax.jit
    def fitness_fn(tables, key):
        scores = train_population(
            child,
            tables,
            rates,
            jax.random.split(key, num_seeds),
            num_steps=num_steps,
            mapping=mapping,
            config=config,
        )
        return scores.mean(axis=2).max(axis=1)

    return fitness_fn
