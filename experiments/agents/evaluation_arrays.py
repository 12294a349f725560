"""The arrays of an evaluation: kept in a file, and what is read from them more than once."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.runs import arrays as array_files
from experiments.runs.folder import RunFolder
from ganno_jax.evaluation.bootstrap import Interval
from ganno_jax.evaluation.headline import differences
from ganno_jax.evaluation.statistics import area_under_curve, log_losses, replace_diverged
from ganno_jax.evaluation.tables import PolicyResult

Arrays = Mapping[str, np.ndarray]
# Beside whom a gain is the agents' own, in the order of the table, and what the headline calls them.
JUDGES = {
    "base": "their base without agents",
    "replay": "the replay of their mean settings",
    "blind": "state-blind agents",
}

# Kind of the numbers and axes of every array; an axis has one length wherever it stands.
_NUMBERS = {
    **dict.fromkeys(("train_loss", "report_loss", "report_accuracy"), "policy run point"),
    **dict.fromkeys(("rates", "forgetting"), "policy run decision layer"),
    **dict.fromkeys(("final_loss", "final_accuracy"), "policy run"),
    **dict.fromkeys(("selection_loss", "selection_accuracy", "initial_rate"), "policy run"),
    **dict.fromkeys(("mean_schedule", "mean_forgetting"), "decision layer"),
    **dict.fromkeys(("base_rates", "trained_rates", "spike_rates"), "step layer"),
    **dict.fromkeys(("base_forgetting", "trained_forgetting", "spike_forgetting"), "step layer"),
    **dict.fromkeys(("base_loss", "trained_loss", "spike_loss"), "step"),
    **dict.fromkeys(("chance_loss", "tuning_choice_loss"), ""),
    **dict.fromkeys(("tuning_peaks", "tuning_forgetting"), "setting"),
    "peaks": "policy",
    "shapes": "schedule step",
    "tuning_log_loss": "tuned setting",
    "tuning_chosen": "tuned pair",
}
_AXES = {
    "f": _NUMBERS,
    "i": {"steps": "point", "tuning_seeds": "tuned setting", "tuning_trainings": ""},
    "b": {"diverged": "policy run"},
    "U": {
        **dict.fromkeys(("keys", "names", "kinds"), "policy"),
        **{"layers": "layer", "tuning_names": "tuned", "tuning_best": ""},
    },
}
# Where a number may be missing: along a training that diverged, and the peak of what has none.
_LOSSES = (
    "train_loss",
    "report_loss",
    "report_accuracy",
    "base_loss",
    "trained_loss",
    "spike_loss",
)
_MAY_BE_NAN = (*_LOSSES, "peaks")
_OF_RUNS = ("final_loss", "final_accuracy", "selection_loss", "selection_accuracy")


def store(folder: RunFolder, arrays: Arrays) -> None:
    """Keep the arrays of an evaluation."""
    array_files.write(folder.arrays, arrays)


def stored(folder: RunFolder) -> dict[str, np.ndarray]:
    """The arrays of the last evaluation.

    Raises:
      ValueError: there are none, or the file is damaged.
      KeyError: one of them is missing.
    """
    if not folder.arrays.is_file():
        raise ValueError(f"no {folder.arrays}; the run was not evaluated yet")
    arrays = array_files.read(folder.arrays)
    _require_axes(arrays)
    _require_numbers(arrays)
    return arrays


def _require_axes(arrays: Arrays) -> None:
    """Raise a `ValueError` where an array is of another kind, or an axis of another length than elsewhere."""
    lengths = {"pair": (2, "every pair")}
    for kind, names in _AXES.items():
        for name, axes in names.items():
            array, words = arrays[name], axes.split()
            if array.dtype.kind != kind or array.ndim != len(words):
                raise ValueError(
                    f"`{name}` must be an array [{axes}] of kind {kind!r}; got {array.dtype} {list(array.shape)}"
                )
            for axis, length in zip(words, array.shape, strict=True):
                expected, where = lengths.setdefault(axis, (length, name))
                if length != expected:
                    raise ValueError(
                        f"`{name}` has {length} along {axis}, where {where} has {expected}"
                    )
    if lengths["point"][0] != lengths["decision"][0] + 1 or 0 in arrays["rates"].shape:
        raise ValueError(
            f"`rates` must have one decision less than `steps` has points, and at least one of each axis; "
            f"got {list(arrays['rates'].shape)} and {lengths['point'][0]} points"
        )


def _require_numbers(arrays: Arrays) -> None:
    """Raise a `ValueError` for NaN and infinities where there may be none, and for choices that are none."""
    healthy = ~arrays["diverged"]
    for name in _NUMBERS:
        values = arrays[name][healthy] if name in _OF_RUNS else arrays[name]
        if name not in _MAY_BE_NAN and not np.isfinite(values).all():
            raise ValueError(f"`{name}` holds NaN or infinities")
    if not (arrays["initial_rate"] > 0).all() or not arrays["chance_loss"] > 0:
        raise ValueError("`initial_rate` and `chance_loss` must be above 0")
    grid = np.stack([arrays["tuning_peaks"], arrays["tuning_forgetting"]], axis=1)
    if not all((grid == chosen).all(axis=1).any() for chosen in arrays["tuning_chosen"]):
        raise ValueError("`tuning_chosen` must be among the settings that were tried")
    best, found = str(arrays["tuning_best"]), [str(key) for key in arrays["keys"]]
    if best not in arrays["tuning_names"] or not {best, "agents", "base"} <= set(found):
        raise ValueError("`keys` must name the agents, their base and the chosen schedule")
    for name in ("keys", "names"):
        if len(set(arrays[name].tolist())) != len(found):
            raise ValueError(f"`{name}` must differ")


def results_of(arrays: Arrays) -> list[PolicyResult]:
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


def log_losses_of(arrays: Arrays, name: str = "final_loss") -> np.ndarray:
    """At the end of the runs, `[policy, run]`; of the report split, or of another."""
    return log_losses(arrays[name], float(arrays["chance_loss"]), arrays["diverged"])


def accuracies_of(arrays: Arrays, name: str = "final_accuracy") -> np.ndarray:
    """At the end of the runs, `[policy, run]`; a run that diverged counts as guessing."""
    guessed = math.exp(-float(arrays["chance_loss"]))
    return replace_diverged(arrays[name], guessed, arrays["diverged"])


def index_of(arrays: Arrays, key: str) -> int:
    """Place of a policy among the policies, by its key."""
    return [str(k) for k in arrays["keys"]].index(key)


def best_schedule(arrays: Arrays) -> int:
    """The one that tuning chose, by the selection split on tuning seeds."""
    return index_of(arrays, str(arrays["tuning_best"]))


def judges_of(arrays: Arrays) -> list[str]:
    """Keys of those beside which a gain is the agents' own."""
    return [key for key in JUDGES if key in arrays["keys"]]


def _chosen(arrays: Arrays) -> str:
    """Peak of the chosen schedule, and its forgetting where that was tuned too."""
    row = [str(name) for name in arrays["tuning_names"]].index(str(arrays["tuning_best"]))
    peak, forgetting = arrays["tuning_chosen"][row]
    tuned = len(np.unique(arrays["tuning_forgetting"])) > 1
    return f"{peak:.2g} and forgetting {forgetting:.2g}" if tuned else f"{peak:.2g}"


def against(arrays: Arrays, results: Sequence[PolicyResult], best: int) -> dict[str, Interval]:
    """Differences of the agents to their judges and to the chosen schedule, by what the headline calls them.

    Args:
      arrays: of the evaluation.
      results: of `results_of`.
      best: place of the chosen schedule among the policies.
    """
    names = [str(name) for name in arrays["names"]]
    called = {names[index_of(arrays, key)]: JUDGES[key] for key in judges_of(arrays)}
    called[names[best]] = (
        f"{names[best]} at {_chosen(arrays)}, the best of {len(arrays['tuning_names'])} tuned schedules"
    )
    ours = names[index_of(arrays, "agents")]
    found = differences(results, ours, list(called), float(arrays["chance_loss"]))
    return {called[name]: difference for name, difference in found.items()}
