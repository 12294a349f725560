"""Training the agents: chunks of updates, and between them logs, evaluations and checkpoints."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from experiments.agents import entrants
from experiments.agents.build import Experiment, initial_rates, learner_key, run_keys
from experiments.agents.snapshots import save_snapshot, snapshot_name
from experiments.agents.updates import Clock, Updates, init, require_finite, require_planned
from experiments.configs.config import Config
from experiments.configs.values import learned_settings, to_dict
from experiments.runs import history, hosts
from experiments.runs.folder import RunFolder
from experiments.runs.logs import Lines, TensorBoard, read_lines
from experiments.runs.progress import Bar, say
from experiments.runs.session import restore
from experiments.runs.signals import StopRequest
from ganno_jax.checkpoint import Checkpoints, versions
from ganno_jax.evaluation.bootstrap import bootstrap_interval
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.learners import LearnerState
from ganno_jax.policies import AgentPolicy

SHOWN = ("return", "entropy", "kl")


def run_training(
    experiment: Experiment,
    folder: RunFolder,
    evaluator: entrants.Evaluator,
    clock: Clock,
    stop: StopRequest,
) -> tuple[AgentPolicy, Updates]:
    """Train the agents, from the last checkpoint where there is one.

    Raises:
      UserError: the checkpoint is of another run or beyond the plan, or damaged; the agents are not finite.
      Interrupted: somebody asked to stop; a checkpoint was written.
    """
    config, learner = experiment.config, experiment.learner
    updates = Updates(experiment)
    checkpoints = Checkpoints(folder.checkpoints)
    state = _first_or_last(experiment, updates, checkpoints, clock)
    done, total = int(state.update), config.learner.num_updates
    require_planned(done, total, folder)
    if done:
        _say_going_on(folder, done, config)
    metrics, curve = Lines(folder.metrics, done), Lines(folder.curve, done)
    board = TensorBoard(folder.tensorboard, done)
    seen = {line["update"] for line in read_lines(folder.curve)}
    if done == 0:
        save_snapshot(folder, "agents", 0, learner.policy(state))

    def checkpoint() -> None:
        checkpoints.save(done, state, _metadata(experiment, clock))

    if done < total:
        say(f"compiling the training of {config.learner.num_envs} trainings at a time ...")
        stop.waits = False  # nothing would be lost
        stop.stop()
        seconds = _compile(experiment, updates, evaluator, state)
        clock.compiling += seconds
        stop.waits = True
        say(f"compiled in {seconds:.0f} s")

    saved = time.monotonic()
    every = config.evaluate.curve_every
    traced = updates.end(updates.end(done, total, every), total, every)  # after the second chunk
    with contextlib.ExitStack() as stack:
        for log in (metrics, curve, board, checkpoints):
            stack.callback(log.close)
        bar = stack.enter_context(Bar("updates", total, done))
        while True:
            known = hosts.largest(done in seen)
            if every and not known and (done % every == 0 or done == total):
                line = _curve_point(experiment, evaluator, clock, learner.policy(state))
                curve.write({"update": done, **line})
                board.write("evaluation", {"selection_log_loss": line["selection_log_loss"]}, done)
                if 0 < done < total and not list(folder.snapshots.glob("early_*")):
                    save_snapshot(folder, "early", done, learner.policy(state))
            if done == total or stop.agreed():
                break
            due = hosts.largest(time.monotonic() - saved >= config.run.checkpoint_every)
            if done and due:
                checkpoint()
                saved = time.monotonic()
            start = time.monotonic()
            end = updates.end(done, total, every)
            with _profile(experiment, folder, end == traced):
                state, rows = updates(learner, state, end - done)
            spent = time.monotonic() - start
            clock.count(len(rows), spent)
            speed = experiment.steps_per_update * len(rows) / spent
            for row in rows:
                done += 1
                require_finite(row, done)
                timed = {"inner_steps_per_second": speed, "seconds": clock.now()["total"]}
                metrics.write({"update": done, **row, **timed})
                board.write("training", row, done)
            shown = "  ".join(f"{name} {rows[-1][name]:.3f}" for name in SHOWN if name in rows[-1])
            bar.show(done, f"{shown}  {speed:,.0f} inner steps/s")
        checkpoint()
        if done < total:
            stop.stop()
    save_snapshot(folder, "agents", done, learner.policy(state))
    return learner.policy(state), updates


def _first_or_last(
    experiment: Experiment, updates: Updates, checkpoints: Checkpoints, clock: Clock
) -> LearnerState:
    """Fresh agents, or those of the last checkpoint."""
    config, learner = experiment.config, experiment.learner
    state = updates.place(updates.start(learner, init(learner, learner_key(config))))
    if checkpoints.latest is None:
        return state
    state, metadata = restore(checkpoints, learned_settings(config), state)
    clock.go_on_from(metadata["clock"])
    return updates.place(state)


def _say_going_on(folder: RunFolder, done: int, config: Config) -> None:
    """Say from where, and what of the records of earlier sessions is missing; the point at `done` may be to come."""
    say(f"going on from update {done} of {config.learner.num_updates}")
    if not hosts.leads():
        return
    history.say_missing(folder.metrics, range(1, done + 1))
    if config.evaluate.curve_every:
        history.say_missing(folder.curve, range(0, done, config.evaluate.curve_every))
    history.say_damaged(folder.snapshots, [snapshot_name("agents", 0)])


def _compile(
    experiment: Experiment, updates: Updates, evaluator: entrants.Evaluator, state: LearnerState
) -> float:
    """Compile the updates and, beside them, the evaluation; the seconds that both took together."""
    start = time.monotonic()
    settings, learner = experiment.config.evaluate, experiment.learner
    if not (settings.curve_every or settings.after_training):
        updates.compile(learner, state)
        return time.monotonic() - start
    entrant = _entrant(experiment, learner.policy(state))
    with ThreadPoolExecutor(1) as pool:
        evaluation = pool.submit(evaluator.compile, entrant)
        updates.compile(learner, state)
        evaluation.result()
    return time.monotonic() - start


def _metadata(experiment: Experiment, clock: Clock) -> dict[str, Any]:
    return {
        "settings": learned_settings(experiment.config),
        "config": to_dict(experiment.config),
        "versions": versions(),
        "clock": clock.now(),
    }


def _curve_point(
    experiment: Experiment, evaluator: entrants.Evaluator, clock: Clock, policy: AgentPolicy
) -> dict[str, float]:
    """Mean final log selection loss of the greedy agents on tuning seeds."""
    config = experiment.config
    runs = config.evaluate.curve_runs
    before = evaluator.seconds_compile  # a run resumed at its end compiles here
    curves = evaluator(
        [_entrant(experiment, policy)],
        run_keys(config, runs, report=False),
        initial_rates(config, runs),
    )
    clock.compiling += evaluator.seconds_compile - before
    losses = log_losses(curves.selection_loss[0], experiment.chance_loss, curves.diverged[0])
    interval = bootstrap_interval(losses, num_resamples=2000)
    return {
        "selection_log_loss": interval.estimate,
        "lower": interval.lower,
        "upper": interval.upper,
        "seconds": clock.now()["total"],
    }


def _entrant(experiment: Experiment, policy: AgentPolicy) -> entrants.Entrant:
    return entrants.agents(policy, experiment.env.num_decisions, experiment.env.num_layers)


def _profile(
    experiment: Experiment, folder: RunFolder, chosen: bool
) -> contextlib.AbstractContextManager:
    """A trace of the chosen chunk, if one was asked for."""
    if experiment.config.run.profile and chosen:
        return jax.profiler.trace(str(folder.path / "profile"))
    return contextlib.nullcontext()
