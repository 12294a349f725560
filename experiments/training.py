"""Training the agents: chunks of updates, and between them logs, evaluations and checkpoints."""

import contextlib
import dataclasses
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from flax import serialization
from jaxtyping import PRNGKeyArray

from experiments import entrants, hosts
from experiments.build import Experiment, initial_rates, learner_key, run_keys
from experiments.config import learned_settings, to_dict
from experiments.errors import UserError
from experiments.folder import RunFolder, write_whole
from experiments.logs import Lines, TensorBoard, read_lines
from experiments.progress import Bar, say
from experiments.session import restore
from experiments.signals import StopRequest
from ganno_jax.checkpoint import Checkpoints, versions
from ganno_jax.env.batching import AXIS, to_mesh
from ganno_jax.evaluation.statistics import bootstrap_interval, log_losses
from ganno_jax.learners import MAPPO, LearnerState, train
from ganno_jax.policies import AgentPolicy

SHOWN = ("return", "entropy", "kl")


@dataclasses.dataclass
class Clock:
    """Where the time of a run went, in seconds, over all its sessions."""

    total: float = 0.0  # of earlier sessions
    compiling: float = 0.0
    updating: float = 0.0
    updates: int = 0  # those timed in `updating`
    started: float = dataclasses.field(default_factory=time.monotonic)

    def now(self) -> dict[str, float]:
        """As it is stored."""
        total = self.total + time.monotonic() - self.started
        return {
            "total": total,
            "compiling": self.compiling,
            "updating": self.updating,
            "updates": self.updates,
        }

    def go_on_from(self, earlier: dict[str, float]) -> None:
        """Add what earlier sessions took."""
        self.total += earlier["total"]
        self.compiling += earlier["compiling"]
        self.updating += earlier["updating"]
        self.updates += int(earlier["updates"])


@jax.jit
def init(learner: MAPPO, key: PRNGKeyArray) -> LearnerState:
    """Fresh agents; jitted, since op by op it takes seconds."""
    return learner.init(key)


class Updates:
    """The compiled chunk of learner updates.

    All chunks have one length, so that a run that was stopped and resumed runs the same program on
    the same numbers as one that was not.
    """

    def __init__(self, experiment: Experiment):
        config = experiment.config
        every = config.evaluate.curve_every or config.learner.num_updates
        common = math.gcd(config.learner.num_updates, every)
        most = min(common, config.run.updates_per_call)
        self.length = next(n for n in range(most, 0, -1) if common % n == 0)
        self._mesh = experiment.mesh
        self._program: Any = None
        self.seconds_compile = 0.0

    def place(self, state: LearnerState) -> LearnerState:
        """Put a state where the program wants it."""
        rollouts = to_mesh(state.rollouts, self._mesh, AXIS)
        return to_mesh(state.replace(rollouts=None), self._mesh).replace(rollouts=rollouts)

    def start(self, learner: MAPPO, state: LearnerState) -> LearnerState:
        """Make the env states of a learner whose rollouts are shorter than its episodes."""
        if not learner.continues or state.rollouts is not None:
            return state
        return jax.jit(lambda learner, state: learner._start(state, self._mesh))(learner, state)

    def compile(self, learner: MAPPO, state: LearnerState) -> None:
        """Compile ahead for states that look like this one."""
        start = time.monotonic()
        lowered = train.lower(learner, state, self.length, self._mesh)
        self._program = lowered.compile()
        self.seconds_compile = time.monotonic() - start

    def __call__(
        self, learner: MAPPO, state: LearnerState
    ) -> tuple[LearnerState, list[dict[str, float]]]:
        """Run a chunk; metrics of each of its updates. The state is donated."""
        state, metrics = self._program(learner, state)
        host = {name: np.asarray(value) for name, value in metrics.items()}
        rows = [{name: float(value[i]) for name, value in host.items()} for i in range(self.length)]
        return jax.block_until_ready(state), rows


def run_training(
    experiment: Experiment,
    folder: RunFolder,
    evaluator: entrants.Evaluator,
    clock: Clock,
    stop: StopRequest,
) -> tuple[AgentPolicy, Updates]:
    """Train the agents, from the last checkpoint where there is one.

    Raises:
      UserError: the checkpoint is of another run, or damaged.
      Interrupted: somebody asked to stop; a checkpoint was written.
    """
    config, learner = experiment.config, experiment.learner
    updates = Updates(experiment)
    checkpoints = Checkpoints(folder.checkpoints)
    state = updates.place(updates.start(learner, init(learner, learner_key(config))))
    if checkpoints.latest is not None:
        state, metadata = restore(checkpoints, learned_settings(config), state)
        state = updates.place(state)
        clock.go_on_from(metadata["clock"])
    done, total = int(state.update), config.learner.num_updates
    if done:
        say(f"going on from update {done} of {total}")
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
    traced = min(
        done + updates.length, total - updates.length
    )  # the second chunk, if there are two
    with contextlib.ExitStack() as stack:
        for log in (metrics, curve, board, checkpoints):
            stack.callback(log.close)
        bar = stack.enter_context(Bar("updates", total, done))
        while True:
            every = config.evaluate.curve_every
            known = hosts.largest(done in seen)
            if every and not known and (done % every == 0 or done == total):
                line = _curve_point(experiment, evaluator, clock, learner.policy(state))
                curve.write({"update": done, **line})
                board.write("evaluation", {"log_loss": line["log_loss"]}, done)
                if 0 < done < total and not list(folder.snapshots.glob("early_*")):
                    save_snapshot(folder, "early", done, learner.policy(state))
            if done == total or stop.agreed():
                break
            due = hosts.largest(time.monotonic() - saved >= config.run.checkpoint_every)
            if done and due:
                checkpoint()
                saved = time.monotonic()
            start = time.monotonic()
            with _profile(experiment, folder, done == traced):
                state, rows = updates(learner, state)
            spent = time.monotonic() - start
            clock.updating += spent
            clock.updates += len(rows)
            speed = experiment.steps_per_update * len(rows) / spent
            for row in rows:
                done += 1
                seconds = clock.now()["total"]
                metrics.write(
                    {"update": done, **row, "inner_steps_per_second": speed, "seconds": seconds}
                )
                board.write("training", row, done)
            shown = "  ".join(f"{name} {rows[-1][name]:.3f}" for name in SHOWN if name in rows[-1])
            bar.show(done, f"{shown}  {speed:,.0f} inner steps/s")
        checkpoint()
        if done < total:
            stop.stop()
    save_snapshot(folder, "agents", done, learner.policy(state))
    return learner.policy(state), updates


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


def train_blind(
    experiment: Experiment, folder: RunFolder, updates: Updates, clock: Clock, stop: StopRequest
) -> tuple[AgentPolicy, int]:
    """Agents that see no features, trained in the same program; kept, so that it is done once.

    Returns:
      The agents and the number of updates they learned for (a whole number of chunks).
    """
    config = experiment.config
    count = -(-config.evaluate.blind_updates // updates.length) * updates.length
    settings = experiment.learner.config.replace(num_updates=count)
    blind = experiment.learner.replace(
        config=settings, feature_mask=np.zeros_like(experiment.learner.feature_mask)
    )
    state = updates.place(updates.start(blind, init(blind, learner_key(config, blind=True))))
    kept = load_snapshot(folder, "blind", count, blind.policy(state))
    if kept is not None:
        return kept, count
    if updates._program is None:
        updates.compile(blind, state)
        clock.compiling += updates.seconds_compile
    with Bar("updates of state-blind agents", count) as bar:
        for done in range(updates.length, count + 1, updates.length):
            stop.stop()
            state, rows = updates(blind, state)
            bar.show(done, f"return {rows[-1]['return']:.3f}")
    save_snapshot(folder, "blind", count, blind.policy(state))
    return blind.policy(state), count


def save_snapshot(folder: RunFolder, name: str, update: int, policy: AgentPolicy) -> None:
    """Keep agents as they stand, in a small file; one of several processes writes it."""
    if not hosts.leads():
        return
    content = serialization.to_bytes((policy.params, policy.normalizer))
    write_whole(folder.snapshots / f"{name}_{update:05d}.msgpack", content)


def load_snapshot(
    folder: RunFolder, name: str, update: int, like: AgentPolicy
) -> AgentPolicy | None:
    """What `save_snapshot` kept, None if it is not there."""
    path = folder.snapshots / f"{name}_{update:05d}.msgpack"
    if not path.is_file():
        return None
    try:
        params, normalizer = serialization.from_bytes(
            (like.params, like.normalizer), path.read_bytes()
        )
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return like.replace(params=params, normalizer=normalizer)


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
        "log_loss": interval.estimate,
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
