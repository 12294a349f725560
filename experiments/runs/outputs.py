"""What a run leaves in the end: controller file, summary, report, and the last lines."""

import contextlib
import datetime
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.markup import escape

from experiments.runs import whole_files
from experiments.runs.errors import UserError, as_user_error
from experiments.runs.folder import AGENTS, RunFolder
from experiments.runs.progress import console, say
from experiments.runs.report import write_report
from ganno_jax.controller_files import save
from ganno_jax.controllers import Controller
from ganno_jax.evaluation.csv_tables import csv_of, rows_of
from ganno_jax.evaluation.display import format_table
from ganno_jax.evaluation.tables import Row
from ganno_jax.inner import Direction
from ganno_jax.policies import AgentPolicy, Ensemble
from ganno_jax.policies.step_size import StepSizePolicy

TIMES = ("seconds_search", "seconds_evaluation")  # in the summary of a search
_PLACES = ("run", "data_dir", "dir")  # settings that say where a run lay, not what was learned


def save_controller(
    folder: RunFolder,
    policy: AgentPolicy | Ensemble | StepSizePolicy,
    num_decisions: int,
    more: Mapping[str, Any],
    name: str = AGENTS,
    direction: Direction | None = None,
) -> Controller:
    """Leave what was learned as a file for `ganno_jax.load`, with where it comes from.

    Args:
      folder: of the run, with its `config.json`.
      policy: the trained agents, or a step-size controller.
      num_decisions: of the trainings that it learned in.
      more: for the provenance: results, cost, problems.
      name: of the file, without its ending.
      direction: of all trainings, for a controller that is a whole optimizer.

    Raises:
      UserError: it cannot be kept, such as weights that are not finite.
    """
    description = json.loads(folder.config.read_text(encoding="utf-8"))
    description["config"] = _without_places(description["config"])
    provenance = {**description, "date": datetime.date.today().isoformat(), **more}
    controller = Controller(
        jax.device_get(policy), num_decisions, whole_files.plain(provenance), direction
    )
    with as_user_error(ValueError):
        save(folder.controller_of(name), controller)
    return controller


def _without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without `_PLACES`: a controller file goes to other machines."""
    kept = {name: value for name, value in config.items() if name not in _PLACES}
    return {
        name: _without_places(value) if isinstance(value, Mapping) else value
        for name, value in kept.items()
    }


@contextlib.contextmanager
def drawing(folder: RunFolder) -> Iterator[None]:
    """Within it, a stored evaluation that is missing, cut short or of another program is a `UserError`."""
    try:
        yield
    except (FileNotFoundError, ValueError, LookupError, TypeError, StopIteration) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error) or repr(error)
        raise UserError(f"{folder.path} has no evaluation to draw: {reason}") from error


def store_rows(folder: RunFolder, name: str, rows: Sequence[Row]) -> None:
    """Keep a table that `plot` or another run reads.

    Args:
      folder: of the run.
      name: of the table.
      rows: of the table, at least one.
    """
    whole_files.write_with_digest(folder.tables / f"{name}.csv", csv_of(rows).encode())


def stored_rows(
    folder: RunFolder, name: str, texts: Sequence[str], numbers: Sequence[str]
) -> list[Row]:
    """A table of an evaluated run.

    Args:
      folder: of the run.
      name: of the table, as for `store_rows`.
      texts: columns that it must have.
      numbers: columns of finite numbers that it must have.

    Raises:
      UserError: there is none, or it is damaged.
    """
    path = folder.tables / f"{name}.csv"
    if not path.is_file():
        raise UserError(f"{folder.path} has no evaluation to draw: no {path}")
    try:
        rows = rows_of(whole_files.read_with_digest(path).decode())
        if not rows:
            raise ValueError("it has no rows")
        for row in rows:
            missing = [key for key in texts if row.get(key) is None]
            missing += [key for key in numbers if not is_finite(row.get(key))]
            if missing:
                raise ValueError(f"a row has no {missing[0]}")
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return rows


def stored_seconds(path: Path, names: Sequence[str]) -> dict[str, float]:
    """Times of an evaluated run.

    Args:
      path: of its summary, or of another file that `write_object` wrote.
      names: of the times.

    Raises:
      UserError: the file is not there or damaged, or has no such numbers.
    """
    try:
        found = whole_files.read_object(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path.parent} has no evaluation to draw: {error}") from error
    for name in names:
        if not is_finite(found.get(name)):
            raise UserError(f"{path} has no number {name!r}; got {found.get(name)!r}")
    return {name: found[name] for name in names}


def is_finite(value: Any) -> bool:
    """Whether it is a number that is neither infinite nor nan."""
    return whole_files.is_number(value) and math.isfinite(value)


def _is_tile(value: Any) -> bool:
    """Whether a number of the summary is shown in the report too: a number, a text, or the ends of an interval."""
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(isinstance(end, float) for end in value)
    return isinstance(value, int | float | str)


def _tile(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return f"{value[0]:.4f} to {value[1]:.4f}"
    return value


def finish(
    folder: RunFolder,
    headline: str,
    numbers: Mapping[str, Any],
    tables: Sequence[tuple[str, Sequence[Row]]],
    figures: Sequence[tuple[str, str]],
    notes: Sequence[str],
    shown: int = 1,
) -> None:
    """Write summary and report, then say what came out and where it is.

    Args:
      folder: of the run.
      headline: the result in a sentence.
      numbers: for `summary.json`, after the headline.
      tables: caption and rows.
      figures: caption and path within the folder.
      notes: what a reader must know to judge the numbers.
      shown: so many of the tables, from the first, are shown on the terminal too.
    """
    description = json.loads(folder.config.read_text(encoding="utf-8"))
    whole_files.write_object(folder.summary, {"headline": headline, **numbers})
    tiles = {name: _tile(value) for name, value in numbers.items() if _is_tile(value)}
    title = f"ganno_jax: {description['config']['preset']} ({folder.path.name})"
    write_report(
        folder.path, title, {"headline": headline, **tiles}, tables, figures, description, notes
    )
    out = console()
    for caption, rows in tables[:shown]:
        out.print(format_table(rows, caption))
    out.print(escape(headline))
    say(f"figures: {folder.figures}{os.sep}")
    say(f"tables:  {folder.tables}{os.sep}  and {folder.summary}")
    say(f"report:  {folder.report}")
