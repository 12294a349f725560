"""From the cells of a suite to rows: per problem, over all problems, along each sweep. The report split comes first."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from experiments.suites.cells import Cell
from experiments.suites.methods import (
    ADAMW,
    BASE,
    BLIND,
    MUON,
    NADAMW,
    OURS,
    REFERENCE,
    REPLAY,
    learner_seed,
)
from ganno_jax.evaluation.across_problems import (
    at_or_below,
    over_problems,
    worst_problem,
)
from ganno_jax.evaluation.bootstrap import (
    Interval,
    bootstrap_interval,
    paired_difference,
    probability_of_improvement,
)
from ganno_jax.evaluation.statistics import (
    interquartile_mean,
    log_losses,
    replace_diverged,
    steps_to_reach,
)
from ganno_jax.evaluation.tables import Row

Cells = Mapping[str, Cell]
FIRST_ROWS = (OURS, BASE, REPLAY, BLIND)
COMPARED = (BASE, REPLAY, BLIND, REFERENCE, ADAMW, MUON, NADAMW)
LEARNERS = "all learner seeds"
_NO_NUMBERS = ("tuning_runs", "choice_loss", "selection_log_loss", "inner_steps")


def reference_of(cells: Cells) -> str:
    """What the controller is compared with: the best tuned schedule, or tuned AdamW where no schedules were tuned."""
    return REFERENCE if REFERENCE in cells else ADAMW


def finals(cells: Cells) -> dict[str, Float[np.ndarray, " run"]]:
    """Final report log losses by method; a diverged run, or one that got worse, costs its first loss."""
    return {name: log_losses(c.result.final_loss, c.first_loss) for name, c in cells.items()}


def accuracies(cell: Cell) -> Float[np.ndarray, " run"]:
    """Final report accuracies; a diverged run has that before the first step, a regression NaN."""
    return replace_diverged(cell.result.final_accuracy, cell.result.accuracy_curve[:, 0])


def selection_losses(cell: Cell) -> Float[np.ndarray, " run"]:
    """Final log losses on the selection split; a diverged run costs its first training loss."""
    return log_losses(cell.result.selection_loss, cell.result.first_loss)


def names_of(suite: Mapping[str, Cells]) -> list[str]:
    """The methods that every problem has."""
    first, *others = suite.values()
    return [name for name in first if all(name in cells for cells in others)]


def problem_rows(cells: Cells) -> list[Row]:
    """All methods on one problem, in `FIRST_ROWS` those that a gain of agents is measured against, then best first."""
    losses = finals(cells)
    reference = losses[reference_of(cells)]
    rows = []
    for name, cell in cells.items():
        own = bootstrap_interval(losses[name])
        gap = paired_difference(losses[name], reference)
        broken = ~np.isfinite(cell.result.final_loss)
        rows.append(
            {
                "method": name,
                **own.columns("log_loss"),
                "accuracy": float(accuracies(cell).mean()),
                **gap.columns("difference"),
                "P_better": probability_of_improvement(losses[name], reference).estimate,
                "over_AdamW": over_adamw(cells, name),
                "share_diverged": float(broken.mean()),
                "selection_log_loss": float(selection_losses(cell).mean()),
                "selection_accuracy": float(np.mean(cell.result.selection_accuracy)),
                "settings": _settings(cell),
                "choice_loss": cell.info.get("choice_loss", np.nan),
                "tuning_runs": cell.info.get("tuning_runs", 0),
                "inner_steps": cell.info.get("inner_steps", 0),
            }
        )
    return _in_order(rows, "log_loss")


def overview(suite: Mapping[str, Cells]) -> list[Row]:
    """One row per problem: the controller, and its report log loss minus those that it is compared with."""
    rows = []
    for problem, cells in suite.items():
        losses = finals(cells)
        accuracy = float(accuracies(cells[OURS]).mean())
        row: Row = {
            "problem": problem,
            "log_loss": f"{losses[OURS].mean():.3f}",
            "accuracy": f"{accuracy:.1%}" if np.isfinite(accuracy) else "",
        }
        for name in COMPARED:
            if name in cells:
                row[f"minus {name}"] = shown_interval(paired_difference(losses[OURS], losses[name]))
        rows.append(row)
    return rows


def differences(
    suite: Mapping[str, Cells], name: str, other: str | None = None
) -> list[Float[np.ndarray, "learner run"]]:
    """Report log loss of a method minus another's in the same run, by problem; `LEARNERS` is all learner seeds.

    Args:
      suite: cells by problem and method.
      name: of the method.
      other: what is subtracted; what the controller is compared with by default.
    """
    found = []
    for cells in suite.values():
        losses = finals(cells)
        ours = [losses[n] for n in (learners_of(cells) if name == LEARNERS else [name])]
        found.append(np.stack(ours) - losses[other or reference_of(cells)])
    return found


def overall(suite: Mapping[str, Cells]) -> list[Row]:
    """One row per method over all problems, against `reference_of` in the same runs; `FIRST_ROWS` first.

    `difference` is the mean over problems and `middle_half` their interquartile mean, with intervals over problems,
    learner seeds and runs together; `runs_lower` and `runs_upper` are over the runs of these very problems.
    `over_AdamW` is the median over the problems of the speed-up over tuned Adam, 0 in a problem whose last loss under
    Adam is never reached.
    """
    names = names_of(suite)
    reference = reference_of(next(iter(suite.values())))
    if len(learners_of(next(iter(suite.values())))) > 1:
        names = [*names, LEARNERS]
    rows = []
    for name in names:
        gaps = differences(suite, name)
        each = [gap.mean(0) for gap in gaps]
        strata = np.repeat(np.arange(len(each)), [gap.size for gap in each])
        of_runs = bootstrap_interval(np.concatenate(each), strata=strata)
        own = OURS if name == LEARNERS else name
        mine = [cells[own] for cells in suite.values()]
        theirs = [finals(cells) for cells in suite.values()]
        accuracy = [
            accuracies(c).mean() - accuracies(r[reference]).mean()
            for c, r in zip(mine, suite.values(), strict=True)
        ]
        over = [over_adamw(cells, own) for cells in suite.values() if ADAMW in cells]
        worst = worst_problem(gaps)
        rows.append(
            {
                "method": name,
                **over_problems(gaps).columns("difference"),
                **over_problems(gaps, statistic=interquartile_mean).columns("middle_half"),
                "runs_lower": of_runs.lower,
                "runs_upper": of_runs.upper,
                "accuracy_difference": float(np.nanmean(accuracy))
                if np.isfinite(accuracy).any()
                else np.nan,
                "at_or_below": int(at_or_below(gaps).sum()),
                "problems": len(gaps),
                "worst_difference": worst.difference,
                "worst_problem": list(suite)[worst.problem],
                "P_better": float(
                    np.mean(
                        [probability_of_improvement(t[own], t[reference]).estimate for t in theirs]
                    )
                ),
                "over_AdamW": float(np.median(np.nan_to_num(over, nan=0.0))) if over else np.nan,
                "share_diverged": float(np.mean([~np.isfinite(c.result.final_loss) for c in mine])),
                "selection_difference": float(
                    np.mean(
                        [
                            (
                                selection_losses(cells[own]) - selection_losses(cells[reference])
                            ).mean()
                            for cells in suite.values()
                        ]
                    )
                ),
                "choice_loss": float(np.max([c.info.get("choice_loss", np.nan) for c in mine])),
                "tuning_runs": max(int(c.info.get("tuning_runs", 0)) for c in mine),
                "inner_steps": sum(int(c.info.get("inner_steps", 0)) for c in mine),
            }
        )
    return _in_order(rows, "difference")


def shown(rows: Sequence[Row]) -> list[Row]:
    """`overall` as terminal and report show it, by the heads of the columns: differences, in 120 characters a line."""
    return [
        {
            "method": row["method"],
            "log loss": shown_interval(
                Interval(*(row[f"difference{end}"] for end in ("", "_lower", "_upper")))
            ),
            "middle\nhalf": f"{row['middle_half']:+.3f}",
            "accuracy": _or_dash(row["accuracy_difference"], "+.1%"),
            "at or below,\nworst": f"{row['at_or_below']} of {row['problems']}, {row['worst_difference']:+.2f}",
            "over\nAdamW": _or_dash(row["over_AdamW"], ".2f", "x"),
            "diver-\nged": f"{row['share_diverged']:.1%}",
            "selection\nloss": f"{row['selection_difference']:+.3f}",
            "tuning\nruns": f"{row['tuning_runs']:,}",
            "choice\nloss": _or_dash(row["choice_loss"], ".3f"),
        }
        for row in rows
    ]


def _or_dash(value: float, how: str, unit: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{how}}{unit}"


def mean_accuracy(suite: Mapping[str, Cells], names: Sequence[str]) -> float:
    """Mean report accuracy of methods over the problems that have one; NaN where none has."""
    each = [np.mean([accuracies(cells[name]).mean() for name in names]) for cells in suite.values()]
    return float(np.nanmean(each)) if np.isfinite(each).any() else np.nan


def over_adamw(cells: Cells, name: str) -> float:
    """How much earlier a method is where tuned AdamW ends, in steps; NaN where it never is, or without tuned AdamW.

    Of mean report log losses over the runs: the step at which AdamW's curve first is at its last value, over the step
    at which this method's is there.
    """
    if ADAMW not in cells:
        return np.nan
    adamw, mine = (
        log_losses(cells[n].result.curve, cells[n].first_loss[:, None]).mean(0)
        for n in (ADAMW, name)
    )
    steps = cells[name].marks
    theirs, own = (steps_to_reach(curve, adamw[-1], steps) for curve in (adamw, mine))
    return float(theirs / own) if own else np.nan


def learners_of(cells: Mapping[str, object]) -> list[str]:
    """The controllers of all learner seeds."""
    others = (learner_seed(number) for number in range(2, len(cells) + 2))
    return [OURS, *(name for name in others if name in cells)]


def _in_order(rows: list[Row], key: str) -> list[Row]:
    names = (*FIRST_ROWS, LEARNERS)
    first = [row for name in names for row in rows if row["method"] == name]
    return [*first, *sorted((r for r in rows if r["method"] not in names), key=lambda r: r[key])]


def _settings(cell: Cell) -> str:
    """What was chosen, as text."""
    chosen = {k: v for k, v in cell.info.items() if k not in _NO_NUMBERS}
    return " ".join(v if isinstance(v, str) else f"{k} {v:.2g}" for k, v in chosen.items())


def shown_interval(interval: Interval) -> str:
    """A difference and its interval as "+0.120 [+0.100, +0.140]"."""
    return f"{interval.estimate:+.3f} [{interval.lower:+.3f}, {interval.upper:+.3f}]"
