"""Commands of the suites: `evaluate CONTROLLER --suite NAME`, and what `train broad` ends with."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from experiments.configs.broad import SuiteConfig, SuiteExperiment
from experiments.problems.development import sweeps
from experiments.problems.problem import Problem
from experiments.problems.suites import problems_of
from experiments.runs import folder as folders
from experiments.runs.enter import command, describe, looking
from experiments.runs.errors import UserError, as_user_error
from experiments.runs.folder import RunFolder
from experiments.runs.progress import Bar, say
from experiments.suites.build import build, check_suite, controller_of, names_of
from experiments.suites.cells import Cell, Suite, cost
from experiments.suites.compare import problem_rows, reference_of
from experiments.suites.methods import OURS, REFERENCE
from experiments.suites.present import present
from ganno_jax.controllers import Controller

OF_SWEEPS = (OURS, REFERENCE)


def evaluate(config: SuiteExperiment, arguments: Sequence[str]) -> None:
    """The suite for one controller; cells that are finished are read from the folder."""
    controller = controller_of(config.controller)
    check_suite(config.suite)
    problems = problems_of(config.preset, config.scale, config.suite.problems)
    folder = folders.of(config)
    if folder.is_taken() and not folder.config.is_file():
        raise UserError(f"{folder.path} holds other files; choose another --run.name")
    message = f"stopped; finished cells are kept. Go on with: {command(arguments)}"
    with looking(folder, message):
        describe(config, folder, jax.local_devices())
        examine(folder, controller, config.suite, _title(config), problems)


def plot(config: SuiteExperiment, arguments: Sequence[str]) -> None:
    """Tables, figures and report from the cells that are finished."""
    del arguments
    problems = problems_of(config.preset, config.scale, config.suite.problems)
    controller = controller_of(config.controller)
    present_stored(folders.of(config), controller, config.suite, _title(config), problems)


def _title(config: SuiteExperiment) -> str:
    """The suite's name, or that of the user's file."""
    return Path(config.suite.problems).name if config.suite.problems else config.preset


def examine(
    folder: RunFolder,
    controller: Controller,
    settings: SuiteConfig,
    title: str,
    problems: Sequence[Problem],
) -> None:
    """Say what it costs, run what is missing, then write tables, figures, summary and report.

    Args:
      folder: of the run.
      controller: what is examined.
      settings: of the suite.
      title: of the suite.
      problems: of the suite.

    Raises:
      UserError: no data set of the problems is there.
    """
    suite = build(folder, controller, settings)
    names = names_of(suite, settings)
    axes = sweeps() if settings.sweeps else {}
    varied = [problem for values in axes.values() for problem in values.values()]
    _say_cost(suite, title, problems, names, varied)
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
    present(folder, title, found, along)


def present_stored(
    folder: RunFolder,
    controller: Controller,
    settings: SuiteConfig,
    title: str,
    problems: Sequence[Problem],
) -> None:
    """`present` what is finished.

    Args:
      folder: of the run.
      controller: what was examined.
      settings: of the suite.
      title: of the suite.
      problems: of the suite.

    Raises:
      UserError: nothing is.
    """
    suite = build(folder, controller, settings)
    names = names_of(suite, settings)
    outdated = sum(suite.outdated(problem, names) for problem in problems)
    if outdated:
        say(
            f"left out: {outdated} cells of other versions, settings or data; evaluate makes them anew"
        )
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
    present(folder, title, found, {axis: values for axis, values in whole.items() if values})


def _say_cost(
    suite: Suite,
    title: str,
    problems: Sequence[Problem],
    names: Sequence[str],
    varied: Sequence[Problem],
) -> None:
    with as_user_error(ValueError):
        trainings, steps = (
            a + b
            for a, b in zip(
                cost(problems, suite, names), cost(varied, suite, OF_SWEEPS), strict=True
            )
        )
    more = f" and {len(varied)} variations of the first development problem" if varied else ""
    say(
        f"{title} suite: {len(problems)} problems with {len(names)} methods{more}; about {trainings:,} trainings, "
        f"{steps / 1e6:,.1f} million inner steps in all, without what is finished"
    )


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
    rows = {row["method"]: row for row in problem_rows(cells)}
    reference = reference_of(cells)
    info = cells[reference].info
    return (
        f"controller {rows[OURS]['log_loss']:.3f}, {info.get('schedule', reference)} at the best of "
        f"{info['tuning_runs']} tuning runs {rows[reference]['log_loss']:.3f}; expected loss from a bad choice "
        f"{info['choice_loss']:.3f}"
    )
