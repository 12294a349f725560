"""From the configuration of broad meta-training to its envs and its learner."""

from experiments.agents import build as agents
from experiments.configs.broad import BroadConfig, BroadExperiment
from experiments.configs.config import EnvConfig
from experiments.problems.problem import Problem, build
from ganno_jax.env import Env
from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.whole_update import RelativeUpdate, WholeUpdate, part_of
from ganno_jax.inner import Direction
from ganno_jax.learners import MAPPO
from ganno_jax.tasks.distributions import LogUniform


def make_env(problem: Problem, config: BroadExperiment) -> Env:
    """A problem as the agents learn on it.

    Raises:
      ValueError: an unknown name, or values that do not fit.
      FileNotFoundError: the data set is not there; the message says how to get it.
    """
    settings = config.broad
    direction = make_direction(settings)
    return build(
        problem,
        config.suite.data_dir,
        reward=agents.make_reward(EnvConfig(reward=settings.reward)),
        optimizer=direction and direction.optimizer(LogUniform(*problem.initial_rate)),
    )


def make_direction(settings: BroadConfig) -> Direction | None:
    """The one direction of all trainings; None where each kind has its own.

    Raises:
      ValueError: there is no such direction, or a number is out of its range.
    """
    if settings.direction == "own":
        return None
    return Direction(
        settings.direction,
        momentum=settings.momentum,
        second_decay=settings.second_decay,
        weight_decay=settings.weight_decay,
    )


def make_learner(config: BroadConfig, envs: tuple[Env, ...]) -> MAPPO:
    """The learner of these settings.

    Raises:
      ValueError: counts that do not fit each other.
    """
    settings = agents.learner_settings(
        config, trace_decay=1.0, rollout_decisions=envs[0].num_decisions
    )
    return agents.make_learner(envs, make_actions(config), settings, config)


def make_actions(config: BroadConfig) -> RelativeUpdate | WholeUpdate:
    """What the agents' numbers mean."""
    return agents.relative_actions(config, first_share=config.first_share, shared=config.shared)


def kept_actions(config: BroadConfig, space: RelativeUpdate | WholeUpdate) -> ActionSpace:
    """What a finished controller keeps of its agents' actions and of the base under them."""
    return part_of(space, config.action_share, config.size_share, config.forgetting_share)
