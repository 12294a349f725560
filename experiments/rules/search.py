"""Search of update rules: its streams and budgets, going on with one, and the leaderboard of what was found."""

import math
import time
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from experiments.configs.rules import RuleSearchConfig, RuleSearchExperiment, learned_settings
from experiments.rules.build import Judge, method_of
from experiments.runs.folder import RunFolder
from experiments.runs.progress import Bar, say
from experiments.runs.saved import require_finite
from experiments.runs.session import Session
from experiments.runs.signals import StopRequest
from experiments.runs.streams import stream
from ganno_jax import rules
from ganno_jax.rules import search

States = dict[str, Any]  # by name: "search" and, where there is one, "control"


def key_of(config: RuleSearchConfig, name: str) -> PRNGKeyArray:
    """Of one of the searches."""
    return stream(config.seed, name)


def fitness_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key that `search.update` gives to the fitness."""
    return jax.random.fold_in(key, 2)


def names_of(config: RuleSearchConfig) -> tuple[str, ...]:
    """Of the searches of a run."""
    return ("search", "control") if control_budget(config) else ("search",)


def control_budget(config: RuleSearchConfig) -> int:
    """Rules that random search evaluates as a control; none beside random search itself."""
    return 0 if config.method == "random" else math.ceil(config.control_share * config.budget)


def leaderboard(
    config: RuleSearchConfig,
    state: search.RuleSearchState,
    judge: Judge,
    key: PRNGKeyArray,
    budget: int,
) -> list[dict[str, Any]]:
    """Rank, text as proposed by its table, normal form, best rate and accuracy on reward examples.

    The last batch can go beyond the budget; what does is left out.

    Args:
      config: of the search.
      state: of the search.
      judge: of its rules.
      key: of the search.
      budget: evaluations that count, from the first on.
    """
    records = search.leaderboard(state, config.top, budget)
    tables = np.asarray([record["table"] for record in records], np.int32)
    rates = judge.best_rates(tables, fitness_key(key), config.rates) if records else []
    return [
        {
            "rank": record["rank"],
            "rule": rules.to_text(table),
            "canonical": record["rule"],
            "best_rate": float(rate),
            "reward_accuracy": record["fitness"],
            "evaluation": record["evaluation"],
        }
        for record, table, rate in zip(records, tables, rates, strict=True)
    ]


def session_of(config: RuleSearchExperiment, folder: RunFolder, stop: StopRequest) -> Session:
    """Where the searches are, fresh ones in a new run.

    Args:
      config: of the run.
      folder: of the run.
      stop: asked after every update.
    """
    return Session(folder, config, learned_settings(config), _fresh(config.search), stop)


def _method(config: RuleSearchConfig, name: str) -> rules.RuleMethod:
    return method_of(config, config.method if name == "search" else "random")


def budget_of(config: RuleSearchConfig, name: str) -> int:
    """Rules that one of the searches evaluates."""
    return config.budget if name == "search" else control_budget(config)


def _fresh(config: RuleSearchConfig) -> States:
    """Searches that have not begun."""
    return {
        name: search.init(_method(config, name), budget_of(config, name), key_of(config, name))
        for name in names_of(config)
    }


def is_done(config: RuleSearchConfig, name: str, state: search.RuleSearchState) -> bool:
    """Whether one of the searches has used its budget, or proposes what is known too often.

    Args:
      config: of the searches.
      name: of the search, in `names_of`.
      state: of the search.
    """
    budget = budget_of(config, name)
    most = 10 * -(-budget // config.batch_size)  # as in `search.run`
    return int(state.archive.size) >= budget or int(state.num_updates) >= most


def go_on(config: RuleSearchConfig, name: str, session: Session, judge: Judge) -> None:
    """Go on with one of the searches until it is done.

    Args:
      config: of the searches.
      name: of the search, in `names_of`.
      session: where the searches are.
      judge: of the rules.
    """
    state = session.state[name]
    if is_done(config, name, state):
        return
    method, budget = _method(config, name), budget_of(config, name)
    label = "rules" if name == "search" else "rules of random search"
    start, begun = int(state.archive.size), time.monotonic()
    if start:
        say(f"going on from rule {start} of {budget}")
    with Bar(label, budget, start) as bar:

        def on_update(state: search.RuleSearchState, metrics: dict[str, float]) -> None:
            params = getattr(state.method, "params", ())  # evolution has none
            require_finite(params, "the proposer's weights", f"update {int(state.num_updates)}")
            size = int(state.archive.size)
            best = search.leaderboard(state, 1)
            reward = best[0]["fitness"] if best else 0.0
            counts = {"evaluated": size, "proposed": int(state.num_proposed), "best": reward}
            speed = (size - start) / (time.monotonic() - begun)
            text = best[0]["rule"] if best else "none alive"
            bar.show(min(size, budget), f"{speed:.0f} rules/s  best {reward:.3f}: {text}")
            session.record(name, counts | metrics, session.state | {name: state})

        search.run(
            method,
            judge.fitness,
            key_of(config, name),
            budget=budget,
            state=state,
            chunk_size=judge.chunk_size,
            on_update=on_update,
        )
    size = int(session.state[name].archive.size)
    if size < budget:
        say(f"stopped at {size} of {budget} {label}: the proposals repeat what is known")
