"""Tables, figures, summary and report of a suite."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from experiments.configs.broad import AT_FULL_SIZE, SUITE_NAMES
from experiments.problems.budgets import task_of
from experiments.runs.folder import RunFolder
from experiments.runs.outputs import finish
from experiments.suites.cells import Cell
from experiments.suites.compare import (
    differences,
    finals,
    overall,
    overview,
    problem_rows,
    reference_of,
    shown,
)
from experiments.suites.headline import headline
from experiments.suites.methods import BASE, BLIND, MUON, OURS
from experiments.suites.rivals import UNTUNED_ADAMW
from ganno_jax import plots
from ganno_jax.evaluation.csv_tables import write_csv
from ganno_jax.evaluation.tables import Row
from ganno_jax.plots.suite import budget_panels, loss_curves, sweep_panels

Found = Mapping[str, Mapping[str, Cell]]


def present(folder: RunFolder, title: str, found: Found, along: Mapping[str, Found]) -> None:
    """Write and show everything that the cells say.

    Args:
      folder: of the run.
      title: of the suite.
      found: cells by problem and method.
      along: by varied setting: cells by its value and method.
    """
    rows, totals = overview(found), overall(found)
    every = [{"problem": name, **row} for name, c in found.items() for row in problem_rows(c)]
    folder.tables.mkdir(parents=True, exist_ok=True)
    for name, table in {"problems": every, "overall": totals, "overview": rows}.items():
        write_csv(table, folder.tables / f"{name}.csv")
    pictures = _draw(folder, found, totals, along)
    ours = next(row for row in totals if row["method"] == OURS)
    numbers = {
        "problems": ours["problems"],
        "reference": reference_of(next(iter(found.values()))),
        "problems_at_or_below_reference": ours["at_or_below"],
        "mean_difference": ours["difference"],
        "mean_difference_lower": ours["difference_lower"],
        "mean_difference_upper": ours["difference_upper"],
        "worst_problem": ours["worst_problem"],
        "worst_difference": ours["worst_difference"],
        "probability_better": ours["P_better"],
        "selection_mean_difference": ours["selection_difference"],
        "overall": totals,
    }
    tables = [
        (
            "Every problem: the controller's report log loss and accuracy, and its log loss minus others'",
            rows,
        ),
        (f"All methods over all problems: differences to {numbers['reference']}", shown(totals)),
    ]
    sentence = headline(found, f"{title} suite, {len(found)} problems")
    finish(folder, sentence, numbers, tables, pictures, _notes(title, found, totals), shown=2)


def _notes(title: str, found: Found, totals: list[Row]) -> list[str]:
    notes = [
        "Losses and accuracies are of the report split, which nothing was chosen by, unless a column says selection; "
        "a difference of log losses of -0.1 is a final loss about 10% lower.",
        "Intervals are 95% bootstrap intervals over problems and runs together (and learner seeds, where there are "
        "several), those of single problems over runs.",
        "At or below: the mean paired difference of report log losses on a problem is 0 or less. Worst problem: the "
        "largest such mean.",
        "Tuned methods chose on the selection split of other runs; the column of tuning runs is what that cost per "
        "problem. Choice loss: what a choice costs on average, by resampling those runs, on the problem where it costs "
        f"most; at most {_largest(totals, 'choice_loss'):.3f}.",
        "Every method runs in a plain Optax loop; the controller as users get it, with default arguments.",
    ]
    if title in AT_FULL_SIZE:
        notes.append(
            "Nothing was chosen by these trainings; most of their data sets are, at other sizes, in suites that "
            "settings were chosen by (docs/looks.md)."
        )
    elif title in SUITE_NAMES and title != "unseen":
        notes.append(
            "Settings of controllers, or what they learned on, were chosen by looking at this suite (docs/looks.md): "
            "it says nothing about problems that nobody looked at."
        )
    if not any(BLIND in cells for cells in found.values()):
        notes.append("State-blind agents are left out: no file of them was given (--suite.blind).")
    return notes


def _largest(rows: list[Row], key: str) -> float:
    values = np.array([row[key] for row in rows], float)
    return float(np.nanmax(values)) if np.isfinite(values).any() else np.nan


def _draw(
    folder: RunFolder, found: Found, totals: list[Row], along: Mapping[str, Found]
) -> list[tuple[str, str]]:
    """Write the figures; captions and paths."""
    names = [row["method"] for row in totals]
    reference = reference_of(next(iter(found.values())))
    axis = f"final report log loss minus that of {reference}"
    gaps = {name: np.concatenate([g.ravel() for g in differences(found, name)]) for name in names}
    best = [name for name in names if name not in (OURS, reference)][:3]
    figures = {
        "profile": plots.performance_profiles(
            gaps, highlight=[OURS, reference, *best], xlabel=axis
        ),
        "overall": plots.forest(
            [{"policy": row["method"], **row} for row in totals],
            highlight=[OURS],
            key="difference",
            xlabel=f"{axis}, mean and 95% interval over problems and runs",
        ),
        "curves": loss_curves(_curves(found, [OURS, BASE, reference, MUON]), "report loss"),
    }
    captions = {
        "profile": f"Share of all runs of all problems that end at most so far above those of {reference}.",
        "overall": f"Every method over all problems, against {reference} in the same runs.",
        "curves": "Report loss over the steps, median of the runs, on at most 2,000 examples.",
        "budgets": "Trainings of different length, each tuned anew; every run is a point, lines join means.",
        "sweeps": "One setting varied at a time. The schedule is tuned anew for every value.",
    }
    if budgets := _budgets(found, [OURS, BASE, MUON, UNTUNED_ADAMW]):
        figures["budgets"] = budget_panels(budgets, f"log loss minus that of\n{reference}")
    if along:
        figures["sweeps"] = sweep_panels(_panels(along), "final report log loss")
    for name, figure in figures.items():
        plots.save(figure, folder.figures / f"{name}.png")
    return [(captions[name], f"figures/{name}.png") for name in figures]


def _curves(
    found: Found, wanted: list[str]
) -> dict[str, tuple[Int[np.ndarray, " point"], dict[str, Float[np.ndarray, "run point"]]]]:
    """By problem: the steps, and of the methods that are there the losses."""
    return {
        problem: (
            cells[OURS].marks,
            {name: np.asarray(cells[name].result.curve) for name in wanted if name in cells},
        )
        for problem, cells in found.items()
    }


def _budgets(
    found: Found, wanted: list[str]
) -> dict[str, tuple[list[int], dict[str, Float[np.ndarray, "budget run"]]]]:
    """By task that is there with several budgets: the budgets, and the methods' log losses minus the reference's."""
    told = {name: task_of(name) for name in found}
    tasks = dict.fromkeys(task[0] for task in told.values() if task is not None)
    panels = {}
    for task in tasks:
        budgets = sorted((t[1], name) for name, t in told.items() if t is not None and t[0] == task)
        if len(budgets) < 2:
            continue
        gaps = {
            method: np.stack(
                [differences({name: found[name]}, method)[0].ravel() for _, name in budgets]
            )
            for method in wanted
            if all(method in found[name] for _, name in budgets)
        }
        panels[task] = ([steps for steps, _ in budgets], gaps)
    return panels


def _panels(
    along: Mapping[str, Found],
) -> dict[str, dict[str, tuple[list[str], Float[np.ndarray, "value run"]]]]:
    """By axis and method: the values and their final log losses."""
    panels = {}
    for axis, values in along.items():
        losses = {value: finals(cells) for value, cells in values.items()}
        panels[axis] = {
            name: (list(values), np.stack([losses[value][name] for value in values]))
            for name in (OURS, reference_of(next(iter(values.values()))))
        }
    return panels
