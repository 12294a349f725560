"""From the configuration of step-size controllers to what is searched, and the parts of its trainings."""

import dataclasses
import math
from functools import partial

import jax.numpy as jnp
import optax

from experiments.agents import needs
from experiments.agents.task import load_data, make_network
from experiments.configs.bounds import require_within
from experiments.configs.checks import check_step_size
from experiments.configs.config import DataConfig
from experiments.configs.step_size import StepSizeConfig, StepSizeExperiment
from experiments.runs import memory
from experiments.runs.errors import as_user_error
from experiments.runs.memory import Need
from ganno_jax.controller_files import load
from ganno_jax.env import Env
from ganno_jax.env import Mapping as EnvMapping
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner import InnerOptimizer, Training, directions
from ganno_jax.learners.search import CMAES, REPS, ParameterSearch, RandomSearch
from ganno_jax.policies.step_size import StepSizePolicy
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
    """Trainings as episodes; a reward example per decision keeps the env's own outcome cheap.

    Args:
      training: the inner problem.
      num_steps: of a training; what fills no interval at its end is left out.
      interval: inner steps per decision.
      num_measured: of them, those over which statistics are taken.
    """
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

    Args:
      config: of the run.
      optimizer: "momentum" or "rmsprop".
      mapping: over trainings.

    Raises:
      ValueError: options that cannot work.
      FileNotFoundError: the data are not there.
    """
    part = config.step_size
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


def build(config: StepSizeExperiment) -> dict[str, ParameterSearch]:
    """What is searched, by optimizer.

    Raises:
      UserError: no optimizer, numbers that cannot work, or data that are not there.
    """
    part = config.step_size
    with as_user_error():
        check_step_size(config)
        if part.agents is not None:
            load(part.agents)
        examples = test_family(config).dataset.train.num_examples
        require_within({"step_size.test_batch_size": (part.test_batch_size, 1, examples)})
        problems = {name: problem(config, name) for name in config.optimizers}
    for name, searched in problems.items():
        _require_memory(config, name, searched)
    return problems


def _require_memory(config: StepSizeExperiment, optimizer: str, problem: ParameterSearch) -> None:
    part, env = config.step_size, problem.env
    trials = part.num_samples * part.num_tasks
    training = Training.create(
        test_family(config),
        optimizer_of(optimizer, initial_rates(part, optimizer)),
        part.test_batch_size,
    )
    test = environment(training, part.test_steps, part.interval)
    memory.require(
        needs.one_training(env, "step_size.most_filters"),
        needs.one_training(test, "network"),
        Need(f"{trials:,} trials (step_size.num_samples and num_tasks)", 100 * trials),
        needs.curves(test, len(part.rates) * part.num_runs, 1, "step_size.num_runs"),
        needs.curves(test, len(part.rates) * part.tuning_runs, 1, "step_size.tuning_runs"),
    )
