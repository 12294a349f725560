"""Learned step-size controllers: search the five numbers of one on small random networks.

`evaluation` measures it on a larger network. docs/step_size_controllers.md has the method.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from experiments.agents.task import load_data, make_network
from experiments.configs.config import DataConfig
from experiments.configs.systems import StepSizeConfig, StepSizeExperiment
from ganno_jax.env import Env
from ganno_jax.env import Mapping as EnvMapping
from ganno_jax.env.mesh import to_mesh
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner import InnerOptimizer, Training, directions
from ganno_jax.learners.search import (
    CMAES,
    REPS,
    ParameterSearch,
    RandomSearch,
    SearchState,
    search,
)
from ganno_jax.policies.step_size import WEIGHTS, StepSizePolicy
from ganno_jax.tasks import TaskFamily, from_linen, networks
from ganno_jax.tasks.distributions import Constant, Distribution, LogUniform, Uniform, WholeShares

STRATEGIES = {"reps": REPS, "cmaes": CMAES, "random": RandomSearch}
START = (0.0, 0.0, 0.0, 0.0, math.log(0.01))
DEVIATIONS = (0.1, 0.3, 0.3, 0.3, 1.0)  # ours: the features are of the order of 10, 3, 1, 1 and 1


def optimizer_of(name: str, initial_rate: Distribution) -> InnerOptimizer:
    """Momentum 0.9, or RMSprop with decay 0.9 and clipped gradients, as in DACBench."""
    if name == "momentum":
        return directions.named("momentum", initial_rate)

    def clipped_rmsprop(h: directions.Hyperparameters) -> optax.GradientTransformation:
        scale = optax.scale_by_rms(decay=h.second_decay, eps=h.epsilon, eps_in_sqrt=False)
        return optax.chain(optax.clip(1.0), scale)

    return InnerOptimizer(
        clipped_rmsprop,
        initial_rate,
        second_decay=Constant(0.9),
        epsilon=Constant(1e-6),
        name="clipped_rmsprop",
    )


def training_family(config: StepSizeConfig, data: DataConfig) -> TaskFamily:
    """Small random networks on a part of the data.

    Args:
      config: says which networks.
      data: of the test; `config.family_data` may name another set.
    """
    if config.family_data is not None:
        data = dataclasses.replace(data, name=config.family_data)
    dataset = load_data(data)
    if config.family == "mlp":
        module = networks.build("mlp", features=(32,), num_classes=dataset.num_classes)
        width = WholeShares((8,), (32,))
    else:
        module = networks.random_cnn(config.most_filters, dataset.num_classes)
        width = WholeShares(config.fewest_filters, config.most_filters)
    return from_linen(module, dataset, data_fraction=Uniform(*config.data_fraction), width=width)


def test_family(config: StepSizeExperiment) -> TaskFamily:
    """The larger network that no controller was learned on."""
    dataset = load_data(config.data)
    return from_linen(make_network(config.network, dataset), dataset)


def initial_rates(config: StepSizeConfig, optimizer: str) -> Distribution:
    """Rates before the first decision of a training."""
    default = (1e-4, 0.1) if optimizer == "momentum" else (1e-5, 0.01)
    return LogUniform(*(config.initial_rate or default))


def environment(training: Training, num_steps: int, interval: int, num_measured: int = 1) -> Env:
    """Trainings as episodes; a reward example per decision keeps the env's own outcome cheap."""
    return Env.create(
        training,
        LogLossDecrease(on="train"),
        num_decisions=num_steps // interval,
        interval=interval,
        num_measured=num_measured,
        num_reward=1,
    )


def problem(
    config: StepSizeExperiment, optimizer: str, mapping: EnvMapping = "auto"
) -> ParameterSearch:
    """The search for the controller of one optimizer.

    Raises:
      ValueError: steps that are not whole decisions, or options that cannot work.
      FileNotFoundError: the data are not there.
    """
    part = config.step_size
    for name in ("num_steps", "fewest_steps", "test_steps"):
        if getattr(part, name) % part.interval:
            raise ValueError(
                f"`step_size.{name}` must be whole decisions of {part.interval} steps; "
                f"got {getattr(part, name)}."
            )
    training = Training.create(
        training_family(part, config.data),
        optimizer_of(optimizer, initial_rates(part, optimizer)),
        part.batch_size,
    ).with_example_features(by_layer=part.by_layer, limit=part.limit)
    strategy = STRATEGIES[part.strategy](
        mean=jnp.asarray(START), deviations=jnp.asarray(DEVIATIONS)
    )
    return ParameterSearch(
        environment(training, part.num_steps, part.interval),
        strategy,
        partial(StepSizePolicy, by_layer=part.by_layer),
        num_samples=part.num_samples,
        num_tasks=part.num_tasks,
        fewest_decisions=part.fewest_steps // part.interval,
        num_judged=part.num_judged,
        mapping=mapping,
    )


def run_search(
    what: ParameterSearch,
    state: SearchState,
    num_iterations: int,
    mesh: Mesh,
    report: Callable[[dict[str, float], SearchState], None] | None = None,
) -> SearchState:
    """Go on with a search until it has done so many iterations.

    Args:
      what: from `problem`.
      state: from its `init`, or of an earlier search.
      num_iterations: in all.
      mesh: devices.
      report: told of every iteration's row and state, for progress bars and checkpoints.
    """
    state = to_mesh(state, mesh)  # as it comes back
    for iteration in range(int(state.iteration), num_iterations):
        state, metrics = search(what, state, 1, mesh)
        if report is not None:
            report(_row(iteration, jax.device_get(metrics)), state)
    return state


def _row(iteration: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of one iteration as plain numbers, the controller's weights by name."""
    row: dict[str, float] = {"iteration": iteration}
    row |= {name: float(value[0]) for name, value in metrics.items() if name != "best"}
    return row | {name: float(x) for name, x in zip(WEIGHTS, metrics["best"][0], strict=True)}
