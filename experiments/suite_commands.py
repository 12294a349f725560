"""Commands of the held-out suite: `evaluate CONTROLLER --suite held-out`, and what `train broad` ends with."""

import math
import threading
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from experiments import folder as folders
from experiments.beginning import command, describe
from experiments.broad_config import HeldOutExperiment, SuiteConfig
from experiments.checks import require_within
from experiments.errors import UserError
from experiments.folder import RunFolder
from experiments.problems import Problem
from experiments.progress import Bar, say
from experiments.results import finish
from experiments.signals import StopRequest
from experiments.suite import FIRST, Cell, Suite, cost
from experiments.suite_results import (
    OURS,
    REFERENCE,
    accuracy_drops,
    differences,
    finals,
    overall,
    overview,
    problem_rows,
    shown,
)
from experiments.suite_tasks import PAPER, SMALL, sweeps
from ganno_jax import plots
from ganno_jax.controllers import Controller, load
from ganno_jax.evaluation.tables import write_csv
from ganno_jax.plots.suite import sweep_panels

OF_SWEEPS = (FIRST, OURS, REFERENCE)


def evaluate(config: HeldOutExperiment, arguments: Sequence[str]) -> None:
    """The suite for one controller; cells that are finished are read from the folder."""
    controller = _load(config.controller)
    check_suite(config.suite)
    folder = folders.of(config)
    if folder.is_taken() and not folder.config.is_file():
        raise UserError(f"{folder.path} holds other files; choose another --run.name")
    message = f"stopped; finished cells are kept. Go on with: {command(arguments)}"
    with folders.held(folder), StopRequest(message) as stop:
        describe(config, folder, jax.local_devices())
        stop.waits = False
        examine(folder, controller, config.suite, config.scale)


def plot(config: HeldOutExperiment, arguments: Sequence[str]) -> None:
    """Tables, figures and report from the cells that are finished."""
    del arguments
    present_stored(folders.of(config), _load(config.controller), config.suite, config.scale)


def examine(folder: RunFolder, controller: Controller, settings: SuiteConfig, scale: str) -> None:
    """Run what is missing, then write tables, figures, summary and report."""
    suite = _suite(folder, controller, settings)
    names = methods_of(suite)
    problems = PAPER if scale == "paper" else SMALL
    steps = cost(problems, suite.effort, names)
    axes = sweeps() if settings.sweeps else {}
    varied = [problem for values in axes.values() for problem in values.values()]
    steps += cost(varied, suite.effort, OF_SWEEPS)
    say(
        f"held-out suite: {len(problems)} problems with {len(names) - 1} methods and {len(varied)} "
        f"variations of the first, {steps / 1e6:,.1f} million inner steps in all"
    )
    total = len(problems) * len(names) + len(varied) * len(OF_SWEEPS)
    with Bar("cells", total) as bar:
        counter = _Counter(bar)
        found = {}
        for number, problem in enumerate(problems, 1):
            cells = _one(suite, problem, names, counter)
            if cells is not None:
                say(f"[{number}/{len(problems)}] {problem.name}: {_sentence(cells)}")
                found[problem.name] = cells
        along: dict[str, dict[str, dict[str, Cell]]] = {}
        for axis, values in axes.items():
            cells_of = {v: _one(suite, p, OF_SWEEPS, counter) for v, p in values.items()}
            along[axis] = {value: cells for value, cells in cells_of.items() if cells is not None}
            say(f"varied: {axis}")
    if not found:
        raise UserError(
            "no problem of the suite could be run: its data sets are not there; "
            "name their folder with --suite.data_dir"
        )
    present(folder, found, along)


def present(
    folder: RunFolder,
    found: Mapping[str, Mapping[str, Cell]],
    along: Mapping[str, Mapping[str, Mapping[str, Cell]]],
) -> None:
    """Tables, figures, summary and report of finished cells."""
    rows, totals = overview(found), overall(found)
    every = [{"problem": name, **row} for name, c in found.items() for row in problem_rows(c)]
    folder.tables.mkdir(parents=True, exist_ok=True)
    write_csv(every, folder.tables / "problems.csv")
    write_csv(totals, folder.tables / "overall.csv")
    write_csv(rows, folder.tables / "overview.csv")
    gaps = {row["method"]: np.concatenate(differences(found, row["method"])) for row in totals}
    ahead = [name for name in gaps if name not in (OURS, REFERENCE)][:3]
    figures = {
        "profile": plots.performance_profiles(
            gaps,
            highlight=[OURS, REFERENCE, *ahead],
            xlabel="final log loss minus the best tuned schedule's",
        ),
        "overall": plots.forest(
            [{"policy": row["method"], **row} for row in totals],
            highlight=[OURS],
            key="difference_mean",
            xlabel="final log loss minus the best tuned schedule's, mean and 95% interval",
        ),
    }
    captions = {
        "profile": "Share of all runs of all problems that end at most so far above the best tuned schedule.",
        "overall": "Every method over all problems, against the best tuned schedule in the same runs.",
        "sweeps": "One setting varied at a time. The schedule is tuned anew for every value.",
    }
    if along:
        figures["sweeps"] = sweep_panels(_panels(along))
    for name, figure in figures.items():
        plots.save(figure, folder.figures / f"{name}.png")
    ours = next(row for row in totals if row["method"] == OURS)
    drops = accuracy_drops(found)
    worst = max(drops, key=lambda name: drops[name]) if drops else None
    headline = (
        f"Zero-shot, without tuning, the controller ends at or below the best of 15 tuned schedules in "
        f"{ours['at_or_below']} of {ours['problems']} held-out problems; mean difference of the final log "
        f"loss {ours['difference_mean']:+.3f} [{ours['difference_mean_lower']:+.3f}, "
        f"{ours['difference_mean_upper']:+.3f}]."
    )
    notes = [
        "A difference of log losses of -0.1 is a final loss about 10% lower.",
        "Every tuned method was tuned on other seeds; the column of tuning runs is what that cost per problem.",
    ]
    if worst is not None:
        notes.append(
            f"Median accuracy minus that of the worst tenth of the runs, over all initial rates: at most "
            f"{drops[worst]:.1%} ({worst})."
        )
    numbers = {
        "problems": ours["problems"],
        "problems_at_or_below_best_tuned_schedule": ours["at_or_below"],
        "mean_difference": ours["difference_mean"],
        "mean_difference_lower": ours["difference_mean_lower"],
        "mean_difference_upper": ours["difference_mean_upper"],
        "probability_better": ours["P_better"],
        "worst_accuracy_drop": max(drops.values()) if drops else None,
        "overall": totals,
    }
    tables = [
        ("The controller and the best tuned schedule: interquartile means of the log loss", rows),
        ("All methods over all problems, against the best tuned schedule", shown(totals)),
    ]
    pictures = [(captions[name], f"figures/{name}.png") for name in figures]
    finish(folder, headline, numbers, tables, pictures, notes, shown=2)


def present_stored(
    folder: RunFolder, controller: Controller, settings: SuiteConfig, scale: str
) -> None:
    """`present` what is finished.

    Raises:
      UserError: nothing is.
    """
    suite = _suite(folder, controller, settings)
    names = methods_of(suite)
    problems = PAPER if scale == "paper" else SMALL
    cells = {problem.name: suite.stored(problem, names) for problem in problems}
    found = {name: c for name, c in cells.items() if len(c) == len(names)}
    if not found:
        raise UserError(f"{folder.path} has no finished problem of this controller to draw")
    along = {
        axis: {value: suite.stored(problem, OF_SWEEPS) for value, problem in values.items()}
        for axis, values in (sweeps() if settings.sweeps else {}).items()
    }
    whole = {
        axis: {v: c for v, c in values.items() if len(c) == len(OF_SWEEPS)}
        for axis, values in along.items()
    }
    present(folder, found, {axis: values for axis, values in whole.items() if values})


def methods_of(suite: Suite) -> tuple[str, ...]:
    """The methods that every problem is asked with."""
    return tuple(suite.methods)


def check_suite(settings: SuiteConfig) -> None:
    """Raise a `UserError` for a number that is too small."""
    lowest = {"num_seeds": 4, "tuning_seeds": 1, "num_peaks": 2, "num_trials": 1}
    try:
        require_within(
            {
                f"suite.{name}": (getattr(settings, name), low, math.inf)
                for name, low in lowest.items()
            }
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def _suite(folder: RunFolder, controller: Controller, settings: SuiteConfig) -> Suite:
    try:
        cells = folder.path / "cells"
        return Suite(cells, controller, settings.data_dir, settings, settings.velo)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def _load(name: str) -> Controller:
    try:
        return load(name)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


class _Counter:
    """Counts finished cells on the bar."""

    def __init__(self, bar: Bar):
        self._bar, self._done, self._lock = bar, 0, threading.Lock()

    def add(self, note: str, count: int = 1) -> None:
        with self._lock:
            self._done += count
            self._bar.show(self._done, note)


def _one(
    suite: Suite, problem: Problem, names: Sequence[str], counter: _Counter
) -> dict[str, Cell] | None:
    """The cells of a problem, None if its data are missing (which is said)."""
    try:
        return suite.run(problem, names, lambda name, cell: counter.add(f"{problem.name}: {name}"))
    except FileNotFoundError as error:
        say(f"left out: {problem.name}: {error}")
        counter.add(problem.name, len(names))
        return None


def _sentence(cells: Mapping[str, Cell]) -> str:
    rows = {row["policy"]: row for row in problem_rows(cells)}
    info = cells[REFERENCE].info
    return (
        f"controller {rows[OURS]['log_loss_iqm']:.3f}, {info['schedule']} at its best of "
        f"{info['tuning_runs']} tuning runs {rows[REFERENCE]['log_loss_iqm']:.3f}"
    )


def _panels(
    along: Mapping[str, Mapping[str, Mapping[str, Cell]]],
) -> dict[str, dict[str, tuple[list[str], np.ndarray]]]:
    """By axis and method: the values and their final log losses `[value, run]`."""
    panels = {}
    for axis, values in along.items():
        losses = {value: finals(cells) for value, cells in values.items()}
        panels[axis] = {
            name: (list(values), np.stack([losses[value][name] for value in values]))
            for name in (OURS, REFERENCE)
        }
    return panels
