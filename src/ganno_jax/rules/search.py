"""The search: propose rules, evaluate those not seen before, learn, remember.

Proposals and learning are jitted; between them the host looks every rule up by its fingerprint, so
that a rule is evaluated once however it is written. A search is a pytree, `RuleSearchState`, and its
randomness a function of key and update number: a resumed search goes on as if it had not stopped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from ganno_jax.rules.canonical import canonical_table, canonical_text, fingerprints
from ganno_jax.rules.language import ROW
from ganno_jax.rules.methods import RuleMethod

FitnessFn = Callable[[Int[Array, "rule step 5"], PRNGKeyArray], Float[Array, " rule"]]
"""Tables and a key to fitness: at least 0, higher is better, not finite for a dead rule."""


@struct.dataclass
class Archive:
    """Every rule that was evaluated, in that order, on the host."""

    hashes: UInt32[Array | np.ndarray, "capacity 2"]
    tables: Int[Array | np.ndarray, "capacity step 5"]
    fitness: Float[Array | np.ndarray, " capacity"]
    size: int | Array | np.ndarray


@struct.dataclass
class RuleSearchState:
    """All that a search is, between two updates."""

    method: Any
    archive: Archive
    num_updates: int | Array | np.ndarray
    num_proposed: int | Array | np.ndarray
    num_cached: int | Array | np.ndarray
    """Proposals whose fitness was known already."""
    num_hopeless: int | Array | np.ndarray
    """Proposals that left their domain on the probe or ignored the gradient: reward 0, free."""


def init(method: RuleMethod, budget: int, key: PRNGKeyArray) -> RuleSearchState:
    """A search that has not begun.

    Args:
      method: proposes rules and learns.
      budget: evaluations it may spend, >= 1.
      key: of the method's first state.

    Raises:
      ValueError: the budget is below 1.
    """
    if budget < 1:
        raise ValueError(f"a search needs a budget of at least 1 evaluation; got {budget}.")
    capacity = budget + method.batch_size
    archive = Archive(
        hashes=np.zeros((capacity, 2), np.uint32),
        tables=np.zeros((capacity, method.num_steps, ROW), np.int32),
        fitness=np.zeros(capacity, np.float32),
        size=0,
    )
    return RuleSearchState(method.init(jax.random.fold_in(key, 0)), archive, 0, 0, 0, 0)


@jax.jit
def _propose(method, state, key):
    return method.propose(state, key)


@jax.jit
def _learn(method, state, tables, rewards):
    return method.learn(state, tables, rewards)


def update(
    method: RuleMethod,
    state: RuleSearchState,
    fitness_fn: FitnessFn,
    key: PRNGKeyArray,
    *,
    chunk_size: int | None = None,
) -> tuple[RuleSearchState, dict[str, float]]:
    """One batch: propose, evaluate what is new, learn from all.

    Args:
      method: from `methods.py`.
      state: from `init` or the last update; its archive must have room for a batch.
      fitness_fn: evaluates `chunk_size` canonical tables at a time, always with the same key.
      key: of the whole search, the same in every update.
      chunk_size: by default the batch size; smaller wastes less where most proposals are known.

    Returns:
      The new state; metrics of the batch.

    Raises:
      ValueError: a finite fitness below 0 (dead rules earn 0, so no living one may earn less), or
        the archive is full.
    """
    archive = state.archive
    if archive.size + method.batch_size > archive.fitness.shape[0]:
        raise ValueError(f"the search's archive is full: {archive.size} evaluations.")
    step_key = jax.random.fold_in(jax.random.fold_in(key, 1), state.num_updates)
    tables = _propose(method, state.method, step_key)
    canonical = np.stack([canonical_table(table) for table in np.asarray(tables)])
    prints = fingerprints(canonical)
    hopeful = prints.finite & prints.learns
    known = find(archive, prints.hashes)
    fresh, seen = [], set()
    for index in np.flatnonzero(hopeful & (known < 0)).tolist():
        name = prints.hashes[index].tobytes()
        if name not in seen:
            seen.add(name)
            fresh.append(index)
    if fresh:
        values = evaluate(
            fitness_fn,
            canonical[fresh],
            jax.random.fold_in(key, 2),
            chunk_size=chunk_size or method.batch_size,
        )
        archive = remember(archive, prints.hashes[fresh], canonical[fresh], values)
    places = find(archive, prints.hashes)
    fitness = np.where(hopeful, archive.fitness[places], -np.inf)
    rewards = np.where(np.isfinite(fitness), fitness, 0.0).astype(np.float32)
    method_state, metrics = _learn(method, state.method, tables, jnp.asarray(rewards))
    num_hopeless = int((~hopeful).sum())
    state = RuleSearchState(
        method=method_state,
        archive=archive,
        num_updates=state.num_updates + 1,
        num_proposed=state.num_proposed + len(rewards),
        num_cached=state.num_cached + len(rewards) - len(fresh) - num_hopeless,
        num_hopeless=state.num_hopeless + num_hopeless,
    )
    of_batch = {"reward_mean": float(rewards.mean()), "reward_max": float(rewards.max())}
    return state, of_batch | {name: float(value) for name, value in metrics.items()}


def evaluate(
    fitness_fn: FitnessFn,
    tables: Int[np.ndarray, "rule step 5"],
    key: PRNGKeyArray,
    *,
    chunk_size: int,
) -> Float[np.ndarray, " rule"]:
    """Fitness of any number of rules by calls of one size, the last one filled up with its last
    rule.

    Args:
      fitness_fn: from tables and a key to a fitness of each, >= 0 or not finite.
      tables: the rules, at least one.
      key: the same for all calls, so that rules are compared on the same trainings.
      chunk_size: rules in a call, >= 1.

    Returns:
      Minus infinity for a fitness that is not finite.

    Raises:
      ValueError: a finite fitness below 0.
    """
    values = []
    for start in range(0, len(tables), chunk_size):
        chunk = tables[start : start + chunk_size]
        filled = np.concatenate([chunk, np.repeat(chunk[-1:], chunk_size - len(chunk), axis=0)])
        values.append(np.asarray(fitness_fn(jnp.asarray(filled), key))[: len(chunk)])
    fitness = np.concatenate(values)
    if (np.isfinite(fitness) & (fitness < 0)).any():
        raise ValueError(
            f"fitness must be at least 0, as dead rules earn 0; got {np.nanmin(fitness):g}."
        )
    return np.where(np.isfinite(fitness), fitness, -np.inf).astype(np.float32)


def find(archive: Archive, hashes: UInt32[np.ndarray, "rule 2"]) -> Int[np.ndarray, " rule"]:
    """The place of each rule in the archive, -1 where it is not there."""
    equal = (archive.hashes[None, : archive.size] == hashes[:, None]).all(axis=-1)
    if not archive.size:
        return np.full(len(hashes), -1)
    return np.where(equal.any(axis=1), equal.argmax(axis=1), -1)


def remember(archive: Archive, hashes, tables, fitness) -> Archive:
    """The archive with evaluated rules added at its end.

    Args:
      archive: with room for them.
      hashes: of the rules, `[rule, 2]`.
      tables: the rules, `[rule, step, 5]`.
      fitness: of each, `[rule]`.
    """
    places = slice(archive.size, archive.size + len(fitness))
    new = {name: np.array(getattr(archive, name)) for name in ("hashes", "tables", "fitness")}
    new["hashes"][places], new["tables"][places], new["fitness"][places] = hashes, tables, fitness
    return Archive(size=archive.size + len(fitness), **new)


def run(
    method: RuleMethod,
    fitness_fn: FitnessFn,
    key: PRNGKeyArray,
    *,
    budget: int,
    state: RuleSearchState | None = None,
    max_updates: int | None = None,
    chunk_size: int | None = None,
    on_update: Callable[[RuleSearchState, dict[str, float]], None] | None = None,
) -> RuleSearchState:
    """Search until `budget` distinct rules are evaluated.

    Args:
      method: from `methods.py`.
      fitness_fn: see `FitnessFn`.
      key: of the search.
      budget: evaluations; methods given the same one can be compared (`best_so_far`,
        `leaderboard`).
      state: go on from here.
      max_updates: stop after so many updates in all, as a method that repeats itself may never
        spend its budget; by default ten times as many as a method without repetition needs.
      chunk_size: see `update`.
      on_update: is told of the state and the metrics after each update.
    """
    state = init(method, budget, key) if state is None else state
    most = 10 * -(-budget // method.batch_size) if max_updates is None else max_updates
    advance = partial(update, method, fitness_fn=fitness_fn, key=key, chunk_size=chunk_size)
    while state.archive.size < budget and state.num_updates < most:
        state, metrics = advance(state)
        if on_update is not None:
            on_update(state, metrics)
    return state


def best_so_far(
    state: RuleSearchState, budget: int | None = None
) -> Float[np.ndarray, " evaluation"]:
    """The best fitness after each evaluation, dead rules as 0, up to the budget."""
    size = min(state.archive.size, budget or state.archive.size)
    return np.maximum.accumulate(np.maximum(state.archive.fitness[:size], 0.0))


def leaderboard(
    state: RuleSearchState, top: int = 10, budget: int | None = None
) -> list[dict[str, Any]]:
    """The best living rules among the first `budget` evaluations, one record each, best first.

    Records hold `rank` (from 1), `rule` (text), `fitness`, `evaluation` (which one it was, from 0)
    and `table`.

    Args:
      state: of the search.
      top: how many rules at most.
      budget: evaluations that count, from the first on; None for all.
    """
    size = min(state.archive.size, budget or state.archive.size)
    fitness = state.archive.fitness[:size]
    order = [place for place in np.argsort(-fitness, kind="stable") if np.isfinite(fitness[place])]
    return [
        {
            "rank": rank,
            "rule": canonical_text(state.archive.tables[place]),
            "fitness": float(fitness[place]),
            "evaluation": int(place),
            "table": state.archive.tables[place].tolist(),
        }
        for rank, place in enumerate(order[:top], start=1)
    ]
