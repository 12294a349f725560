"""The learning curve of a run: greedy agents on tuning seeds every so many updates."""

from experiments.agents import compared
from experiments.agents.build import Experiment, initial_rates, run_keys
from experiments.agents.snapshots import save_snapshot
from experiments.agents.updates import LearningClock
from experiments.runs import hosts
from experiments.runs.folder import RunFolder
from experiments.runs.logs import Lines, read_lines
from experiments.runs.session import Session
from ganno_jax.evaluation.bootstrap import bootstrap_interval
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.policies import AgentPolicy


class Curve:
    """The file of a run's learning curve; points of a run that goes on are not made again.

    Args:
      experiment: of the run.
      folder: of the run.
      evaluator: of its env.
      clock: of the run.
      session: where the agents are.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        evaluator: compared.Evaluator,
        clock: LearningClock,
        session: Session,
    ):
        self._experiment, self._folder, self._session = experiment, folder, session
        self._evaluator, self._clock = evaluator, clock
        self._lines = Lines(folder.curve, session.update)
        self._seen = {line["update"] for line in read_lines(folder.curve)}

    def point(self) -> None:
        """Evaluate the agents as they stand, where a point of the curve is due; keep the first that have learned."""
        config, update = self._experiment.config, self._session.update
        every, total = config.evaluate.curve_every, config.learner.num_updates
        known = hosts.largest(update in self._seen)
        if not every or known or (update % every and update != total):
            return
        policy = self._experiment.learner.policy(self._session.state)
        line = self._evaluated(policy)
        self._lines.write({"update": update, **line})
        self._session.show("evaluation", {"selection_log_loss": line["selection_log_loss"]})
        if 0 < update < total and not list(self._folder.snapshots.glob("early_*")):
            save_snapshot(self._folder, "early", update, policy)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def _evaluated(self, policy: AgentPolicy) -> dict[str, float]:
        """Mean final log selection loss of the greedy agents on tuning seeds."""
        config, env = self._experiment.config, self._experiment.env
        runs = config.evaluate.curve_runs
        before = self._evaluator.seconds_compile  # a run resumed at its end compiles here
        curves = self._evaluator(
            [compared.agents(policy, env.num_decisions, env.num_layers)],
            run_keys(config, runs, report=False),
            initial_rates(config, runs),
        )
        self._clock.compiling += self._evaluator.seconds_compile - before
        chance = self._experiment.chance_loss
        losses = log_losses(curves.selection_loss[0], chance, curves.diverged[0])
        interval = bootstrap_interval(losses, num_resamples=2000)
        return {
            "selection_log_loss": interval.estimate,
            "lower": interval.lower,
            "upper": interval.upper,
            "seconds": self._clock.seconds,
        }
