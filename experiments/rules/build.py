"""From the configuration of a search of update rules to the network searched on and the method that searches."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from experiments.agents.task import load_data, make_network
from experiments.configs.checks import check_rules
from experiments.configs.rules import RuleSearchConfig, RuleSearchExperiment
from experiments.runs import memory
from experiments.runs.memory import Need
from experiments.runs.streams import stream
from ganno_jax import rules
from ganno_jax.env.mesh import AXIS
from ganno_jax.inner.chunks import mean_in_chunks
from ganno_jax.platforms import platform
from ganno_jax.rules.language import ROW
from ganno_jax.rules.population import step_keys
from ganno_jax.tasks import Dataset, Split, Task, TaskFamily, from_linen

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
    check_rules(config)
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
    """The network searched on, scored by its accuracy on reward examples, which each training sets aside anew.

    Raises:
      ValueError: the network keeps a state besides its parameters, which a rule does not train.
    """
    family, size = reward_family(config), config.search.child_batch_size
    data, task = family.dataset, family.sample(stream(config.search.seed, "task"))
    if jax.eval_shape(task.init, jax.random.key(0))[1]:
        raise ValueError(
            f"network {config.network.name!r} keeps statistics of its batches, so it cannot be "
            "searched on; give it --network.norm group"
        )

    def draw_fn(key, num_steps):
        own = family.sample(key)  # which examples it sees when, and which it sets aside
        indices = jax.vmap(lambda step: family.batch_indices(own, step, size))
        return indices(jnp.arange(num_steps)), step_keys(key, num_steps)

    def loss_fn(params, drawn):
        indices, key = drawn
        return task.loss(params, {}, data.gather(data.train, indices), key)[0]

    def score_fn(params, key):
        rows = family.reward_indices(family.sample(key))
        return measure(data, task, params, {}, data.train, rows)[1]

    return rules.Child(lambda key: task.init(key)[0], loss_fn, score_fn, draw_fn)


def reward_family(config: RuleSearchExperiment) -> TaskFamily:
    """Trainings of the network searched on, each with reward examples of its own: at most a quarter of the split."""
    dataset = load_data(config.data)
    count = min(config.search.num_reward, dataset.count(dataset.train) // 4)
    return from_linen(make_network(config.network, dataset), dataset, num_reward=max(1, count))


def measure(
    data: Dataset,
    task: Task,
    params: Any,
    model_state: Any,
    split: Split,
    rows: Int[Array, " example"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean loss and accuracy over some examples of a split, in pieces that bound the memory.

    Args:
      data: has the split.
      task: whose loss is taken.
      params: of the network.
      model_state: what it keeps besides them.
      split: of the data.
      rows: of the split.
    """

    def means(places: Int[Array, " example"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        batch, key = data.gather(split, rows[places]), jax.random.key(0)  # nothing is random here
        loss, (_, metrics) = task.loss(params, model_state, batch, key, False)
        return loss, metrics["accuracy"]

    return mean_in_chunks(means, rows.shape[0], CHUNK)


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
        """Mean accuracy on reward examples at the best rate; minus infinity where that diverges."""
        return self._judge(tables, key)[0]

    def best_rates(self, tables: np.ndarray, key: PRNGKeyArray, rates: Sequence[float]) -> list:
        """The rate at which each rule has its fitness; the lowest of equals.

        Args:
          tables: of the rules, `[rule, step, 5]`.
          key: with which `fitness` judged them.
          rates: that were tried, in their order.
        """
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
