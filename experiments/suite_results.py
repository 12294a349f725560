"""From the cells of the suite to rows: per problem, over all problems, along each sweep."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.suite import Cell
from ganno_jax.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    log_losses,
    probability_of_improvement,
    worst_decile,
)
from ganno_jax.evaluation.tables import Row, speedup, summarize

REFERENCE, OURS, ADAM = "best tuned schedule", "controller", "tuned Adam"
Cells = Mapping[str, Cell]


def finals(cells: Cells) -> dict[str, np.ndarray]:
    """Final log losses on the report split by method; a diverged run, or one that got worse, costs its first loss."""
    return {
        name: log_losses(cell.result.final_loss, cell.first_loss, cell.result.diverged)
        for name, cell in cells.items()
        if cell.result is not None
    }


def problem_rows(cells: Cells) -> list[Row]:
    """All methods on one problem: `evaluation.tables.summarize` against the best tuned schedule."""
    results = [cell.result for cell in cells.values() if cell.result is not None]
    rows = summarize(results, REFERENCE, cells[REFERENCE].first_loss)
    for row in rows:
        row["tuning_runs"] = cells[row["policy"]].info.get("tuning_runs", 0)
    return rows


def overview(suite: Mapping[str, Cells]) -> list[Row]:
    """One row per problem: the controller against the best tuned schedule and tuned Adam."""
    rows = []
    for problem, cells in suite.items():
        found = {row["policy"]: row for row in problem_rows(cells)}
        ours, reference = found[OURS], found[REFERENCE]
        info = cells[REFERENCE].info
        row: Row = {
            "problem": problem,
            "controller": f"{ours['log_loss_iqm']:.3f}",
            "tuned": f"{reference['log_loss_iqm']:.3f}",
            "schedule": f"{info['schedule']} {info['peak']:.2g}",
            "difference": f"{ours['difference']:+.3f} "
            f"[{ours['difference_lower']:+.3f}, {ours['difference_upper']:+.3f}]",
            "P_better": round(ours["improvement"], 2),
            "speedup": _number(ours["speedup"]),
        }
        if ADAM in cells:
            row["over_Adam"] = _number(_over_adam(cells, OURS))
        rows.append(row)
    return rows


def overall(suite: Mapping[str, Cells]) -> list[Row]:
    """One row per method over all problems, best first.

    Differences are a run's final log loss minus that of the best tuned schedule in the same run; means and
    intervals are stratified by problem. `over_Adam` is the median over the problems of the speed-up over tuned Adam, 0
    in a problem whose last loss under Adam is never reached.
    """
    everything = [finals(cells) for cells in suite.values()]
    names = [name for name in everything[0] if all(name in other for other in everything)]
    rows = []
    for name in names:
        gaps = [losses[name] - losses[REFERENCE] for losses in everything]
        strata = np.repeat(np.arange(len(gaps)), [gap.size for gap in gaps])
        gap = np.concatenate(gaps)
        middle = bootstrap_interval(gap, interquartile_mean, strata=strata)
        mean = bootstrap_interval(gap, strata=strata)
        wins = [interquartile_mean(f[name]) <= interquartile_mean(f[REFERENCE]) for f in everything]
        better = [probability_of_improvement(f[name], f[REFERENCE]).estimate for f in everything]
        mine = [cells[name] for cells in suite.values()]
        over = [_over_adam(cells, name) for cells in suite.values() if ADAM in cells]
        rows.append(
            {
                "method": name,
                "difference_iqm": middle.estimate,
                "difference_iqm_lower": middle.lower,
                "difference_iqm_upper": middle.upper,
                "difference_mean": mean.estimate,
                "difference_mean_lower": mean.lower,
                "difference_mean_upper": mean.upper,
                "worst_problem": max(float(np.mean(gap)) for gap in gaps),
                "at_or_below": sum(map(bool, wins)),
                "problems": len(wins),
                "P_better": float(np.mean(better)),
                "over_Adam": float(np.median(np.nan_to_num(over, nan=0.0))) if over else np.nan,
                "share_diverged": float(np.mean([c.result.diverged.mean() for c in mine])),
                "tuning_runs": max(int(c.info.get("tuning_runs", 0)) for c in mine),
            }
        )
    return sorted(rows, key=lambda row: row["difference_mean"])


def shown(rows: Sequence[Row]) -> list[Row]:
    """`overall` as terminal and report show it."""

    def interval(row: Row, key: str) -> str:
        return f"{row[key]:+.3f} [{row[f'{key}_lower']:+.3f}, {row[f'{key}_upper']:+.3f}]"

    return [
        {
            "method": row["method"],
            "mean_difference": interval(row, "difference_mean"),
            "interquartile_mean": interval(row, "difference_iqm"),
            "worst_problem": f"{row['worst_problem']:+.2f}",
            "at_or_below": f"{row['at_or_below']} of {row['problems']}",
            "P_better": f"{row['P_better']:.2f}",
            "over_Adam": f"{row['over_Adam']:.2f}x",
            "diverged": f"{row['share_diverged']:.1%}",
            "tuning_runs": row["tuning_runs"],
        }
        for row in rows
    ]


def differences(suite: Mapping[str, Cells], name: str) -> list[np.ndarray]:
    """Final log loss of a method minus the best tuned schedule's in the same run, by problem."""
    found = [finals(cells) for cells in suite.values()]
    return [losses[name] - losses[REFERENCE] for losses in found]


def accuracy_drops(suite: Mapping[str, Cells]) -> dict[str, float]:
    """Median accuracy minus that of the worst decile of the controller's runs, by problem that has accuracies."""
    drops = {}
    for problem, cells in suite.items():
        accuracy = cells[OURS].result.final_accuracy
        if np.isfinite(accuracy).any():
            accuracy = np.nan_to_num(accuracy, nan=0.0)  # a run without one failed
            drops[problem] = float(np.median(accuracy) - worst_decile(accuracy))
    return drops


def _over_adam(cells: Cells, name: str) -> float:
    """Speed-up of a method over tuned Adam; nan where its mean curve never is where Adam's ends."""
    adam = cells[ADAM]
    return speedup(cells[name].result, adam.result, adam.first_loss)


def _number(value: float) -> str:
    return f"{value:.2f}x" if np.isfinite(value) else "never"
