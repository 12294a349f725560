"""Meta-training: updates of every team of agents, then the controller that they are together."""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from jax.sharding import Mesh

from experiments.agents.updates import require_finite
from experiments.broad import head_start
from experiments.broad.build import Learning, kept_actions, make_direction
from experiments.configs.broad import BroadExperiment
from experiments.runs import whole_files
from experiments.runs.enter import describe
from experiments.runs.errors import UserError, as_user_error
from experiments.runs.folder import RunFolder
from experiments.runs.outputs import save_controller
from experiments.runs.progress import Bar, say
from experiments.runs.session import Session
from experiments.runs.signals import StopRequest
from ganno_jax.controllers import Controller
from ganno_jax.env.mesh import to_mesh
from ganno_jax.learners import MAPPO, LearnerState
from ganno_jax.learners.mappo.apart import UpdatesApart
from ganno_jax.policies import AgentPolicy, Ensemble
from ganno_jax.policies.agents import as_one, with_actions

SHOWN = ("return", "entropy", "kl")


def learned_settings(config: BroadExperiment) -> dict[str, Any]:
    """What is learned depends on these; a finished training may go on, or be examined anew."""
    free = ("num_updates", "own_runs", "action_share", "size_share", "forgetting_share")
    values = dataclasses.asdict(config.broad).items()
    return {f"broad.{name}": value for name, value in values if name not in free}


def learn(
    config: BroadExperiment, plan: Learning, folder: RunFolder, mesh: Mesh, stop: StopRequest
) -> Controller:
    """Train all teams, from the last checkpoint where there is one, and save the controller.

    Args:
      config: of the run.
      plan: what it trains on, and with.
      folder: of the run.
      mesh: devices.
      stop: asked after every update.

    Raises:
      UserError: the run is beyond its plan, its checkpoint is of other settings or damaged, or the agents are not
        finite.
      Interrupted: somebody asked to stop; a checkpoint was written.
    """
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
    with Session(folder, config, learned_settings(config), fresh, stop) as session:
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
            with as_user_error(MemoryError):
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
        seconds = session.clock.seconds
    cost = {
        "problems": [p.name for p in families],
        "inner_steps": steps * total,  # without those of a head start
        "seconds": seconds,
    }
    policy = with_actions(together(learner, states), partial(kept_actions, settings))
    controller = save_controller(
        folder, policy, envs[0].num_decisions, cost, direction=make_direction(settings)
    )
    say(f"controller: {folder.controller}  (ganno_jax.load)")
    return controller


def together(learner: MAPPO, states: Sequence[LearnerState]) -> AgentPolicy | Ensemble:
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
