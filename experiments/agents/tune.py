"""Peaks and forgetting of the handcrafted schedules by successive halving, on the selection split and tuning seeds."""

import itertools
from collections.abc import Sequence

import numpy as np

from experiments.agents import compared
from experiments.agents.build import Experiment, initial_rates, run_keys
from experiments.agents.compared import ComparedPolicy, Evaluator
from experiments.runs.progress import Bar, say
from ganno_jax.evaluation import Rung, successive_halving
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.evaluation.tuning import TUNABLE, TunedSchedules, by_schedule, rungs_of


def arrays_of(tuning: TunedSchedules) -> dict[str, np.ndarray]:
    """For the file of an evaluation; settings are a peak and a forgetting."""
    peaks, forgettings = np.array(tuning.grid).T
    return {
        "tuning_log_loss": tuning.log_loss,
        "tuning_seeds": tuning.num_seeds,
        "tuning_peaks": peaks,
        "tuning_forgetting": forgettings,
        "tuning_names": np.array(TUNABLE),
        "tuning_chosen": np.array(list(tuning.chosen.values())),
        "tuning_best": np.array(tuning.best),
        "tuning_choice_loss": np.array(tuning.choice_loss),
        "tuning_trainings": np.array(tuning.trainings),
    }


def tune(experiment: Experiment, evaluator: Evaluator, ours: ComparedPolicy) -> TunedSchedules:
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
    tuned = by_schedule(found, grid)
    peak, forgetting = tuned.chosen[tuned.best]
    say(
        f"tuned: {tuned.best} at {peak:.2g}, forgetting {forgetting:.2g}, of {len(settings)} settings, "
        f"{tuned.trainings} trainings; expected loss from a bad choice {tuned.choice_loss:.4f}"
    )
    return tuned


def planned(num_settings: int, rungs: Sequence[Rung]) -> int:
    """Trainings that the rungs take in all."""
    total, left = num_settings * rungs[0].seeds, num_settings
    for rung, following in itertools.pairwise(rungs):
        left = min(left, rung.kept)
        total += left * (following.seeds - rung.seeds)
    return total
