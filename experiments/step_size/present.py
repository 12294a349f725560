"""Tables, figures, summary and report of step-size controllers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.configs.step_size import StepSizeExperiment
from experiments.runs import outputs
from experiments.runs.folder import RunFolder
from experiments.runs.progress import say
from experiments.step_size.evaluation import EvaluateResult
from experiments.step_size.evaluation import write as write_results
from experiments.step_size.other_run import other_run, stored_weights
from experiments.step_size.stored import stored
from ganno_jax.evaluation.tables import Row


def title_of(config: StepSizeExperiment, optimizer: str) -> str:
    """Of a panel: the optimizer and the data set of the test."""
    return f"{optimizer}, {config.data.name}"


def present(
    config: StepSizeExperiment,
    folder: RunFolder,
    found: Mapping[str, EvaluateResult],
    timing: Mapping[str, float],
) -> None:
    """Tables, figures, summary and report.

    Args:
      config: of the run.
      folder: of the run.
      found: evaluations by optimizer.
      timing: seconds by name, for the summary.
    """
    titles = {title_of(config, name): result for name, result in found.items()}
    weights, beside = stored_weights(folder), {}
    if config.step_size.controllers is not None:
        other, place = other_run(config)
        beside = {title_of(other, name): result for name, result in stored(place).items()}
        beside = {title: result for title, result in beside.items() if title not in titles}
    files = write_results(titles, beside, folder.figures, folder.tables)
    figures = [
        (_caption(path.stem), f"figures/{path.name}") for path in files if path.suffix == ".png"
    ]
    numbers: dict[str, Any] = {}
    sentences, tables = [], []
    for (title, result), name in zip(titles.items(), found, strict=True):
        (rates, static), (_, ours) = result.losses["static"], result.losses["controlled"]
        # Geometric mean over seeds, then the worst initial rate and the best.
        of_static, of_ours = (np.exp(np.log(x).mean(axis=1)) for x in (static, ours))
        right, right_static = (
            1 - result.errors[policy][1].mean(axis=1) for policy in ("controlled", "static")
        )
        numbers |= {
            f"{name}_controlled_loss_worst_rate": float(of_ours.max()),
            f"{name}_controlled_loss_best_rate": float(of_ours.min()),
            f"{name}_static_loss_worst_rate": float(of_static.max()),
            f"{name}_static_loss_best_rate": float(of_static.min()),
            f"{name}_controlled_accuracy_worst_rate": float(right.min()),
            f"{name}_controlled_accuracy_best_rate": float(right.max()),
            f"{name}_static_accuracy_worst_rate": float(right_static.min()),
            f"{name}_static_accuracy_best_rate": float(right_static.max()),
        }
        sentences.append(
            f"With {name}, over initial rates from {rates[0]:g} to {rates[-1]:g}, the controlled rate ends between a "
            f"test loss of {of_ours.min():.3f} and {of_ours.max():.3f} (accuracy {right.max():.1%} and "
            f"{right.min():.1%}), the static rate between {of_static.min():.3f} and {of_static.max():.3f} "
            f"({right_static.max():.1%} and {right_static.min():.1%})."
        )
        tables.append((f"{title}: lowest test loss on top", _table(result)))
    shown = len(tables)
    tables.append(("The controllers' weights", weights))
    part = config.step_size
    notes = [
        f"Rows `from any rate`, references and agents: {part.num_runs} seeds from each of "
        f"{len(part.rates)} initial rates. Other rows: {part.num_runs} seeds at the rate shown, constant "
        "or the schedule's peak.",
        "Losses and errors are on the test split; a diverged run costs as much as guessing. The loss "
        "of a row is the geometric mean over its runs.",
        "The best static rate and the schedules' peaks (13, a factor 1.8 apart) are chosen by the selection split, on "
        f"{part.tuning_runs} other seeds: all of them for the rates and the best fifteenth of the schedules' settings.",
        "The controllers were learned on smaller networks, paid by the loss on their training examples as published, "
        "and never saw the test network. Reference "
        "controllers are those of Adriaensen et al. 2022, arXiv:2205.13881.",
    ]
    headline = " ".join(sentences)
    outputs.finish(folder, headline, {**numbers, **timing}, tables, figures, notes, shown)
    for name in ("search", "evaluation"):
        say(f"{timing.get(f'seconds_{name}', 0.0):.0f} s of {name}")


def _table(result: EvaluateResult) -> list[Row]:
    """The comparison as it is shown."""
    rows = [
        {
            "policy": row["policy"],
            "test_loss": math.exp(row["log_loss"]),
            "worst_run": math.exp(row["worst_log_loss"]),
            "test_error": row["error"],
            "worst_error": row["worst_error"],
            "diverged": row["diverged"],
            "rate": row["peak"],
        }
        for row in result.comparison
    ]
    return sorted(rows, key=lambda row: row["test_loss"])


def _caption(stem: str) -> str:
    """Of a figure, by the name of its file."""
    what = {
        "sensitivity_error": "Final test error against the initial rate",
        "sensitivity_loss": "Final test loss against the initial rate",
        "rates": "The controlled rate over a training, one thin line per seed, by initial rate",
        "perturbation": "Mean final log test loss of controllers with randomly changed weights",
    }
    if stem in what:
        return f"{what[stem]}; lines join medians, bands hold the middle half of the seeds."
    kind, _, rest = stem.partition("_")
    return f"{what[kind]}: {rest.replace('_', ', ')}."
