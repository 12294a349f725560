"""From the runs of every policy to the rows of the table, and the table as text.

A row is a plain dict of strings, numbers and None, so that CSV, terminal, report and figures read
the same thing; how it is shown stands in `display`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ganno_jax.evaluation.bootstrap import (
    Interval,
    bootstrap_interval,
    paired_difference,
    probability_of_improvement,
)
from ganno_jax.evaluation.display import Row, format_table
from ganno_jax.evaluation.statistics import (
    interquartile_mean,
    log_losses,
    replace_diverged,
    share_diverged,
    steps_to_reach,
    worst_decile,
)

__all__ = [
    "PolicyResult",
    "Row",
    "format_table",
    "speedup",
    "summarize",
]


@dataclass(frozen=True, eq=False)
class PolicyResult:
    """What one policy did in every run of a suite, on the host.

    Run i of all results shares task, initial weights and batches. Losses are not logged; after a
    divergence they may be anything, and curves should be non-finite. Accuracies are in [0, 1]. A
    measurement that was not made, such as the accuracy of a regression, is `nan` in all runs of all
    policies and stays out of the table. The report split is what a result is; the selection split
    is what peaks, presets and controllers are chosen by, so its numbers flatter what was chosen.

    Attributes:
      name: unique in a table.
      kind: what sort of policy, such as "schedule" or "agents".
      peak: the tuned peak learning rate, None where nothing was tuned.
      final_loss, final_accuracy: on the whole report split, after the last inner step.
      selection_loss, selection_accuracy: on the whole selection split, after the last inner step.
      auc: mean log loss on report examples over the run (`statistics.area_under_curve`).
      diverged: whether the run was stopped as diverged.
      initial_rate: learning rate that the run began with, > 0.
      loss_curve: loss on report examples at `steps`.
      accuracy_curve: accuracy on report examples at `steps`, if it was recorded.
      steps: inner step of each point of the curves; by default 1, 2, ...
      task: which task each run belongs to; by default all to one.
    """

    name: str
    kind: str
    peak: float | None
    final_loss: Float[np.ndarray, " run"]
    final_accuracy: Float[np.ndarray, " run"]
    selection_loss: Float[np.ndarray, " run"]
    selection_accuracy: Float[np.ndarray, " run"]
    auc: Float[np.ndarray, " run"]
    diverged: Bool[np.ndarray, " run"]
    initial_rate: Float[np.ndarray, " run"]
    loss_curve: Float[np.ndarray, "run decision"]
    accuracy_curve: Float[np.ndarray, "run decision"] | None = None
    steps: Int[np.ndarray, " decision"] | None = None
    task: Int[np.ndarray, " run"] | None = None

    def __post_init__(self):
        runs = self.final_loss.shape[0]
        for name in _PER_RUN:
            value = getattr(self, name)
            if value is not None and value.shape != (runs,):
                raise ValueError(
                    f"`{name}` of '{self.name}' needs one number per run, [{runs}]; "
                    f"got {value.shape}."
                )
        if self.loss_curve.ndim != 2 or self.loss_curve.shape[0] != runs:
            raise ValueError(
                f"`loss_curve` of '{self.name}' needs shape [{runs}, decision]; "
                f"got {self.loss_curve.shape}."
            )

    @property
    def num_runs(self) -> int:
        """Length of every array by run."""
        return self.final_loss.shape[0]


_PER_RUN = (
    *("final_loss", "final_accuracy", "selection_loss", "selection_accuracy"),
    *("auc", "diverged", "initial_rate", "task"),
)


def summarize(
    results: Sequence[PolicyResult],
    reference: str,
    chance_loss: float | Float[np.ndarray, " run"],
    seed: int = 0,
    num_resamples: int = 10_000,
    level: float = 0.95,
) -> list[Row]:
    """One row per policy, lowest mean final log loss on the report split first.

    Diverged runs cost the loss and the accuracy of guessing in every mean (`log_losses`), are the
    worst in every order, and are counted in `share_diverged`. The accuracy of guessing is
    `exp(-chance_loss)`, one over the number of equally likely classes.

    Args:
      results: the policies, all over the same runs.
      reference: name of the policy that others are compared with, such as the best tuned schedule.
      chance_loss: cross-entropy of guessing, `log(num_classes)`, not logged; or one per run.
      seed: of the bootstrap.
      num_resamples: of the bootstrap.
      level: of the intervals.

    Returns:
      Rows with the keys policy, kind, runs, reference. Of the report split: log_loss, accuracy
      (mean), difference (log loss, ours minus the reference, paired), log_loss_iqm and improvement
      (probability of being lower than the reference), each with _lower and _upper;
      accuracy_median, accuracy_worst_decile, auc, speedup (the function of this module, against the
      reference), share_diverged. What was chosen, and by what: peak, and of the selection split
      selection_log_loss, selection_accuracy.

    Raises:
      ValueError: if the reference is missing, names repeat, or runs do not match.
    """
    base = _reference_of(results, reference)
    chance = np.broadcast_to(np.asarray(chance_loss, float), (base.num_runs,))
    settings = {
        "seed": seed,
        "num_resamples": num_resamples,
        "level": level,
        "strata": base.task,
    }
    base_final = log_losses(base.final_loss, chance, base.diverged)
    # A measurement that nobody made is missing, not diverged.
    made = {
        field
        for field in ("final_accuracy", "selection_loss", "selection_accuracy", "auc")
        if any(np.isfinite(getattr(result, field)).any() for result in results)
    }
    rows = []
    for result in results:
        broken = result.diverged | ~np.isfinite(result.final_loss)
        final = log_losses(result.final_loss, chance, broken)
        measured = _measured(result, made, chance, broken)
        accuracy = measured["final_accuracy"]
        row: Row = {
            "policy": result.name,
            "kind": result.kind,
            "runs": result.num_runs,
            "reference": reference,
            **bootstrap_interval(final, np.mean, **settings).columns("log_loss"),
            **_measured_interval(accuracy, settings).columns("accuracy"),
            **paired_difference(final, base_final, **settings).columns("difference"),
            **bootstrap_interval(final, interquartile_mean, **settings).columns("log_loss_iqm"),
            **probability_of_improvement(final, base_final, **settings).columns("improvement"),
            "accuracy_median": float(np.median(accuracy)),
            "accuracy_worst_decile": _measured_worst(accuracy),
            "auc": float(measured["auc"].mean()),
            "speedup": speedup(result, base, chance),
            "share_diverged": share_diverged(result.final_loss, broken),
            "peak": result.peak,
            "selection_log_loss": float(measured["selection_loss"].mean()),
            "selection_accuracy": float(measured["selection_accuracy"].mean()),
        }
        rows.append(row)
    return sorted(rows, key=lambda row: row["log_loss"])


def _reference_of(results: Sequence[PolicyResult], reference: str) -> PolicyResult:
    """The policy of this name, once all are known to have the same runs."""
    names = [result.name for result in results]
    if reference not in names:
        raise ValueError(f"No policy '{reference}' to compare with; there are: {', '.join(names)}.")
    if len(set(names)) < len(names):
        raise ValueError(f"Policies need unique names; got {', '.join(names)}.")
    base = results[names.index(reference)]
    for result in results:
        same_tasks = (result.task is None) == (base.task is None) and (
            result.task is None or np.array_equal(result.task, base.task)
        )
        if result.num_runs != base.num_runs or not same_tasks:
            raise ValueError(
                f"All policies need the same runs of the same tasks: '{result.name}' has "
                f"{result.num_runs} runs, '{reference}' {base.num_runs}."
            )
    return base


def _measured(
    result: PolicyResult,
    made: set[str],
    chance: Float[np.ndarray, " run"],
    broken: Bool[np.ndarray, " run"],
) -> dict[str, Float[np.ndarray, " run"]]:
    """Accuracies, selection loss (logged) and AUC with the cost of divergence; nan where they were not made."""
    guessed, missing = np.exp(-chance), np.full(result.num_runs, np.nan)
    costs = {
        "final_accuracy": lambda x: replace_diverged(x, guessed, broken),
        "selection_loss": lambda x: log_losses(x, chance, broken),
        "selection_accuracy": lambda x: replace_diverged(x, guessed, broken),
        "auc": lambda x: np.minimum(replace_diverged(x, np.log(chance)), np.log(chance)),
    }
    return {
        field: cost(getattr(result, field)) if field in made else missing
        for field, cost in costs.items()
    }


def _measured_interval(values: Float[np.ndarray, " run"], settings: Mapping[str, Any]) -> Interval:
    """Of the mean; nan where nobody measured."""
    if np.isnan(values).any():
        return Interval(math.nan, math.nan, math.nan)
    return bootstrap_interval(values, np.mean, **settings)


def _measured_worst(values: Float[np.ndarray, " run"]) -> float:
    return math.nan if np.isnan(values).any() else float(worst_decile(values))


def _mean_log_curve(
    result: PolicyResult, chance: Float[np.ndarray, " run"]
) -> Float[np.ndarray, " decision"]:
    logged = log_losses(result.loss_curve, chance[:, None])
    ends = np.where(result.diverged, np.log(chance), logged[:, -1])
    return np.concatenate([logged[:, :-1], ends[:, None]], axis=1).mean(axis=0)


def speedup(
    result: PolicyResult, reference: PolicyResult, chance: Float[np.ndarray, " run"]
) -> float:
    """How much earlier a policy is where another one ends.

    The number of inner steps after which the reference's mean log-loss curve first is at its last value, over the
    number of steps after which this policy's mean curve is there; `nan` if it never is. Where both are there before
    the first step, because the reference ends above its start, it is 1.

    Args:
      result: of this policy.
      reference: of the other one, in the same runs.
      chance: loss of a run that diverged.
    """
    curve = _mean_log_curve(reference, chance)
    theirs = _first_step(reference, curve, curve[-1])
    ours = _first_step(result, _mean_log_curve(result, chance), curve[-1])
    if ours == 0:
        return 1.0 if theirs == 0 else math.inf
    return theirs / ours


def _first_step(
    result: PolicyResult, curve: Float[np.ndarray, " decision"], target: float
) -> float:
    steps = np.arange(1, curve.size + 1) if result.steps is None else result.steps
    return float(steps_to_reach(curve, target, steps))
