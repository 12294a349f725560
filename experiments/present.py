"""Tables, figures, report and summary of a finished run, from what it stored. No JAX work."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments import arrays as array_files
from experiments.folder import RunFolder, write_json
from experiments.logs import read_lines
from experiments.report import write_report
from ganno_jax import plots
from ganno_jax.evaluation.spikes import Spike, find_spike
from ganno_jax.evaluation.statistics import (
    area_under_curve,
    log_losses,
    paired_difference,
    replace_diverged,
    worst_decile,
)
from ganno_jax.evaluation.tables import PolicyResult, Row, headline, summarize, write_csv
from ganno_jax.policies.schedules import DISPLAY_NAMES

Arrays = Mapping[str, np.ndarray]
SMOOTHED = 10  # inner steps over which the loss is averaged to find a spike


@dataclasses.dataclass(frozen=True)
class Presented:
    """What the last lines on the terminal are made from."""

    rows: list[Row]
    headline: str
    summary: dict[str, Any]


def store(folder: RunFolder, arrays: Arrays) -> None:
    """Keep the arrays of an evaluation."""
    array_files.write(folder.arrays, arrays)


def stored(folder: RunFolder) -> dict[str, np.ndarray]:
    """The arrays of the last evaluation.

    Raises:
      ValueError: there are none, or the file is damaged.
    """
    if not folder.arrays.is_file():
        raise ValueError(f"no {folder.arrays}; the run was not evaluated yet")
    return array_files.read(folder.arrays)


def present(folder: RunFolder, timing_fn: Callable[[], Mapping[str, float]]) -> Presented:
    """Write tables, figures, `summary.json` and `report.html`.

    Args:
      folder: of a run whose arrays are stored.
      timing_fn: called once all else is done: seconds_total, seconds_compile,
        inner_steps_per_second.
    """
    arrays = stored(folder)
    description = json.loads(folder.config.read_text(encoding="utf-8"))
    results = _results(arrays)
    best = _best_schedule(arrays)
    names = [str(name) for name in arrays["names"]]
    rows = summarize(results, names[best], float(arrays["chance_loss"]))
    ours = names[_index(arrays, "agents")]
    folder.tables.mkdir(parents=True, exist_ok=True)
    write_csv(rows, folder.tables / "policies.csv")
    tuning = _tuning_rows(arrays)
    write_csv(tuning, folder.tables / "tuning.csv")
    figures = _figures(folder, arrays, rows, best)
    sentence = headline(rows, ours)
    timing = dict(timing_fn())
    numbers: dict[str, Any] = {**_numbers(arrays, best), **timing}
    write_json(folder.summary, {"headline": sentence, **numbers})
    intervals = {k: v for k, v in numbers.items() if isinstance(v, list)}
    shown = numbers | {k: f"{low:.4f} to {high:.4f}" for k, (low, high) in intervals.items()}
    write_report(
        folder.path,
        f"ganno_jax: {description['config']['preset']} ({folder.path.name})",
        {"headline": sentence, **shown},
        [
            (
                "Every policy in the same runs, best on top. Differences are to "
                f"{names[best]}, the best of the tuned schedules in these runs.",
                rows,
            ),
            (
                "Tuning: mean final log selection loss at each peak rate, on seeds of its own.",
                _wide(tuning),
            ),
        ],
        figures,
        description,
        _notes(arrays, description),
    )
    return Presented(rows, sentence, numbers)


def _results(arrays: Arrays) -> list[PolicyResult]:
    """One per policy."""
    chance = float(arrays["chance_loss"])
    results = []
    for i, name in enumerate(arrays["names"]):
        losses, accuracies = arrays["report_loss"][i], arrays["report_accuracy"][i]
        peak = float(arrays["peaks"][i])
        results.append(
            PolicyResult(
                name=str(name),
                kind=str(arrays["kinds"][i]),
                peak=None if math.isnan(peak) else peak,
                final_loss=arrays["final_loss"][i],
                final_accuracy=arrays["final_accuracy"][i],
                selection_loss=arrays["selection_loss"][i],
                selection_accuracy=arrays["selection_accuracy"][i],
                auc=area_under_curve(losses, chance),
                diverged=arrays["diverged"][i],
                initial_rate=arrays["initial_rate"][i],
                loss_curve=losses,
                accuracy_curve=accuracies,
                steps=arrays["steps"],
            )
        )
    return results


def _log_losses(arrays: Arrays, name: str = "final_loss") -> np.ndarray:
    """At the end of the runs, `[policy, run]`; of the report split, or of another."""
    return log_losses(arrays[name], float(arrays["chance_loss"]), arrays["diverged"])


def _index(arrays: Arrays, key: str) -> int:
    return [str(k) for k in arrays["keys"]].index(key)


def _best_schedule(arrays: Arrays) -> int:
    """Lowest mean on the selection split in the reported runs."""
    means = _log_losses(arrays, "selection_loss").mean(axis=1)
    return int(np.argmin(np.where(arrays["kinds"] == "schedule", means, np.inf)))


def _numbers(arrays: Arrays, best: int) -> dict[str, Any]:
    """The headline numbers, machine readable: of the report split, and as `selection_*` of the other."""
    return {
        **_numbers_of(arrays, best, "final"),
        "best_schedule_name": str(arrays["keys"][best]),
        "evaluation_runs": int(arrays["final_loss"].shape[1]),
        **{f"selection_{k}": v for k, v in _numbers_of(arrays, best, "selection").items()},
    }


def _numbers_of(arrays: Arrays, best: int, split: str) -> dict[str, Any]:
    """Of one split: "final" is the report split."""
    losses, ours = _log_losses(arrays, f"{split}_loss"), _index(arrays, "agents")
    difference = paired_difference(losses[ours], losses[best])
    guessed = math.exp(-float(arrays["chance_loss"]))
    accuracy = replace_diverged(arrays[f"{split}_accuracy"], guessed, arrays["diverged"])
    return {
        "controller": float(losses[ours].mean()),
        "best_schedule": float(losses[best].mean()),
        "paired_difference": difference.estimate,
        "paired_difference_ci95": [difference.lower, difference.upper],
        "controller_accuracy": float(accuracy[ours].mean()),
        "best_schedule_accuracy": float(accuracy[best].mean()),
        "controller_accuracy_median": float(np.median(accuracy[ours])),
        "controller_accuracy_worst_decile": float(worst_decile(accuracy[ours])),
    }


def _tuning_rows(arrays: Arrays) -> list[Row]:
    """One row per schedule and peak."""
    rows = []
    for name, losses in zip(arrays["tuning_names"], arrays["tuning_log_loss"], strict=True):
        for peak, loss in zip(arrays["tuning_peaks"], losses, strict=True):
            rows.append(
                {
                    "schedule": str(name),
                    "peak": float(peak),
                    "log_loss": float(loss),
                    "best": int(loss == losses.min()),
                }
            )
    return rows


def _wide(tuning: list[Row]) -> list[Row]:
    """One row per schedule, one column per peak."""
    rows: dict[str, Row] = {}
    for row in tuning:
        wide = rows.setdefault(row["schedule"], {"schedule": row["schedule"]})
        wide[f"{row['peak']:.3g}"] = row["log_loss"]
    return list(rows.values())


def _notes(arrays: Arrays, description: Mapping[str, Any]) -> list[str]:
    evaluate = description["config"]["evaluate"]
    notes = [
        f"Run i of every policy is the same training; its initial rate is the middle of part i of "
        f"{evaluate['num_runs']} equal parts of the whole range on a log scale.",
        "Random numbers: the agents learned with stream 0 of the training seed "
        f"{description['config']['seed']} (state-blind agents: stream 1); schedules were tuned on "
        f"{evaluate['tuning_runs']} runs of stream 2 of the evaluation seed {evaluate['seed']}, "
        "which also gave the learning curve and the agents' mean schedule; the report is on "
        "stream 3. No stream is used twice.",
        "A diverged run counts as guessing and is never left out.",
        "Tuned schedules ignore the initial rate; those called untuned peak at it.",
    ]
    edges = [
        str(name)
        for name, losses in zip(arrays["tuning_names"], arrays["tuning_log_loss"], strict=True)
        if np.argmin(losses) in (0, len(losses) - 1) and len(losses) > 1
    ]
    if edges:
        notes.append(
            f"The best peak is at an end of the grid for: {', '.join(edges)}. A longer grid "
            "(--evaluate.peaks) might find a better one."
        )
    return notes


def _figures(
    folder: RunFolder, arrays: Arrays, rows: list[Row], best: int
) -> list[tuple[str, str]]:
    """Draw and save all figures; captions and paths in the order of the report."""
    names = [str(name) for name in arrays["names"]]
    finals, ours = _log_losses(arrays), _index(arrays, "agents")
    chance = float(arrays["chance_loss"])
    keys = [str(key) for key in arrays["keys"]]
    untuned = [i for i, key in enumerate(keys) if key.endswith("_untuned")]
    others = [keys.index(key) for key in ("replay", "blind", "untrained") if key in keys]
    shown = [names[i] for i in (ours, best, *others)]
    made: list[tuple[str, str]] = []

    def save(name: str, figure: Any, caption: str) -> None:
        plots.save(figure, folder.figures / f"{name}.png")
        made.append((caption, f"figures/{name}.png"))

    save(
        "policies",
        plots.forest(rows, [names[ours]]),
        "Mean final log test loss of every policy with 95% bootstrap intervals; the strip is "
        "the interval of the best, arrows are policies far off.",
    )
    curve = read_lines(folder.curve)
    if len(curve) > 1:
        columns = {name: np.array([line[name] for line in curve]) for name in curve[0]}
        bar = float(arrays["tuning_log_loss"].min())
        figure = plots.learning_curve(
            columns["update"],
            columns["log_loss"],
            columns["lower"],
            columns["upper"],
            bar=bar,
            seconds=columns["seconds"] - columns["seconds"][0],
        )
        caption = (
            "The agents over their updates, on the selection split and tuning seeds; the line is the best tuned "
            "schedule on tuning seeds."
        )
    else:
        lines = read_lines(folder.metrics)
        figure = plots.learning_curve(
            np.array([line["update"] for line in lines]),
            np.array([line["return"] for line in lines]),
            ylabel="return",
        )
        caption = "Mean return of the training runs over the agents' updates."
    save("learning_curve", figure, caption)
    layers = [str(layer) for layer in arrays["layers"]]
    inner_steps = np.arange(arrays["trained_loss"].size)
    save(
        "layer_rates",
        plots.layer_rates(
            inner_steps,
            arrays["untrained_rates"],
            arrays["trained_rates"],
            arrays["untrained_loss"],
            arrays["trained_loss"],
            layers,
            ("untrained agents", "trained agents"),
        ),
        "Learning rate of each layer, and below it the training loss, in the same run under agents "
        "before and after they learned.",
    )
    smooth = _smoothed(arrays["spike_loss"])
    spike = find_spike(smooth)
    if spike is not None:
        save(
            "spike",
            plots.spike_zoom(
                inner_steps,
                arrays["spike_rates"],
                smooth,
                layers,
                Spike(spike.start, spike.peak, spike.height),
            ),
            "The largest rise of the training loss under the trained agents (mean over "
            f"{SMOOTHED} steps), and what they did about it.",
        )
    rates = arrays["initial_rate"]
    save(
        "sensitivity",
        plots.sensitivity(
            {name: (rates[i], finals[i]) for i, name in enumerate(names)},
            [*shown, *(names[i] for i in untuned)],
            chance=math.log(chance),
        ),
        "Final log test loss against the learning rate that a run began with: median and "
        "middle half of the runs. Tuned schedules do not look at that rate.",
    )
    accuracy = replace_diverged(arrays["report_accuracy"], math.exp(-chance))
    save(
        "accuracy",
        plots.accuracy_over_steps(
            arrays["steps"],
            {"test": dict(zip(names, accuracy, strict=True))},
            shown,
        ),
        "Mean test accuracy over inner steps with 95% bootstrap bands.",
    )
    save(
        "profiles",
        plots.performance_profiles(dict(zip(names, finals, strict=True)), shown),
        "Share of runs that end at or below each loss: further left and up is better.",
    )
    shapes = {
        DISPLAY_NAMES[str(name)]: shape
        for name, shape in zip(arrays["tuning_names"], arrays["shapes"], strict=False)
    }
    save(
        "schedules",
        plots.schedules(np.arange(arrays["shapes"].shape[1]), shapes),
        "The handcrafted schedules at peak 1.",
    )
    return made


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """Mean over the last `SMOOTHED` steps, over fewer at the start."""
    sums = np.cumsum(np.concatenate([[0.0], losses]))
    ends = np.arange(1, losses.size + 1)
    starts = np.maximum(ends - SMOOTHED, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
