"""Peaks and forgetting of the handcrafted schedules by successive halving, on the selection split and tuning seeds."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from experiments.agents import compared
from experiments.agents.build import Experiment, initial_rates, run_keys
from experiments.agents.compared import ComparedPolicy, Evaluator
from experiments.runs.progress import Bar, say
from ganno_jax.evaluation import Rung, successive_halving
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.evaluation.tuning import TUNABLE, best_of_each, rungs_of


@dataclass(frozen=True)
class Tuning:
    """What was tried. Losses are mean final log selection losses over the seeds that a setting was run with."""

    grid: tuple[tuple[float, float], ...]  # of peaks and forgetting
    log_loss: Float[np.ndarray, "schedule setting"]
    num_seeds: Int[np.ndarray, "schedule setting"]
    best: str  # the schedule that was chosen among all
    choice_loss: float  # expected loss from a bad choice, by resampling the seeds
    trainings: int

    @property
    def chosen(self) -> dict[str, tuple[float, float]]:
        """Peak and forgetting of every schedule: the best of those that were run with most seeds."""
        chosen = best_of_each(self.log_loss, self.num_seeds)
        return {name: self.grid[i] for name, i in zip(TUNABLE, chosen, strict=True)}

    def arrays(self) -> dict[str, np.ndarray]:
        """For the file of an evaluation."""
        return {
            "tuning_log_loss": self.log_loss,
            "tuning_seeds": self.num_seeds,
            "tuning_peaks": np.array([peak for peak, _ in self.grid]),
            "tuning_forgetting": np.array([forgetting for _, forgetting in self.grid]),
            "tuning_names": np.array(TUNABLE),
            "tuning_chosen": np.array(list(self.chosen.values())),
            "tuning_best": np.array(self.best),
            "tuning_choice_loss": np.array(self.choice_loss),
            "tuning_trainings": np.array(self.trainings),
        }


def tune(experiment: Experiment, evaluator: Evaluator, ours: ComparedPolicy) -> Tuning:
    """Every schedule at every peak with few seeds, the best with more, finalists with all tuning seeds.

    Args:
      experiment: whose trainings they are.
      evaluator: of its env.
      ours: the agents, of which the schedules are made.
    """
    config = experiment.config
    forgettings = config.evaluate.forgettings or (0.0,)
    grid = tuple(itertools.product(config.evaluate.peaks, forgettings))
    settings = [compared.tuned(ours, name, *setting) for name in TUNABLE for setting in grid]
    runs = config.evaluate.tuning_runs
    keys, rates = run_keys(config, runs, report=False), initial_rates(config, runs)
    rungs = rungs_of(len(settings), runs)
    cost, done = planned(len(settings), rungs), 0
    say(
        f"tuning: {len(TUNABLE)} schedules at {len(grid)} settings, halved to {rungs[-2].kept} with {runs} seeds each: "
        f"{cost} trainings of {experiment.env.total_steps} steps"
    )
    with Bar("tuning runs", cost) as bar:

        def run(chosen: np.ndarray, seeds: np.ndarray) -> np.ndarray:
            nonlocal done
            before = done
            curves = evaluator(
                [settings[i] for i in chosen],
                keys[seeds],
                rates[seeds],
                lambda count: bar.show(before + count),
            )
            done += chosen.size * seeds.size
            return log_losses(curves.selection_loss, experiment.chance_loss, curves.diverged)

        found = successive_halving(run, len(settings), rungs)
    shape = (len(TUNABLE), len(grid))
    schedule, place = divmod(found.best, len(grid))
    peak, forgetting = grid[place]
    say(
        f"tuned: {TUNABLE[schedule]} at {peak:.2g}, forgetting {forgetting:.2g}, of {len(settings)} settings, "
        f"{found.trainings} trainings; expected loss from a bad choice {found.choice_loss:.4f}"
    )
    return Tuning(
        grid=grid,
        log_loss=found.means.reshape(shape),
        num_seeds=np.isfinite(found.losses).sum(axis=1).reshape(shape),
        best=TUNABLE[schedule],
        choice_loss=found.choice_loss,
        trainings=found.trainings,
    )


def planned(num_settings: int, rungs: Sequence[Rung]) -> int:
    """Trainings that the rungs take in all."""
    total, left = num_settings * rungs[0].seeds, num_settings
    for rung, following in itertools.pairwise(rungs):
        left = min(left, rung.kept)
        total += left * (following.seeds - rung.seeds)
    return total
