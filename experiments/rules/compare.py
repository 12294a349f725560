"""Found rules, named rules and optimizers on a network that none was searched on.

The form is that of table 1 of Bello et al. 2017 (arXiv:1709.07417): every optimizer at the best of
the same few rates, chosen by accuracy on the selection split, on seeds of its own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray

from experiments.agents.task import load_data, make_network
from experiments.configs.rules import RuleSearchExperiment
from experiments.rules.build import measure
from experiments.runs.streams import stream
from ganno_jax import rules
from ganno_jax.env.mapping import map_trainings
from ganno_jax.env.mesh import AXIS
from ganno_jax.evaluation.bootstrap import bootstrap_interval, paired_difference
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.rules.named import SIGN_RULES
from ganno_jax.rules.population import step_keys
from ganno_jax.tasks import Split, from_linen

OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "SGD": optax.identity,
    "Momentum": lambda: optax.trace(0.9),
    "RMSProp": lambda: optax.scale_by_rms(0.9),
    "Adam": optax.scale_by_adam,
    "AdamW": lambda: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.01)),
    "Lion": optax.scale_by_lion,
}
"""Directions of the optimizers that rules are compared with; weight decay of AdamW is 0.01."""
NAMED = {"sign_sgd": "sign(g)", "sign_momentum": "sign(m)"} | {
    # One restart is the cyclical decay of half a period: `_rd` would be `_cd` again.
    name: text
    for name, text in SIGN_RULES.items()
    if not name.endswith("_rd")
}

Scores = tuple[Float[Array, " run"], Float[Array, " run"], Float[Array, " run"]]


@dataclass(frozen=True)
class Chosen:
    """An optimizer at its best rate; nan where a training diverged."""

    rate: float
    selection_accuracy: float  # on the tuning seeds, at that rate
    test_loss: Float[np.ndarray, " run"]  # of the report split
    test_accuracy: Float[np.ndarray, " run"]


class Trainer:
    """Trains the network compared on, at constant rates, spread over the devices.

    All rules share one compiled program, the interpreter's; every optimizer has its own.
    """

    def __init__(self, config: RuleSearchExperiment, mesh: Mesh):
        dataset = load_data(config.data)
        self._family = from_linen(make_network(config.compared_network, dataset), dataset)
        self._task = self._family.sample(stream(config.search.seed, "task"))
        self._config, self._mesh = config.search, mesh
        self._init = jax.jit(jax.vmap(lambda key: self._task.init(jax.random.fold_in(key, 0))))

        def interpreted(table, key):
            seed = jax.random.bits(jax.random.fold_in(key, 2), dtype=jnp.uint32)
            return rules.interpret(table, total_steps=config.search.compared_steps, seed=seed)

        self._of_rules = self._program(interpreted)

    @property
    def num_classes(self) -> int:
        """Of the data set."""
        return self._family.dataset.num_classes

    def rule(self, text: str) -> Chosen:
        """A rule, by its text."""
        table = rules.pad_table(rules.parse(text), rules.MAX_STEPS)
        return self._choose(self._of_rules, jnp.asarray(table))

    def optimizer(self, make: Callable[[], optax.GradientTransformation]) -> Chosen:
        """The optimizer with this direction."""
        return self._choose(self._program(lambda table, key: make()), jnp.zeros(0))

    def _choose(self, program: Callable[..., Scores], table: Array) -> Chosen:
        """Choose the rate on tuning seeds, then train with it on the reported ones."""
        part = self._config
        tuning = jax.random.split(stream(part.seed, "tuning"), part.tuning_runs)
        reported = jax.random.split(stream(part.seed, "report"), part.num_runs)
        rates = np.asarray(part.rates, np.float32)
        most = max(len(rates) * part.tuning_runs, part.num_runs)
        size = -(-most // self._mesh.size) * self._mesh.size  # one program for both

        def scores(rates: np.ndarray, keys: PRNGKeyArray) -> tuple[np.ndarray, ...]:
            rows = np.arange(size) % len(rates)
            keys = keys[rows % keys.shape[0]]
            found = program(table, jnp.asarray(rates[rows]), self._init(keys), keys)
            return tuple(np.asarray(x)[: len(rates)] for x in found)

        grid = scores(np.repeat(rates, part.tuning_runs), tuning)[0]
        grid = np.where(np.isfinite(grid), grid, 0.0).reshape(len(rates), -1).mean(axis=1)
        best = int(grid.argmax())
        _, accuracy, loss = scores(np.full(part.num_runs, rates[best]), reported)
        return Chosen(part.rates[best], float(grid[best]), loss, accuracy)

    def _program(self, direction_fn: Callable[..., optax.GradientTransformation]) -> Callable:
        """Table, rates, initial parameters and keys to selection and report accuracy and report loss."""

        def share(table, rates, start, keys):
            def one(rate, start, key):
                return self._train(direction_fn(table, key), rate, start, key)

            return map_trainings(one, "auto", rates, start, keys)

        split = PartitionSpec(AXIS)
        return jax.jit(
            jax.shard_map(
                share,
                mesh=self._mesh,
                in_specs=(PartitionSpec(), split, split, split),
                out_specs=split,
                check_vma=False,
            )
        )

    def _train(
        self,
        direction: optax.GradientTransformation,
        rate: Float[Array, ""],
        start: tuple[Any, Any],
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        """Train once; nan where a weight or the loss stopped being finite."""
        family, size, total = (
            self._family,
            self._config.child_batch_size,
            self._config.compared_steps,
        )
        data, data_key = family.dataset, jax.random.fold_in(key, 1)
        own = family.sample(data_key)  # which examples it sees when

        def step(carry, drawn):
            params, model_state, memory = carry
            indices, step_key = drawn
            batch = data.gather(data.train, indices)
            grads, (model_state, _) = jax.grad(self._task.loss, has_aux=True)(
                params, model_state, batch, step_key
            )
            updates, memory = direction.update(grads, memory, params)
            params = jax.tree.map(lambda p, d: p - rate * d, params, updates)
            return (params, model_state, memory), None

        indices = jax.vmap(lambda count: family.batch_indices(own, count, size))(jnp.arange(total))
        carry = (*start, direction.init(start[0]))
        drawn = (indices, step_keys(data_key, total))
        (params, model_state, _), _ = jax.lax.scan(step, carry, drawn)

        def judged(split: Split) -> tuple[Float[Array, ""], Float[Array, ""]]:
            rows = family.of_set(own, split, jnp.arange(data.count(split)))
            return measure(data, self._task, params, model_state, split, rows)

        (_, selection), (loss, accuracy) = judged(data.validation), judged(data.test)
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((params, loss))]
        alive = jnp.stack(finite).all()
        return tuple(jnp.where(alive, x, jnp.nan) for x in (selection, accuracy, loss))


def compare(
    config: RuleSearchExperiment,
    found: Mapping[str, str],
    mesh: Mesh,
    report: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Found rules, named rules and optimizers, a row each, best test accuracy first.

    The reference of the paired differences is the optimizer with the best selection accuracy, so
    it is not chosen by the reported numbers.

    Args:
      config: of the search.
      found: rules by what they are called in the table.
      mesh: devices.
      report: told of every one that is done.
    """
    trainer = Trainer(config, mesh)
    tasks: dict[str, tuple[str, str, Callable[[], Chosen]]] = {
        name: ("optimizer", "", partial(trainer.optimizer, make))
        for name, make in OPTIMIZERS.items()
    }
    for kind, texts in (("named rule", NAMED), ("found rule", found)):
        tasks |= {name: (kind, text, partial(trainer.rule, text)) for name, text in texts.items()}
    chosen = {}
    for name, (_, _, choose) in tasks.items():
        chosen[name] = choose()
        if report is not None:
            report(name)
    best = max(OPTIMIZERS, key=lambda name: chosen[name].selection_accuracy)
    chance = math.log(trainer.num_classes)
    accuracies = {
        name: np.where(np.isfinite(one.test_accuracy), one.test_accuracy, 1.0 / trainer.num_classes)
        for name, one in chosen.items()
    }
    losses = {name: log_losses(one.test_loss, chance) for name, one in chosen.items()}
    rates = config.search.rates
    rows = []
    for name, (kind, text, _) in tasks.items():
        one = chosen[name]
        rows.append(
            {
                "policy": name,
                "kind": kind,
                "rule": text,
                **bootstrap_interval(losses[name]).columns("test_log_loss"),
                **bootstrap_interval(accuracies[name]).columns("test_accuracy"),
                **paired_difference(losses[name], losses[best]).columns("log_loss_difference"),
                **paired_difference(accuracies[name], accuracies[best]).columns("difference"),
                "reference": best,
                "share_diverged": float(np.mean(~np.isfinite(one.test_loss))),
                "selection_accuracy": one.selection_accuracy,
                "best_rate": one.rate,
                "rate_at_edge": one.rate in (rates[0], rates[-1]),
            }
        )
    return sorted(rows, key=lambda row: -row["test_accuracy"])
