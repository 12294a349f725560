"""Search of update rules: what a rule is worth on the network searched on, and the leaderboard.

`comparison` compares what was found with optimizers on another network.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from experiments.agents.task import load_data, make_network
from experiments.configs.bounds import HIGHEST_PEAK, check_bounds
from experiments.configs.systems import RuleSearchConfig, RuleSearchExperiment
from experiments.runs import memory
from experiments.runs.memory import Need
from experiments.runs.streams import stream
from ganno_jax import rules
from ganno_jax.env.mesh import AXIS
from ganno_jax.platforms import platform
from ganno_jax.rules import search
from ganno_jax.rules.language import ROW
from ganno_jax.tasks import Dataset, Split, Task, from_linen

METHODS = {
    "ppo": rules.PPO,
    "reinforce": rules.Reinforce,
    "evolution": rules.RegularizedEvolution,
    "random": rules.UniformRules,
}
CHUNK = 250  # examples at a time outside of training


def check(config: RuleSearchExperiment) -> None:
    """Say what cannot work.

    Raises:
      ValueError: an option, what it needs and what came.
      FileNotFoundError: the data are not there.
      UserError: there is not so much memory.
    """
    part = config.search
    check_bounds(part, "search.")
    for name in ("network", "compared_network"):
        check_bounds(getattr(config, name), f"{name}.")
    in_range = all(0 < rate <= HIGHEST_PEAK for rate in part.rates)
    if not part.rates or not in_range or list(part.rates) != sorted(part.rates):
        raise ValueError(
            f"`search.rates` must be above 0 and rise, to {HIGHEST_PEAK:g} at most; got {part.rates}"
        )
    dataset = load_data(config.data)
    examples = dataset.train.num_examples
    if not 1 <= part.child_batch_size <= examples:
        raise ValueError(
            f"`search.child_batch_size` must be between 1 and the {examples} training examples; "
            f"got {part.child_batch_size}"
        )
    searched, compared = (
        _weights(make_network(network, dataset), dataset)
        for network in (config.network, config.compared_network)
    )
    runs = max(len(part.rates) * part.tuning_runs, part.num_runs)
    memory.require(
        Need("the weights of a network (network)", searched),
        Need(f"the weights of {runs:,} networks (search.num_runs, tuning_runs)", runs * compared),
        Need(
            f"an archive of {part.budget:,} rules (search.budget)",
            part.budget * 4 * (3 + ROW * part.num_rows),
            on_host=True,
        ),
    )


def _weights(network: nn.Module, dataset: Dataset) -> int:
    """Bytes of a network's parameters."""
    family = from_linen(network, dataset)

    def params() -> Any:
        key = jax.random.key(0)
        return family.sample(key).init(key)[0]

    return memory.size_of(jax.eval_shape(params))


def child_of(config: RuleSearchExperiment) -> rules.Child:
    """The network searched on, scored by its validation accuracy.

    Raises:
      ValueError: the network keeps a state besides its parameters, which a rule does not train.
    """
    part, dataset = config.search, load_data(config.data)
    family = from_linen(make_network(config.network, dataset), dataset)
    data, task = family.dataset, family.sample(stream(part.seed, "task"))
    if jax.eval_shape(task.init, jax.random.key(0))[1]:
        raise ValueError(
            f"network {config.network.name!r} keeps statistics of its batches, so it cannot be "
            "searched on; give it --network.norm group"
        )
    count = min(part.num_validation or data.validation.num_examples, data.validation.num_examples)

    def loss_fn(params, key):
        shape, last = (part.child_batch_size,), data.train.num_examples
        batch = data.gather(data.train, jax.random.randint(key, shape, 0, last))
        return task.loss(params, {}, batch, key)[0]

    def score_fn(params):
        return measure(data, task, params, {}, data.validation, count)[1]

    return rules.Child(lambda key: task.init(key)[0], loss_fn, score_fn)


def measure(
    data: Dataset, task: Task, params: Any, model_state: Any, split: Split, num_examples: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean loss and accuracy over the first examples of a split, in pieces that bound the memory."""
    size = min(CHUNK, num_examples)

    def of(rows: Int[Array, " example"]) -> Float[Array, " 2"]:
        key = jax.random.key(0)  # nothing is random outside of training
        loss, (_, metrics) = task.loss(params, model_state, data.gather(split, rows), key, False)
        return jnp.stack([loss, metrics["accuracy"]])

    whole = num_examples // size * size
    sums = size * jax.lax.map(of, jnp.arange(whole).reshape(-1, size)).sum(axis=0)
    if whole < num_examples:
        sums += (num_examples - whole) * of(jnp.arange(whole, num_examples))
    return sums[0] / num_examples, sums[1] / num_examples


class Judge:
    """Fitness of rules on the network searched on, spread over the devices."""

    def __init__(self, config: RuleSearchExperiment, mesh: Mesh):
        part, child = config.search, child_of(config)
        self.chunk_size = mesh.size * (2 if platform() == "cpu" else part.batch_size)
        rates = jnp.asarray(part.rates, jnp.float32)

        def share(tables, key):
            keys = jax.random.split(key, part.num_seeds)
            if part.sweep_steps:
                return rules.sweep_population(
                    child,
                    tables,
                    rates,
                    keys,
                    sweep_steps=part.sweep_steps,
                    num_steps=part.num_steps,
                )
            scores = rules.train_population(child, tables, rates, keys, num_steps=part.num_steps)
            scores = scores.mean(axis=2)
            return scores.max(axis=1), scores.argmax(axis=1)

        split, whole = PartitionSpec(AXIS), PartitionSpec()
        self._judge = jax.jit(
            jax.shard_map(
                share, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False
            )
        )

    def fitness(self, tables, key: PRNGKeyArray) -> Float[Array, " rule"]:
        """Mean validation accuracy at the best rate; minus infinity where that diverges."""
        return self._judge(tables, key)[0]

    def best_rates(self, tables: np.ndarray, key: PRNGKeyArray, rates: Sequence[float]) -> list:
        """The rate at which each rule has its fitness; the lowest of equals."""
        found = []
        for start in range(0, len(tables), self.chunk_size):
            chunk = tables[start : start + self.chunk_size]
            missing = self.chunk_size - len(chunk)
            filled = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
            best = np.asarray(self._judge(jnp.asarray(filled), key)[1])[: len(chunk)]
            found += [rates[index] for index in best]
        return found


def method_of(config: RuleSearchConfig, name: str) -> rules.RuleMethod:
    """The searching method of that name; an evolution's population is four batches, and 64 rules at least."""
    sizes = {"population_size": max(64, 4 * config.batch_size)} if name == "evolution" else {}
    return METHODS[name](num_steps=config.num_rows, batch_size=config.batch_size, **sizes)


def key_of(config: RuleSearchConfig, *, control: bool = False) -> PRNGKeyArray:
    """Of the search or of its control."""
    return stream(config.seed, "control" if control else "search")


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
    """Rank, text as proposed by its table, normal form, best rate and validation accuracy.

    The last batch can go beyond the budget; what does is left out.
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
            "validation_accuracy": record["fitness"],
            "evaluation": record["evaluation"],
        }
        for record, table, rate in zip(records, tables, rates, strict=True)
    ]
