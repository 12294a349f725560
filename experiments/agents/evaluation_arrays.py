"""The arrays of an evaluation: kept in a file, and what is read from them more than once."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.runs import arrays as array_files
from experiments.runs.folder import RunFolder
from ganno_jax.evaluation.headline import differences
from ganno_jax.evaluation.statistics import Interval, area_under_curve, log_losses
from ganno_jax.evaluation.tables import PolicyResult

Arrays = Mapping[str, np.ndarray]
# Beside whom a gain is the agents' own, in the order of the table, and what the headline calls them.
JUDGES = {
    "base": "their base without agents",
    "replay": "the replay of their mean settings",
    "blind": "state-blind agents",
}


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


def index_of(arrays: Arrays, key: str) -> int:
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
    """Differences of the agents to their judges and to the chosen schedule, by what the headline calls them."""
    names = [str(name) for name in arrays["names"]]
    called = {names[index_of(arrays, key)]: JUDGES[key] for key in judges_of(arrays)}
    called[names[best]] = (
        f"{names[best]} at {_chosen(arrays)}, the best of {len(arrays['tuning_names'])} tuned schedules"
    )
    ours = names[index_of(arrays, "agents")]
    found = differences(results, ours, list(called), float(arrays["chance_loss"]))
    return {called[name]: difference for name, difference in found.items()}
