"""From the configuration of broad meta-training to its envs, its learner and its teams of agents."""

from collections.abc import Sequence
from dataclasses import dataclass

from jax.sharding import Mesh

from experiments.agents import build as agents
from experiments.agents import needs
from experiments.configs.broad import BroadConfig, BroadExperiment
from experiments.configs.checks import check_broad
from experiments.configs.config import EnvConfig
from experiments.problems import broad_families, horizons, large_families, random_families
from experiments.problems.problem import Problem
from experiments.problems.problem import build as build_env
from experiments.runs import memory
from experiments.runs.errors import as_user_error
from experiments.runs.memory import Need
from experiments.runs.streams import stream
from ganno_jax.env import FEATURES, Env
from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.whole_update import RelativeUpdate, WholeUpdate, part_of
from ganno_jax.inner import Direction
from ganno_jax.learners import MAPPO, LearnerState
from ganno_jax.learners.mappo.config import check_divisible
from ganno_jax.tasks.distributions import LogUniform


def make_env(problem: Problem, config: BroadExperiment) -> Env:
    """A problem as the agents learn on it.

    Raises:
      ValueError: an unknown name, or values that do not fit.
      FileNotFoundError: the data set is not there; the message says how to get it.
    """
    settings = config.broad
    direction = make_direction(settings)
    return build_env(
        problem,
        config.suite.data_dir,
        reward=agents.make_reward(EnvConfig(reward=settings.reward)),
        optimizer=direction and direction.optimizer(LogUniform(*problem.initial_rate)),
        hidden_loss=settings.hidden_loss,
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


@dataclass(frozen=True)
class Learning:
    """What agents of a configuration learn on, and with."""

    own: tuple[Problem, ...]  # the kinds of problems of `broad_families`
    drawn: tuple[Problem, ...]  # those drawn at random, all of them
    families: tuple[Problem, ...]  # those learned on: `own` and some that were drawn
    envs: tuple[Env, ...]  # of `families`
    learner: MAPPO
    states: list[LearnerState]  # fresh, one per team


def build(config: BroadExperiment, mesh: Mesh) -> Learning:
    """Check everything that can be checked, and make what learns.

    Raises:
      UserError: numbers that cannot work, or data that are not there.
    """
    settings = config.broad
    with as_user_error():
        check_broad(settings)
        own = kinds_of(settings)
        drawn = tuple(random_families.draw(number) for number in range(settings.random_kinds))
        families = (*own, *drawn[: settings.random_learned])
        envs = tuple(make_env(problem, config) for problem in families)
        learner = make_learner(settings, envs)
        _require_memory(settings, learner, own, envs)
        states = fresh(learner, settings, mesh)
        check_divisible(learner.config, mesh)
    return Learning(own, drawn, families, envs, learner, states)


def _require_memory(
    settings: BroadConfig, learner: MAPPO, own: Sequence[Problem], envs: Sequence[Env]
) -> None:
    teams, runs = settings.num_members, settings.own_runs
    start = 10 * settings.head_start * sum(p.num_decisions for p in own) * len(FEATURES) * 4
    memory.require(
        *needs.learning(learner, "broad.num_envs"),
        Need(f"{teams:,} teams of agents (broad.num_members)", teams * needs.agents(learner)),
        Need("the trainings of the head start (broad.head_start)", start, on_host=True),
        *(needs.curves(env, runs, 2, "broad.own_runs") for env in envs[:1]),
    )


def kinds_of(settings: BroadConfig) -> tuple[Problem, ...]:
    """The training problems that were asked for.

    Raises:
      ValueError: no problem's name contains one of the words.
    """
    by_horizon = settings.families == "horizons"
    there = horizons.HORIZONS if by_horizon else broad_families.SMALL
    if settings.large:
        there += large_families.LARGE
    for word in settings.kinds:
        if not any(p.is_named([word]) for p in there):
            names = "; ".join(p.name for p in there)
            raise ValueError(f"no kind of problem is named like {word!r}; there are: {names}")
    return tuple(p for p in there if p.is_named(settings.kinds))


def fresh(learner: MAPPO, settings: BroadConfig, mesh: Mesh) -> list[LearnerState]:
    """Teams that have learned nothing; the first ones are those of a run of fewer teams.

    Args:
      learner: of the teams.
      settings: with the seed and the number of teams.
      mesh: devices.
    """
    keys = [stream(settings.seed, f"team {number}") for number in range(settings.num_members)]
    return [learner.init(key, mesh) for key in keys]
