"""Training agents: chunks of updates, and between them logs, evaluations and checkpoints."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax

from experiments.agents import compared
from experiments.agents.build import Experiment, learner_key
from experiments.agents.curve import Curve
from experiments.agents.snapshots import save_snapshot, snapshot_name
from experiments.agents.updates import LearningClock, Updates, init, require_finite, require_planned
from experiments.configs.config import Config
from experiments.configs.values import learned_settings
from experiments.runs import history, hosts
from experiments.runs.folder import RunFolder
from experiments.runs.progress import Bar, say
from experiments.runs.saved import Saved
from experiments.runs.session import Session
from experiments.runs.signals import StopRequest
from ganno_jax.learners import MAPPO, LearnerState
from ganno_jax.policies import AgentPolicy

SHOWN = ("return", "entropy", "kl")


def run_training(
    learner: MAPPO,
    updates: Updates,
    saved: Saved,
    total: int,
    what: str,
    *,
    every: int = 0,
    between_fn: Callable[[], None] = lambda: None,
    around_fn: Callable[[int], contextlib.AbstractContextManager] = contextlib.nullcontext,
    clock: LearningClock | None = None,
) -> AgentPolicy:
    """Update agents, a chunk at a time, from where they are up to so many updates.

    Args:
      learner: of the agents.
      updates: compiled.
      saved: where the agents are.
      total: updates in the end.
      what: is counted, for the bar.
      every: no chunk goes past a multiple of it; 0 for none.
      between_fn: called before the first chunk and after each, before a checkpoint.
      around_fn: entered around a chunk, with the update at which it ends.
      clock: counts the updates, if given.

    Returns:
      The agents.

    Raises:
      UserError: the agents are not finite.
      Interrupted: somebody asked to stop; a checkpoint was written.
    """
    with Bar(what, total, saved.update) as bar:
        while True:
            between_fn()
            saved.pause()
            if saved.update == total:
                return learner.policy(saved.state)
            begun, end = time.monotonic(), updates.end(saved.update, total, every)
            with around_fn(end):
                state, rows = updates(learner, saved.state, end - saved.update)
            spent = time.monotonic() - begun
            if clock is not None:
                clock.count(len(rows), spent)
            speed = updates.inner_steps * len(rows) / spent
            for row in rows:
                require_finite(row, saved.update + 1)
                saved.write("training", row, {"inner_steps_per_second": speed})
            shown = "  ".join(f"{name} {rows[-1][name]:.3f}" for name in SHOWN if name in rows[-1])
            saved.state = state
            bar.show(saved.update, f"{shown}  {speed:,.0f} inner steps/s")


def train_agents(
    experiment: Experiment,
    folder: RunFolder,
    evaluator: compared.Evaluator,
    clock: LearningClock,
    stop: StopRequest,
) -> tuple[AgentPolicy, Updates]:
    """Train the run's agents, from the last checkpoint where there is one.

    Args:
      experiment: of the run.
      folder: of the run.
      evaluator: for the learning curve.
      clock: of the run.
      stop: asked between chunks.

    Raises:
      UserError: the checkpoint is of another run or beyond the plan, or damaged; the agents are not finite.
      Interrupted: somebody asked to stop; a checkpoint was written.
    """
    config, learner = experiment.config, experiment.learner
    total, every = config.learner.num_updates, config.evaluate.curve_every
    updates = Updates(experiment)
    fresh = updates.place(updates.start(learner, init(learner, learner_key(config))))
    with Session(folder, config, learned_settings(config), fresh, stop, clock) as session:
        session.state = updates.place(session.state)
        require_planned(int(session.state.update), total, folder)
        if session.update:
            _say_going_on(folder, session.update, config)
        else:
            save_snapshot(folder, "agents", 0, learner.policy(session.state))
        if session.update < total:
            say(f"compiling the training of {config.learner.num_envs} trainings at a time ...")
            stop.waits = False  # nothing would be lost
            stop.stop()
            seconds = _compile(experiment, updates, evaluator, session.state)
            clock.compiling += seconds
            stop.waits = True
            say(f"compiled in {seconds:.0f} s")
        chunk = updates.end(session.update, total, every)
        traced = updates.end(chunk, total, every)  # after the second chunk
        with contextlib.closing(Curve(experiment, folder, evaluator, clock, session)) as curve:
            trained = run_training(
                learner,
                updates,
                session,
                total,
                "updates",
                every=every,
                between_fn=curve.point,
                around_fn=lambda end: _profile(experiment, folder, end == traced),
                clock=clock,
            )
        session.save()
    save_snapshot(folder, "agents", total, trained)
    return trained, updates


def _say_going_on(folder: RunFolder, done: int, config: Config) -> None:
    """Say from where, and what of the records of earlier sessions is missing; the point at `done` may be to come."""
    say(f"going on from update {done} of {config.learner.num_updates}")
    if not hosts.leads():
        return
    if config.evaluate.curve_every:
        history.say_missing(folder.curve, range(0, done, config.evaluate.curve_every))
    history.say_damaged(folder.snapshots, [snapshot_name("agents", 0)])


def _compile(
    experiment: Experiment, updates: Updates, evaluator: compared.Evaluator, state: LearnerState
) -> float:
    """Compile the updates and, beside them, the evaluation; the seconds that both took together."""
    start = time.monotonic()
    settings, learner, env = experiment.config.evaluate, experiment.learner, experiment.env
    if not (settings.curve_every or settings.after_training):
        updates.compile(learner, state)
        return time.monotonic() - start
    policy = compared.agents(learner.policy(state), env.num_decisions, env.num_layers)
    with ThreadPoolExecutor(1) as pool:
        evaluation = pool.submit(evaluator.compile, policy)
        updates.compile(learner, state)
        evaluation.result()
    return time.monotonic() - start


def _profile(
    experiment: Experiment, folder: RunFolder, chosen: bool
) -> contextlib.AbstractContextManager:
    """A trace of the chosen chunk, if one was asked for."""
    if experiment.config.run.profile and chosen:
        return jax.profiler.trace(str(folder.path / "profile"))
    return contextlib.nullcontext()
