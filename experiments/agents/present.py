"""Tables, figures, report and summary of a finished run, from what it stored. No JAX work."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.agents.evaluation_arrays import (
    JUDGES,
    Arrays,
    accuracies_of,
    against,
    best_schedule,
    index_of,
    judges_of,
    log_losses_of,
    results_of,
    stored,
)
from experiments.agents.figures import draw
from experiments.runs.folder import RunFolder
from experiments.runs.outputs import finish
from ganno_jax.evaluation.bootstrap import paired_difference
from ganno_jax.evaluation.csv_tables import write_csv
from ganno_jax.evaluation.headline import headline
from ganno_jax.evaluation.statistics import worst_decile
from ganno_jax.evaluation.tables import Row, summarize


def present(folder: RunFolder, timing_fn: Callable[[], Mapping[str, float]]) -> dict[str, Any]:
    """Write tables, figures, `summary.json` and `report.html`, and show the result.

    Args:
      folder: of a run whose arrays are stored.
      timing_fn: called once all else is done: seconds_total, seconds_compile,
        inner_steps_per_second.

    Returns:
      The numbers of the summary.
    """
    arrays = stored(folder)
    description = json.loads(folder.config.read_text(encoding="utf-8"))
    results = results_of(arrays)
    best = best_schedule(arrays)
    names = [str(name) for name in arrays["names"]]
    chance = float(arrays["chance_loss"])
    rows = _ordered(summarize(results, names[best], chance), arrays)
    ours = names[index_of(arrays, "agents")]
    folder.tables.mkdir(parents=True, exist_ok=True)
    write_csv(rows, folder.tables / "policies.csv")
    tuning = _tuning_rows(arrays)
    write_csv(tuning, folder.tables / "tuning.csv")
    figures = draw(folder, arrays, rows, best)
    sentence = headline(rows, ours, against(arrays, results, best))
    timing = dict(timing_fn())
    numbers: dict[str, Any] = {**_numbers(arrays, best), **timing}
    tables = [
        (
            "Every policy in the same runs: the agents and what their gain is judged by, then schedules and "
            f"others, best on top. Differences are to {names[best]}, the schedule that tuning chose.",
            rows,
        ),
        (
            "Tuning: mean final log selection loss at each peak rate, over as many tuning seeds as successive "
            "halving gave it.",
            _wide(tuning),
        ),
    ]
    finish(folder, sentence, numbers, tables, figures, _notes(arrays, description))
    return numbers


def _ordered(rows: Sequence[Row], arrays: Arrays) -> list[Row]:
    """The agents and their judges first, then schedules, then the rest, these best on top."""
    keys = dict(zip(arrays["names"].tolist(), arrays["keys"].tolist(), strict=True))
    first = ["agents", *JUDGES]

    def place(row: Row) -> tuple[int, float]:
        key = keys[row["policy"]]
        if key in first:
            return first.index(key), 0.0
        return len(first) + (row["kind"] != "schedule"), row["log_loss"]

    return sorted(rows, key=place)


def _numbers(arrays: Arrays, best: int) -> dict[str, Any]:
    """The headline numbers, machine readable: of the report split, and as `selection_*` of the other."""
    return {
        **_numbers_of(arrays, best, "final"),
        "best_schedule_name": str(arrays["keys"][best]),
        "tuning_runs": int(arrays["tuning_trainings"]),
        "tuning_choice_loss": float(arrays["tuning_choice_loss"]),
        "evaluation_runs": int(arrays["final_loss"].shape[1]),
        **{f"selection_{k}": v for k, v in _numbers_of(arrays, best, "selection").items()},
    }


def _numbers_of(arrays: Arrays, best: int, split: str) -> dict[str, Any]:
    """Of one split: "final" is the report split."""
    losses, ours = log_losses_of(arrays, f"{split}_loss"), index_of(arrays, "agents")
    difference = paired_difference(losses[ours], losses[best])
    to_judges = {
        key: paired_difference(losses[ours], losses[index_of(arrays, key)])
        for key in judges_of(arrays)
    }
    accuracy = accuracies_of(arrays, f"{split}_accuracy")
    return {
        "controller": float(losses[ours].mean()),
        "best_schedule": float(losses[best].mean()),
        "paired_difference": difference.estimate,
        "paired_difference_ci95": [difference.lower, difference.upper],
        **{f"difference_to_{key}": d.estimate for key, d in to_judges.items()},
        **{f"difference_to_{key}_ci95": [d.lower, d.upper] for key, d in to_judges.items()},
        "controller_accuracy": float(accuracy[ours].mean()),
        "best_schedule_accuracy": float(accuracy[best].mean()),
        "controller_accuracy_median": float(np.median(accuracy[ours])),
        "controller_accuracy_worst_decile": float(worst_decile(accuracy[ours])),
    }


def _tuning_rows(arrays: Arrays) -> list[Row]:
    """One row per schedule and peak."""
    rows = []
    columns = ("tuning_names", "tuning_chosen", "tuning_log_loss", "tuning_seeds")
    grid = np.stack([arrays["tuning_peaks"], arrays["tuning_forgetting"]], axis=1)
    for name, chosen, losses, seeds in zip(*(arrays[c] for c in columns), strict=True):
        for setting, loss, count in zip(grid, losses, seeds, strict=True):
            rows.append(
                {
                    "schedule": str(name),
                    "peak": float(setting[0]),
                    "forgetting": float(setting[1]),
                    "selection_log_loss": float(loss),
                    "seeds": int(count),
                    "best": int((setting == chosen).all()),
                }
            )
    return rows


def _wide(tuning: list[Row]) -> list[Row]:
    """One row per schedule, one column per peak: with the forgetting that is best there."""
    rows: dict[str, Row] = {}
    for row in tuning:
        wide, peak = (
            rows.setdefault(row["schedule"], {"schedule": row["schedule"]}),
            f"{row['peak']:.3g}",
        )
        wide[peak] = min(row["selection_log_loss"], wide.get(peak, math.inf))
    return list(rows.values())


def _notes(arrays: Arrays, description: Mapping[str, Any]) -> list[str]:
    evaluate = description["config"]["evaluate"]
    notes = [
        f"Run i of every policy is the same training; its initial rate is the middle of part i of "
        f"{evaluate['num_runs']} equal parts of the whole range on a log scale.",
        "Random numbers: the agents learned with stream 0 of the training seed "
        f"{description['config']['seed']} (state-blind agents: stream 1); schedules were tuned on "
        f"up to {evaluate['tuning_runs']} seeds of stream 2 of the evaluation seed {evaluate['seed']}, "
        "which also gave the learning curve and the agents' mean schedule; the report is on "
        "stream 3. No stream is used twice.",
        f"Tuning took {int(arrays['tuning_trainings'])} trainings by successive halving; resampling its seeds, the "
        f"expected loss from a bad choice is {float(arrays['tuning_choice_loss']):.4f}.",
        "The agents are those of one learner seed; of other seeds they are others "
        "(`python -m experiments.agents.learner_seeds`).",
        "A diverged run counts as guessing and is never left out.",
        "Tuned schedules ignore the initial rate; those called untuned peak at it.",
    ]
    edges = [
        str(name)
        for name, (peak, _) in zip(arrays["tuning_names"], arrays["tuning_chosen"], strict=True)
        if peak in (arrays["tuning_peaks"][0], arrays["tuning_peaks"][-1])
    ]
    if edges:
        notes.append(
            f"The best peak is at an end of the grid for: {', '.join(edges)}. A longer grid "
            "(--evaluate.peaks) might find a better one."
        )
    return notes
