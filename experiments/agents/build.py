"""From a `Config` to the objects of the library. Every value that cannot work is a `ValueError`."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, PRNGKeyArray

from experiments.agents.task import make_family
from experiments.configs.agents import LearnerConfig, TeamConfig
from experiments.configs.broad import BroadConfig
from experiments.configs.checks import check
from experiments.configs.config import Config, EnvConfig
from experiments.runs import hosts
from ganno_jax.env import Env, Mapping, actions, base_shapes, rewards, whole_update
from ganno_jax.inner import Training, directions
from ganno_jax.learners import MAPPO, MAPPOConfig, make_mesh
from ganno_jax.tasks.distributions import Constant, Distribution, LogUniform, Uniform


@dataclass(frozen=True)
class Experiment:
    """What a configuration stands for."""

    config: Config
    env: Env
    learner: MAPPO
    mesh: Mesh
    mapping: Mapping

    @property
    def chance_loss(self) -> float:
        """Cross-entropy of guessing, in nats."""
        return math.log(self.env.training.family.dataset.num_classes)

    @property
    def steps_per_update(self) -> int:
        """Inner steps of all trainings together in one learner update."""
        settings = self.learner.config
        return settings.num_envs * settings.rollout_decisions * self.env.interval


def build(config: Config) -> Experiment:
    """Load the data and make the objects.

    Raises:
      ValueError: a value that cannot work, naming what is needed or what exists.
      FileNotFoundError: the data set is not there; the message says how to get it.
    """
    check(config)
    mapping = _mapping(config.run.mapping)
    family = make_family(config)
    optimizer = _optimizer(config)
    training = Training.create(family, optimizer, config.task.batch_size)
    env = Env.create(
        training,
        make_reward(config.env),
        num_decisions=config.env.num_decisions,
        interval=config.env.interval,
        episode_decisions=config.env.episode_decisions,
        num_measured=config.env.num_measured,
        num_reward=config.env.num_reward,
    )
    asked = config.learner.rollout_decisions
    whole = env.episode_decisions if asked is None else asked
    settings = learner_settings(config.learner, rollout_decisions=whole)
    learner = make_learner((env,), _actions(config), settings, config.agent, mapping)
    return Experiment(config, env, learner, _mesh(config), mapping)


# Streams of random numbers: the same number never serves two purposes.
_TRAINING, _BLIND, _TUNING, _REPORT = range(4)


def learner_key(config: Config, blind: bool = False) -> PRNGKeyArray:
    """Of the agents' training, or of the state-blind agents'."""
    return jax.random.fold_in(jax.random.key(config.seed), _BLIND if blind else _TRAINING)


def run_keys(config: Config, num_runs: int, *, report: bool) -> PRNGKeyArray:
    """Of the reported runs, or of the runs for tuning and for the learning curve.

    Args:
      config: of the run.
      num_runs: runs, one key each.
      report: whether they are the reported ones.
    """
    stream = _REPORT if report else _TUNING
    key = jax.random.fold_in(jax.random.key(config.evaluate.seed), stream)
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(num_runs))


def initial_rates(config: Config, num_runs: int) -> Float[np.ndarray, " run"]:
    """Rates that cover the range evenly in log space, one in the middle of each of `num_runs` parts."""
    low, high = np.log(config.optimizer.initial_rate)
    middles = (np.arange(num_runs) + 0.5) / num_runs
    return np.exp(low + (high - low) * middles).astype(np.float32)


def _optimizer(config: Config) -> directions.InnerOptimizer:
    settings = config.optimizer
    numbers: dict[str, Distribution] = {"momentum": Constant(settings.momentum)}
    if settings.weight_decay != (0.0, 0.0):
        numbers["weight_decay"] = Uniform(*settings.weight_decay)
    if settings.clip_norm is not None:
        numbers["clip_norm"] = Constant(settings.clip_norm)
    return directions.named(settings.name, LogUniform(*settings.initial_rate), **numbers)


def make_reward(env: EnvConfig) -> rewards.Reward:
    """The reward of these settings.

    Raises:
      ValueError: a stability penalty for a reward that has none.
    """
    penalty = {} if env.penalty is None else {"penalty": env.penalty}
    if env.reward == "log_loss":
        return rewards.LogLossDecrease("reward", env.stability, **penalty)
    if env.reward == "train_log_loss":
        return rewards.LogLossDecrease("train", env.stability, **penalty)
    if env.reward == "terminal_accuracy":
        return rewards.TerminalAccuracy(env.stability, **penalty)
    if env.stability:
        raise ValueError(f"the reward {env.reward!r} has no stability penalty: `env.stability` 0.")
    if env.reward == "terminal_log_loss":
        return rewards.TerminalLogLoss(**penalty)
    return rewards.DifferenceReward(**penalty)


def _actions(config: Config) -> actions.ActionSpace:
    agent = config.agent
    if agent.actions == "multipliers":
        return actions.RateMultipliers()
    if agent.actions == "residual":
        alpha = {} if agent.alpha is None else {"alpha": agent.alpha}
        return actions.ScheduleResidual(base_shapes.SHAPES[agent.shape], peak=agent.peak, **alpha)
    if agent.actions in ("relative", "whole"):
        return relative_actions(agent, first_share=1.0 if agent.actions == "whole" else 0.1)
    low, high = config.optimizer.initial_rate
    return actions.DirectRate(lowest=low, highest=high)


def relative_actions(
    settings: TeamConfig, *, first_share: float, shared: bool = False
) -> whole_update.RelativeUpdate | whole_update.WholeUpdate:
    """The relative size of the update, and with it the forgetting where `settings.actions` is "whole".

    Args:
      settings: with the numbers of the base.
      first_share: of the rate in the first window.
      shared: one rate for all layers.
    """
    shape = base_shapes.SHAPES[settings.shape]
    alpha = {} if settings.alpha is None else {"alpha": settings.alpha}
    size = whole_update.RelativeUpdate(
        shape,
        relative_size=settings.relative_size,
        first_share=first_share,
        sharing=settings.sharing,
        horizon_exponent=settings.horizon_exponent,
        shared=shared,
        **alpha,
    )
    if settings.actions == "relative":
        return size
    forgetting = whole_update.Forgetting(
        shape, kappa=settings.forgetting, epoch_exponent=settings.epoch_exponent, **alpha
    )
    return whole_update.WholeUpdate(size, forgetting, settings.coupling)


def learner_settings(settings: LearnerConfig | BroadConfig, **own: Any) -> MAPPOConfig:
    """The learner's settings, by their names; what is not among them keeps the learner's default.

    Args:
      settings: what was asked for.
      own: in the place of these.
    """
    known = {field.name for field in dataclasses.fields(MAPPOConfig)}
    asked = {name: value for name, value in vars(settings).items() if name in known}
    return MAPPOConfig(**(asked | own))


def make_learner(
    envs: tuple[Env, ...],
    space: actions.ActionSpace,
    settings: MAPPOConfig,
    team: TeamConfig,
    mapping: Mapping = "auto",
) -> MAPPO:
    """The learner of these agents.

    Args:
      envs: that the agents learn on.
      space: what their numbers mean.
      settings: of the learner.
      team: settings of the agents.
      mapping: over trainings.

    Raises:
      ValueError: counts that do not fit each other, or a number out of its range.
    """
    return MAPPO.create(
        envs,
        space,
        settings,
        critic=team.critic,
        recurrent=team.recurrent,
        hidden=team.hidden,
        hidden_features=team.hidden_features,
        initial_log_std=team.initial_log_std,
        mapping=mapping,
    )


def _mesh(config: Config) -> Mesh:
    """As many devices of each process as asked for, else as many as divide the trainings."""
    there, wanted = jax.local_device_count(), config.run.devices
    unit = math.lcm(config.learner.num_minibatches, config.learner.group_size) * jax.process_count()
    if config.learner.num_envs % unit:
        higher = _next_multiple(config.learner.num_envs, unit)
        raise ValueError(
            f"`learner.num_envs` must be a multiple of {unit} (minibatches, groups and processes divide it); "
            f"got {config.learner.num_envs}; the next number that works is {higher}."
        )
    fitting = [n for n in range(1, there + 1) if config.learner.num_envs // unit % n == 0]
    if wanted is not None and wanted not in fitting:
        higher = _next_multiple(config.learner.num_envs, unit * max(wanted, 1))
        raise ValueError(
            f"`run.devices` must divide {config.learner.num_envs} trainings in units of {unit} and "
            f"be at most {there}: one of {', '.join(map(str, fitting))}; got {wanted}, for which the next number of "
            f"trainings that works is {higher}."
        )
    return make_mesh(hosts.devices(wanted or fitting[-1]))


def _next_multiple(count: int, unit: int) -> int:
    """The smallest multiple of `unit` that is at least `count`."""
    return -(-count // unit) * unit


def _mapping(text: str) -> Mapping:
    if text in ("vmap", "map", "auto"):
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ValueError(f"no mapping {text!r}; there are: vmap, map, auto, or a number from 1 on")
