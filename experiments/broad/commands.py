"""Commands of broad meta-training: one controller from many kinds of problems, examined on the development suite."""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from experiments.agents import needs
from experiments.agents.updates import require_finite
from experiments.broad import head_start, own_kinds
from experiments.broad.build import kept_actions, make_direction, make_env, make_learner
from experiments.configs.bounds import check_bounds, require_within
from experiments.configs.broad import BroadConfig, BroadExperiment
from experiments.problems import broad_families, horizons, large_families, random_families
from experiments.problems.problem import Problem
from experiments.problems.suites import problems_of
from experiments.runs import folder as folders
from experiments.runs import hosts, memory, whole_files
from experiments.runs.beginning import command, describe, entered, resume_command
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.memory import Need
from experiments.runs.progress import Bar, say
from experiments.runs.results import save_controller
from experiments.runs.session import Session, mesh_of
from experiments.runs.signals import StopRequest
from experiments.runs.streams import stream
from experiments.suites.commands import check_suite, examine, present_stored
from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller
from ganno_jax.env import FEATURES, Env
from ganno_jax.env.mesh import to_mesh
from ganno_jax.learners import MAPPO, LearnerState
from ganno_jax.learners.mappo.apart import UpdatesApart
from ganno_jax.learners.mappo.config import check_divisible
from ganno_jax.policies import AgentPolicy, Ensemble
from ganno_jax.policies.agents import as_one, with_actions

SHOWN = ("return", "entropy", "kl")


def train(config: BroadExperiment, arguments: Sequence[str]) -> None:
    """Meta-train, save the controller, run the suite."""
    folder = folders.claim(config)
    check_suite(config.suite)
    mesh = mesh_of(config.run)
    plan = _plan(config, mesh)
    devices = list(mesh.devices.flat)
    message = f"stopped; everything is saved. Go on with: {resume_command(arguments)}"
    with entered(config, folder, devices, _settings), StopRequest(message) as stop:
        controller = _learn(config, plan, folder, mesh, stop)
        # A cell of the suite takes one device: the leading process runs them all.
        if not (config.suite.after_training and hosts.leads()):
            return
        stop.waits = False  # the controller is saved, and finished cells are kept
        examine(folder, controller, config.suite, "development", _suite_problems(config))


def evaluate(config: BroadExperiment, arguments: Sequence[str]) -> None:
    """The suite again; cells that are finished are read from the folder."""
    folder = folders.of(config)
    check_suite(config.suite)
    controller = _finished(folder)
    message = f"stopped; go on with: {command(arguments)}"
    with folders.held(folder), StopRequest(message) as stop:
        stop.waits = False
        examine(folder, controller, config.suite, "development", _suite_problems(config))


def plot(config: BroadExperiment, arguments: Sequence[str]) -> None:
    """Tables, figures and report from the cells that are finished."""
    del arguments
    folder = folders.of(config)
    problems = _suite_problems(config)
    present_stored(folder, _finished(folder), config.suite, "development", problems)


def _suite_problems(config: BroadExperiment) -> tuple[Problem, ...]:
    return problems_of("development", config.scale, config.suite.problems)


def _check(config: BroadConfig) -> None:
    """Raise a `ValueError` for a number out of its range."""
    check_bounds(config, "broad.")
    require_within({"broad.random_learned": (config.random_learned, 0, config.random_kinds)})
    if config.random_kinds and not config.head_start:
        raise ValueError("`broad.random_kinds` needs a head start: --broad.head_start 32.")
    numbers = ("momentum", "second_decay", "weight_decay")
    usual = BroadConfig()
    changed = [name for name in numbers if getattr(config, name) != getattr(usual, name)]
    if config.direction == usual.direction and changed:
        raise ValueError(
            f"`broad.{changed[0]}` is of one direction for all kinds: --broad.direction nadamw."
        )
    if config.head_start and config.recurrent:
        raise ValueError("agents with a memory cannot have a head start: --broad.head_start 0.")
    if config.head_start and config.actions != "relative":
        raise ValueError(
            "a head start is of one number per agent: --broad.head_start 0 or --broad.actions relative."
        )


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What agents of a configuration learn on, and with."""

    own: tuple[Problem, ...]  # the kinds of problems of `broad_families`
    drawn: tuple[Problem, ...]  # those drawn at random, all of them
    families: tuple[Problem, ...]  # those learned on: `own` and some that were drawn
    envs: tuple[Env, ...]  # of `families`
    learner: MAPPO
    states: list[LearnerState]  # fresh, one per team


def _plan(config: BroadExperiment, mesh: Mesh) -> _Plan:
    """Check everything that can be checked, and make what learns.

    Raises:
      UserError: numbers that cannot work, or data that are not there.
    """
    settings = config.broad
    try:
        _check(settings)
        own = _kinds(settings)
        drawn = tuple(random_families.draw(number) for number in range(settings.random_kinds))
        families = (*own, *drawn[: settings.random_learned])
        envs = tuple(make_env(problem, config) for problem in families)
        learner = make_learner(settings, envs)
        _require_memory(settings, learner, own, envs)
        states = _fresh(learner, settings, mesh)
        check_divisible(learner.config, mesh)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    return _Plan(own, drawn, families, envs, learner, states)


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


def _settings(config: BroadExperiment) -> dict[str, Any]:
    """What is learned depends on these; a finished training may go on, or be examined anew."""
    free = ("num_updates", "own_runs", "action_share", "size_share", "forgetting_share")
    values = dataclasses.asdict(config.broad).items()
    return {f"broad.{name}": value for name, value in values if name not in free}


def _learn(
    config: BroadExperiment, plan: _Plan, folder: RunFolder, mesh: Mesh, stop: StopRequest
) -> Controller:
    settings, families, envs, learner = config.broad, plan.families, plan.envs, plan.learner
    count = settings.num_members
    total = count * settings.num_updates
    steps = settings.num_envs * sum(p.total_steps for p in families)
    teams = f" for each of {count} teams" if count > 1 else ""
    say(
        f"broad: {len(families)} kinds of problems, {settings.num_envs} trainings of each per update, "
        f"{settings.num_updates} updates of {steps:,} inner steps{teams}; run folder {folder.path}"
    )
    fresh = {"learners": plan.states}
    with Session(folder, config, _settings(config), fresh, stop) as session:
        states = [to_mesh(state, mesh) for state in session.state["learners"]]
        _go_on(config, folder, session.update, mesh)
        if settings.head_start and not session.update:
            stop.waits = False
            states = head_start.give(
                learner,
                states,
                (*plan.own, *plan.drawn),
                len(plan.own),
                config,
                mesh,
                folder.head_start,
            )
        if session.update < total:
            say("compiling the training of all kinds, which takes minutes ...")
            stop.waits = False
            updated = UpdatesApart(learner, states[0], mesh)
            stop.waits = True
            with Bar("updates", total, session.update) as bar:
                while session.update < total:
                    team = session.update % count  # all teams side by side
                    states[team], metrics = updated(states[team])
                    row = {name: float(value) for name, value in metrics.items()}
                    require_finite(row, session.update + 1)
                    session.record("broad", {"team": team, **row}, {"learners": states})
                    bar.show(session.update, "  ".join(f"{n} {row[n]:.3f}" for n in SHOWN))
        session.save()
        seconds = session.seconds
    cost = {
        "problems": [p.name for p in families],
        "inner_steps": steps * total,  # without those of a head start
        "seconds": seconds,
    }
    policy = with_actions(_together(learner, states), partial(kept_actions, settings))
    controller = save_controller(
        folder, policy, envs[0].num_decisions, cost, direction=make_direction(settings)
    )
    say(f"controller: {folder.controller}  (ganno_jax.load)")
    if settings.own_runs:
        untrained = _together(learner, _fresh(learner, settings, mesh))
        keys = jax.random.split(stream(settings.seed, "own runs"), settings.own_runs)
        compared = envs[: len(plan.own)]
        own_kinds.compare(folder, plan.own, compared, policy, untrained, keys, mesh)
    return controller


def _fresh(learner: MAPPO, settings: BroadConfig, mesh: Mesh) -> list[LearnerState]:
    """Teams that have learned nothing; the first ones are those of a run of fewer teams."""
    keys = [stream(settings.seed, f"team {number}") for number in range(settings.num_members)]
    return [learner.init(key, mesh) for key in keys]


def _together(learner: MAPPO, states: Sequence[LearnerState]) -> AgentPolicy | Ensemble:
    """The teams as one policy."""
    return as_one([learner.policy(state) for state in states])


def _go_on(config: BroadExperiment, folder: RunFolder, update: int, mesh: Mesh) -> None:
    """Say so; a run with other settings than before, where they may change, gets another description.

    The learning rate falls over the updates, so going on is not one longer training: the description lists the
    earlier plans under `earlier`, each with the update up to which it held.

    Raises:
      UserError: the run has already made more updates.
    """
    num_updates = config.broad.num_updates
    made = -(-update // config.broad.num_members)  # by the team that is furthest
    if made > num_updates:
        raise UserError(
            f"the run in {folder.path} has made {made} updates; --broad.num_updates must be at "
            f"least that, got {num_updates}"
        )
    if update:
        say(f"going on from update {update} of {num_updates * config.broad.num_members}")
    before = json.loads(folder.config.read_text(encoding="utf-8"))
    stored = before["config"]["broad"]
    if stored == whole_files.plain(dataclasses.asdict(config.broad)):
        return
    earlier = before.get("earlier", [])
    planned = stored["num_updates"]
    if update and planned != num_updates:
        plan = {"num_updates": planned, "until": made, "git_commit": before["git_commit"]}
        earlier = [*earlier, plan]
    more = {"earlier": earlier} if earlier else {}
    describe(config, folder, list(mesh.devices.flat), **more)


def _kinds(settings: BroadConfig) -> tuple[Problem, ...]:
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


def _finished(folder: RunFolder) -> Controller:
    if not folder.controller.is_file():
        raise UserError(f"no trained controller in {folder.path}; train first")
    return load(folder.controller)
