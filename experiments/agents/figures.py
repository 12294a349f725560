"""All figures of a run, from the arrays of its evaluation."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.agents.evaluation_arrays import JUDGES, Arrays, index_of, log_losses_of
from experiments.runs.folder import RunFolder
from experiments.runs.logs import numbers_of, read_finished
from ganno_jax import plots
from ganno_jax.evaluation.spikes import find_spike
from ganno_jax.evaluation.statistics import replace_diverged
from ganno_jax.evaluation.tables import Row
from ganno_jax.policies.schedules import DISPLAY_NAMES

SMOOTHED = 10  # inner steps over which the loss is averaged to find a spike


Drawn = tuple[str, Any, str]  # name of the file, figure, caption


def draw(folder: RunFolder, arrays: Arrays, rows: list[Row], best: int) -> list[tuple[str, str]]:
    """Draw and save all figures; captions and paths in the order of the report.

    Args:
      folder: of the run.
      arrays: of its evaluation.
      rows: of the table of policies.
      best: place of the chosen schedule among the policies.
    """
    names = [str(name) for name in arrays["names"]]
    ours = index_of(arrays, "agents")
    keys = [str(key) for key in arrays["keys"]]
    shown = [names[i] for i in (ours, best, *(keys.index(key) for key in JUDGES if key in keys))]
    made: list[tuple[str, str]] = []
    for figures in (
        [_policies(rows, names[ours]), _learning_curve(folder, arrays)],
        _one_run(arrays),
        _all_runs(arrays, names, keys, shown),
        [_schedules(arrays)],
    ):
        for name, figure, caption in figures:  # saved before the next ones are drawn
            plots.save(figure, folder.figures / f"{name}.png")
            made.append((caption, f"figures/{name}.png"))
    return made


def _policies(rows: list[Row], ours: str) -> Drawn:
    caption = (
        "Mean final log test loss of every policy with 95% bootstrap intervals; the strip is "
        "the interval of the best, arrows are policies far off."
    )
    return "policies", plots.forest(rows, [ours]), caption


def _learning_curve(folder: RunFolder, arrays: Arrays) -> Drawn:
    """Of the evaluations during training; where there were none, of the return."""
    curve = read_finished(folder.curve)
    if len(curve) <= 1:
        lines = read_finished(folder.metrics)
        figure = plots.learning_curve(
            np.array(numbers_of(lines, "update")),
            np.array(numbers_of(lines, "return")),
            ylabel="return",
        )
        caption = "Mean return of the training runs over the agents' updates."
        return "learning_curve", figure, caption
    names = ("update", "selection_log_loss", "lower", "upper", "seconds")
    columns = {name: np.array(numbers_of(curve, name)) for name in names}
    row = [str(name) for name in arrays["tuning_names"]].index(str(arrays["tuning_best"]))
    peak, forgetting = arrays["tuning_chosen"][row]
    column = (arrays["tuning_peaks"] == peak) & (arrays["tuning_forgetting"] == forgetting)
    figure = plots.learning_curve(
        columns["update"],
        columns["selection_log_loss"],
        columns["lower"],
        columns["upper"],
        bar=float(arrays["tuning_log_loss"][row][column][0]),
        seconds=columns["seconds"] - columns["seconds"][0],
    )
    caption = (
        "The agents over their updates, on the selection split and tuning seeds; the line is the best tuned "
        "schedule on tuning seeds."
    )
    return "learning_curve", figure, caption


def _one_run(arrays: Arrays) -> Iterator[Drawn]:
    """What agents do in one run: rates of the layers, and the largest rise of the loss."""
    layers = [str(layer) for layer in arrays["layers"]]
    inner_steps = np.arange(arrays["trained_loss"].size)
    yield (
        "layer_rates",
        plots.layer_rates(
            inner_steps,
            arrays["base_rates"],
            arrays["trained_rates"],
            arrays["base_loss"],
            arrays["trained_loss"],
            layers,
            ("base, no agents", "trained agents"),
        ),
        "Learning rate of each layer, and below it the training loss, in the same run under the "
        "agents' base alone and under the trained agents.",
    )
    smooth = _smoothed(arrays["spike_loss"])
    spike = find_spike(smooth)
    if spike is not None:
        yield (
            "spike",
            plots.spike_zoom(inner_steps, arrays["spike_rates"], smooth, layers, spike),
            "The largest rise of the training loss under the trained agents (mean over "
            f"{SMOOTHED} steps), and what they did about it.",
        )


def _all_runs(
    arrays: Arrays, names: list[str], keys: list[str], shown: list[str]
) -> Iterator[Drawn]:
    """Final losses and accuracies of all runs."""
    finals, chance = log_losses_of(arrays), float(arrays["chance_loss"])
    untuned = [names[i] for i, key in enumerate(keys) if key.endswith("_untuned")]
    rates = arrays["initial_rate"]
    yield (
        "sensitivity",
        plots.sensitivity(
            {name: (rates[i], finals[i]) for i, name in enumerate(names)},
            [*shown, *untuned],
            chance=math.log(chance),
        ),
        "Final log test loss against the learning rate that a run began with: median and "
        "middle half of the runs. Tuned schedules do not look at that rate.",
    )
    accuracy = replace_diverged(arrays["report_accuracy"], math.exp(-chance))
    yield (
        "accuracy",
        plots.accuracy_over_steps(
            arrays["steps"],
            {"test": dict(zip(names, accuracy, strict=True))},
            shown,
        ),
        "Mean test accuracy over inner steps with 95% bootstrap bands.",
    )
    yield (
        "profiles",
        plots.performance_profiles(dict(zip(names, finals, strict=True)), shown),
        "Share of runs that end at or below each loss: further left and up is better.",
    )


def _schedules(arrays: Arrays) -> Drawn:
    shapes = {
        DISPLAY_NAMES[str(name)]: shape
        for name, shape in zip(arrays["tuning_names"], arrays["shapes"], strict=False)
    }
    figure = plots.schedules(np.arange(arrays["shapes"].shape[1]), shapes)
    return "schedules", figure, "The handcrafted schedules at peak 1."


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """Mean over the last `SMOOTHED` steps, over fewer at the start."""
    sums = np.cumsum(np.concatenate([[0.0], losses]))
    ends = np.arange(1, losses.size + 1)
    starts = np.maximum(ends - SMOOTHED, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
