"""One problem of a suite, ready to be trained on, and how a method is tuned and run on it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from experiments.configs.broad import Effort
from experiments.problems.problem import Problem
from experiments.suites.settings import Settings
from ganno_jax.evaluation.halving import Halving, successive_halving
from ganno_jax.evaluation.optax_loop import LoopOptimizer, LoopResult, Numbers, plan_of, run
from ganno_jax.inner import Training

REPORT_SEED, TUNING_SEED = 20_000, 10_000
Info = dict[str, Any]
Maker = Callable[["Bench"], tuple[LoopOptimizer, Numbers]]


@dataclasses.dataclass(frozen=True)
class Method:
    """How a method is made on a bench: its optimizer and its numbers, or what they are tuned over."""

    make_fn: Maker
    settings_fn: Callable[[Problem, Effort], Settings] | None = None
    recorded: int = (
        0  # further runs that it takes to be made, of the tuning runs and no more than there are
    )

    def cost(self, problem: Problem, effort: Effort) -> int:
        """Trainings, about: how many settings join a rung depends on which are good."""
        trainings = effort.num_seeds + min(self.recorded, effort.tuning_seeds)
        if self.settings_fn is not None:
            trainings += self.settings_fn(problem, effort).cost()
        return trainings


@dataclasses.dataclass
class Bench:
    """One problem, ready to be trained on."""

    problem: Problem
    training: Training
    mesh: Mesh
    effort: Effort

    @property
    def total_steps(self) -> int:
        """Of a training."""
        return self.problem.total_steps

    def execute(self, method: Method) -> tuple[LoopResult, Info]:
        """Tune if there is something to tune, then the reported runs."""
        optimizer, numbers = method.make_fn(self)
        info: Info = {"tuning_runs": min(method.recorded, self.effort.tuning_seeds)}
        setting = 0
        if method.settings_fn is not None:
            settings = method.settings_fn(self.problem, self.effort)
            numbers = {name: jnp.asarray(values) for name, values in settings.numbers.items()}
            found = self.tune(optimizer, numbers, settings)
            setting = found.best
            info = {
                **settings.describe(setting),
                "tuning_runs": found.trainings,
                "choice_loss": found.choice_loss,
                "selection_log_loss": float(found.means[setting]),
            }
        runs = self.effort.tuning_seeds + np.arange(self.effort.num_seeds)
        result = self.train(optimizer, numbers, np.full(runs.size, setting), runs, report=True)
        return result, info

    def tune(self, optimizer: LoopOptimizer, numbers: Numbers, settings: Settings) -> Halving:
        """The setting with the lowest mean log loss on the selection split.

        Args:
          optimizer: the method.
          numbers: of all its settings.
          settings: how many there are, and which are tried first and next.
        """

        def losses(settings: np.ndarray, seeds: np.ndarray) -> np.ndarray:
            rows, runs = np.repeat(settings, seeds.size), np.tile(seeds, settings.size)
            found = self.train(optimizer, numbers, rows, runs, report=False)
            return found.selection_log_loss.reshape(settings.size, seeds.size)

        return successive_halving(
            losses,
            settings.count,
            settings.rungs,
            start=settings.start,
            neighbours=settings.neighbours,
        )

    def train(
        self,
        optimizer: LoopOptimizer,
        numbers: Numbers,
        settings: np.ndarray,
        runs: np.ndarray,
        report: bool,
    ) -> LoopResult:
        """Rows of (setting, run); the runs below `effort.tuning_seeds` are those of tuning.

        Args:
          optimizer: the method.
          numbers: of all its settings.
          settings: of each row.
          runs: of each row.
          report: whether the report split is looked at.
        """
        keys = jnp.concatenate(
            [
                keys_of(TUNING_SEED, self.effort.tuning_seeds),
                keys_of(REPORT_SEED, self.effort.num_seeds),
            ]
        )
        on_cpu = self.mesh.devices.flat[0].platform == "cpu"
        return run(
            self.training,
            optimizer,
            numbers,
            keys,
            settings,
            runs,
            plan_of(self.training, self.total_steps),
            self.mesh,
            report=report,
            block=self.effort.num_seeds if on_cpu else 64,
        )


def keys_of(seed: int, count: int) -> PRNGKeyArray:
    """One key per run."""
    return jax.random.split(jax.random.key(seed), count)
