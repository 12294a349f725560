"""Search of update rules on one network, and their comparison with optimizers on another.

The comparison has the form of table 1 of Bello et al. 2017 (arXiv:1709.07417): every optimizer at
the best of the same few rates, chosen by validation accuracy on seeds of its own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray

from experiments.systems import RuleSearchConfig
from ganno_jax import rules
from ganno_jax.env.batching import AXIS
from ganno_jax.evaluation.statistics import bootstrap_interval, paired_difference
from ganno_jax.rules import search
from ganno_jax.rules.named import SIGN_RULES
from ganno_jax.tasks import Batch, Dataset, networks, place, sources

METHODS = {
    "ppo": rules.PPO,
    "reinforce": rules.Reinforce,
    "evolution": rules.RegularizedEvolution,
    "random": rules.RandomSearch,
}
OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "SGD": optax.identity,
    "Momentum": lambda: optax.trace(0.9),
    "RMSProp": lambda: optax.scale_by_rms(0.9),
    "Adam": optax.scale_by_adam,
    "AdamW": lambda: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.01)),
    "Lion": optax.scale_by_lion,
}
"""Directions of the optimizers that rules are compared with; weight decay of AdamW is 0.01."""
NAMED = {"sign_sgd": "sign(g)", "sign_momentum": "sign(m)"} | SIGN_RULES
_SEARCH, _CONTROL, _TUNING, _REPORT = range(4)  # streams of random numbers


@dataclass(frozen=True)
class Scores:
    """An optimizer on the network compared on; nan where a training diverged."""

    rate: float
    validation_accuracy: float  # on the tuning seeds, at that rate
    test_accuracy: Float[np.ndarray, " run"]
    test_loss: Float[np.ndarray, " run"]


def check(config: RuleSearchConfig) -> None:
    """Say what cannot work.

    Raises:
      ValueError: an option, what it needs and what came.
    """
    counts = ("budget", "batch_size", "num_steps", "num_seeds", "top", "compared_steps")
    for name in (*counts, "tuning_runs", "num_runs"):
        if getattr(config, name) < 1:
            raise ValueError(f"`search.{name}` must be at least 1; got {getattr(config, name)}")
    if not 1 <= config.num_rows <= rules.MAX_STEPS:
        raise ValueError(
            f"`search.num_rows` must be between 1 and {rules.MAX_STEPS}; got {config.num_rows}"
        )
    if not config.rates or min(config.rates) <= 0 or list(config.rates) != sorted(config.rates):
        raise ValueError(f"`search.rates` must be above 0 and rise; got {config.rates}")
    if not 0 <= config.control_share <= 1:
        raise ValueError(
            f"`search.control_share` must be between 0 and 1; got {config.control_share}"
        )
    examples = load_data().train.num_examples
    if not 1 <= config.child_batch_size <= examples:
        raise ValueError(
            f"`search.child_batch_size` must be between 1 and the {examples} training examples; "
            f"got {config.child_batch_size}"
        )


def load_data() -> Dataset:
    """The digits."""
    return sources.load("digits")


def child_of(features: Sequence[int], batch_size: int) -> tuple[rules.Child, Callable]:
    """An MLP on digits, scored by its validation accuracy; and a function of parameters for the test.

    Returns:
      The child; parameters to validation accuracy, test accuracy and test loss.
    """
    data = place(load_data())
    module = networks.build("mlp", features=tuple(features), num_classes=data.num_classes)
    validation, test = data.whole(data.validation), data.whole(data.test)
    count = data.train.num_examples

    def logits(params, batch: Batch):
        return module.apply(params, batch.inputs)

    def init_fn(key):
        return module.init(key, validation.inputs[:1])

    def mean_loss(params, batch: Batch):
        return optax.softmax_cross_entropy_with_integer_labels(
            logits(params, batch), batch.targets
        ).mean()

    def loss_fn(params, key):
        return mean_loss(
            params, data.gather(data.train, jax.random.randint(key, (batch_size,), 0, count))
        )

    def accuracy(params, batch: Batch):
        return (logits(params, batch).argmax(-1) == batch.targets).mean()

    def judge(params):
        return accuracy(params, validation), accuracy(params, test), mean_loss(params, test)

    return rules.Child(init_fn, loss_fn, lambda params: accuracy(params, validation)), judge


class Judge:
    """Scores of rules at every rate on the network searched on, spread over the devices."""

    def __init__(self, config: RuleSearchConfig, mesh: Mesh):
        child, _ = child_of(config.features, config.child_batch_size)
        self.chunk_size = mesh.size * (2 if jax.default_backend() == "cpu" else config.batch_size)

        def share(tables, key):
            return rules.train_population(
                child,
                tables,
                jnp.asarray(config.rates, jnp.float32),
                jax.random.split(key, config.num_seeds),
                num_steps=config.num_steps,
            ).mean(axis=2)

        split, whole = PartitionSpec(AXIS), PartitionSpec()
        self._scores = jax.jit(
            jax.shard_map(
                share, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False
            )
        )

    def fitness(self, tables, key: PRNGKeyArray) -> Float[Array, " rule"]:
        """Mean validation accuracy at the best rate; minus infinity where every rate diverges."""
        return self._scores(tables, key).max(axis=1)

    def best_rates(self, tables: np.ndarray, key: PRNGKeyArray, rates: Sequence[float]) -> list:
        """The rate at which each rule has its fitness; the lowest of equals."""
        found = []
        for start in range(0, len(tables), self.chunk_size):
            chunk = tables[start : start + self.chunk_size]
            missing = self.chunk_size - len(chunk)
            filled = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
            scores = np.asarray(self._scores(jnp.asarray(filled), key))[: len(chunk)]
            found += [rates[index] for index in scores.argmax(axis=1)]
        return found


def method_of(config: RuleSearchConfig, name: str) -> rules.Method:
    """The searching method of that name."""
    return METHODS[name](num_steps=config.num_rows, batch_size=config.batch_size)


def key_of(config: RuleSearchConfig, *, control: bool = False) -> PRNGKeyArray:
    """Of the search or of its control."""
    return jax.random.fold_in(jax.random.key(config.seed), _CONTROL if control else _SEARCH)


def fitness_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key that `search.update` gives to the fitness."""
    return jax.random.fold_in(key, 2)


def control_budget(config: RuleSearchConfig) -> int:
    """Rules that random search evaluates as a control; none beside random search itself."""
    return 0 if config.method == "random" else math.ceil(config.control_share * config.budget)


def leaderboard(
    config: RuleSearchConfig, state: search.SearchState, judge: Judge, key: PRNGKeyArray
) -> list[dict[str, Any]]:
    """Rank, text as proposed by its table, normal form, best rate and validation accuracy."""
    records = search.leaderboard(state, config.top)
    tables = np.asarray([record["table"] for record in records], np.int32)
    rates = judge.best_rates(tables, fitness_key(key), config.rates) if records else []
    return [
        {
            "rank": record["rank"],
            "rule": rules.to_text(table),
            "canonical": record["rule"],
            "best_rate": float(rate),
            "validation_accuracy": record["fitness"],
            "evaluation": record["evaluation"],
        }
        for record, table, rate in zip(records, tables, rates, strict=True)
    ]


def compare(
    config: RuleSearchConfig,
    found: Mapping[str, str],
    report: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Found rules, named rules and optimizers on the network that none was searched on.

    Args:
      config: of the search.
      found: rules by what they are called in the table.
      report: told of every one that is done.

    Returns:
      A row for each, best test accuracy first. The reference of the paired differences is the
      optimizer with the best validation accuracy, so it is not chosen by the reported numbers.
    """
    child, judge = child_of(config.compared_features, config.child_batch_size)
    chance = 1.0 / load_data().num_classes
    directions: dict[str, tuple[str, str, optax.GradientTransformation]] = {
        name: ("optimizer", "", make()) for name, make in OPTIMIZERS.items()
    }
    for kind, texts in (("named rule", NAMED), ("found rule", found)):
        for name, text in texts.items():
            direction = rules.direction(text, total_steps=config.compared_steps)
            directions[name] = (kind, text, direction)
    init = jax.jit(jax.vmap(lambda key: child.init_fn(jax.random.fold_in(key, 0))))
    scores = {}
    for name, (_, _, direction) in directions.items():
        scores[name] = assess(config, child, judge, direction, init)
        if report is not None:
            report(name)
    best = max(OPTIMIZERS, key=lambda name: scores[name].validation_accuracy)
    accuracies = {
        name: np.where(np.isfinite(score.test_accuracy), score.test_accuracy, chance)
        for name, score in scores.items()
    }
    rows = []
    for name, (kind, text, _) in directions.items():
        score = scores[name]
        interval = bootstrap_interval(accuracies[name])
        difference = paired_difference(accuracies[name], accuracies[best])
        alive = np.isfinite(score.test_loss)
        rows.append(
            {
                "policy": name,
                "kind": kind,
                "rule": text,
                "best_rate": score.rate,
                "rate_at_edge": score.rate in (config.rates[0], config.rates[-1]),
                "validation_accuracy": score.validation_accuracy,
                "test_accuracy": interval.estimate,
                "test_accuracy_lower": interval.lower,
                "test_accuracy_upper": interval.upper,
                "difference": difference.estimate,
                "difference_lower": difference.lower,
                "difference_upper": difference.upper,
                "reference": best,
                "test_loss": float(score.test_loss[alive].mean()) if alive.any() else None,
                "share_diverged": float(1.0 - alive.mean()),
            }
        )
    return sorted(rows, key=lambda row: -row["test_accuracy"])


def assess(
    config: RuleSearchConfig,
    child: rules.Child,
    judge: Callable,
    direction: optax.GradientTransformation,
    init: Callable,
) -> Scores:
    """Choose the rate on tuning seeds, then train with it on the reported ones.

    One program does both, with as many trainings each time: it is compiled for every optimizer, and
    compiling costs more than training. `init` is jitted once for all, from keys to parameters.
    """
    key = jax.random.key(config.seed)
    tuning = jax.random.split(jax.random.fold_in(key, _TUNING), config.tuning_runs)
    reported = jax.random.split(jax.random.fold_in(key, _REPORT), config.num_runs)
    rates = np.asarray(config.rates, np.float32)
    size = max(len(rates) * config.tuning_runs, config.num_runs)
    one = partial(train_with, child, judge, direction, num_steps=config.compared_steps)
    program = jax.jit(jax.vmap(one))

    def scores(rates: np.ndarray, keys: PRNGKeyArray) -> tuple[np.ndarray, ...]:
        rows = np.arange(size) % len(rates)
        keys = keys[rows % keys.shape[0]]
        found = program(jnp.asarray(rates[rows]), init(keys), keys)
        return tuple(np.asarray(x)[: len(rates)] for x in found)

    grid = scores(np.repeat(rates, config.tuning_runs), tuning)[0]
    grid = np.where(np.isfinite(grid), grid, 0.0).reshape(len(rates), -1).mean(axis=1)
    best = int(grid.argmax())
    _, accuracy, loss = scores(np.full(config.num_runs, rates[best]), reported)
    return Scores(config.rates[best], float(grid[best]), accuracy, loss)


def train_with(
    child: rules.Child,
    judge: Callable,
    direction: optax.GradientTransformation,
    rate: Float[Array, ""],
    params: Any,
    key: PRNGKeyArray,
    *,
    num_steps: int,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Train once from these parameters at a constant rate.

    Returns:
      Validation accuracy, test accuracy and test loss; nan where a weight or the loss stopped being
      finite.
    """
    data_key = jax.random.fold_in(key, 1)

    def step(carry, count):
        params, memory = carry
        grads = jax.grad(child.loss_fn)(params, jax.random.fold_in(data_key, count))
        updates, memory = direction.update(grads, memory, params)
        return (jax.tree.map(lambda p, d: p - rate * d, params, updates), memory), None

    (params, _), _ = jax.lax.scan(step, (params, direction.init(params)), jnp.arange(num_steps))
    scores = judge(params)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((params, scores[2]))])
    return jax.tree.map(lambda score: jnp.where(finite.all(), score, jnp.nan), scores)
