"""How rows of a table are shown, on the terminal and in the report.

A row is a plain dict of strings, numbers and None, so that CSV, terminal, report and figures read
the same thing. `COLUMNS` says how the rows of `tables.summarize` are shown; any other rows get one
column per key.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

Row = dict[str, Any]
"""One policy of a table, by column; `tables.summarize` says which columns there are."""
MISSING = "\N{EN DASH}"
MIN_TEXT = 20  # characters: columns of text may be folded to this, not further


@dataclass(frozen=True)
class Column:
    """How one column of a summary is shown.

    Attributes:
      key: the row's key.
      header: above the column.
      text: from a row to what stands in the cell.
      better: "lower" or "higher", so that the best can be emphasized; None for descriptions.
      meaning: what the column says, for readers of the report.
    """

    key: str
    header: str
    text: Callable[[Row], str]
    better: str | None = None
    meaning: str = ""


def _number(key: str, digits: int, kind: str = "f") -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.get(key)
        if value is None or not math.isfinite(value):
            return MISSING
        return f"{value:.{digits}{kind}}"

    return text


def _range(key: str) -> Callable[[Row], str]:
    return lambda row: ranged(row, key, 3)


COLUMNS = (
    Column("policy", "policy", lambda row: row["policy"]),
    Column(
        "log_loss",
        "final log test\nloss, mean [interval]",
        _range("log_loss"),
        "lower",
        "Natural logarithm of the loss on the report split (test data) after the last inner step, mean "
        "over runs with its bootstrap interval. A diverged run counts as guessing.",
    ),
    Column(
        "accuracy",
        "test\nacc.",
        _number("accuracy", 1, "%"),
        "higher",
        "Accuracy on the report split after the last inner step, mean over runs.",
    ),
    Column(
        "difference",
        "vs.\nref.",
        _number("difference", 3),
        "lower",
        "Mean difference of that to the reference policy, run by run; below zero is better.",
    ),
    Column(
        "accuracy_worst_decile",
        "worst\n10%",
        _number("accuracy_worst_decile", 1, "%"),
        "higher",
        "Mean final test accuracy of the worst tenth of the runs.",
    ),
    Column(
        "speedup",
        "speed\nup",
        lambda row: _times(row["speedup"]),
        "higher",
        "Inner steps that the reference needs to its final mean log loss, over the steps that this "
        "policy needs to the same value; never: its mean does not get there.",
    ),
    Column(
        "improvement",
        "P\nbetter",
        _number("improvement", 2),
        "higher",
        "Probability that a run of this policy ends lower than a run of the reference, each drawn "
        "at random.",
    ),
    Column(
        "share_diverged",
        "diver-\nged",
        _number("share_diverged", 1, "%"),
        meaning="Share of runs that diverged.",
    ),
    Column(
        "peak",
        "peak\nrate",
        _number("peak", 2, "g"),
        meaning="Tuned peak learning rate; none where nothing was tuned.",
    ),
    Column(
        "selection_log_loss",
        "selec.\nloss",
        _number("selection_log_loss", 3),
        meaning="The final log loss on the selection split, by which schedules were tuned: no result.",
    ),
    Column(
        "selection_accuracy",
        "selec.\nacc.",
        _number("selection_accuracy", 1, "%"),
        meaning="The final accuracy on the selection split.",
    ),
)
"""The columns of a summary, as terminal and report show them: the report split first, then what was chosen."""


def shown_columns(rows: Sequence[Row]) -> list[tuple[Column, set[int]]]:
    """The columns to show for these rows, each with the indices of its best rows.

    Rows of `summarize` get `COLUMNS` without those that are empty throughout; any other rows get a
    column per key of the first row.
    """
    if rows and "log_loss_lower" in rows[0]:
        columns = [c for c in COLUMNS if any(c.text(row) != MISSING for row in rows)]
    else:
        columns = [_plain_column(key) for key in (rows[0] if rows else ())]
    return [(column, _best(rows, column)) for column in columns]


def format_table(rows: Sequence[Row], title: str | None = None) -> Table:
    """A table for `rich.print`, the best entry of each column in bold; fits 120 columns."""
    table = Table(
        title=escape(title) if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    columns = shown_columns(rows)
    for column, _ in columns:
        texts = [row[column.key] for row in rows if isinstance(row.get(column.key), str)]
        table.add_column(
            column.header,
            justify="left" if texts else "right",
            overflow="fold",
            no_wrap=not texts,
            min_width=min(MIN_TEXT, max(map(len, texts))) if texts else None,
        )
    for index, row in enumerate(rows):
        cells = [escape(column.text(row)) for column, _ in columns]
        best = [index in bests for _, bests in columns]
        table.add_row(*[f"[bold]{c}[/]" if b else c for c, b in zip(cells, best, strict=True)])
    return table


def ranged(row: Row, key: str, digits: int) -> str:
    """A number of a row and its interval as "0.12 [0.10, 0.14]".

    Args:
      row: has the number at `key`, and the ends of its interval at `key` with `_lower` and `_upper`.
      key: of the number.
      digits: after the point.
    """
    value, lower, upper = (row[key + end] for end in ("", "_lower", "_upper"))
    return f"{value:.{digits}f} [{lower:.{digits}f}, {upper:.{digits}f}]"


def _times(value: float | None) -> str:
    return "never" if value is None or math.isnan(value) else f"{value:.2f}x"


def _plain_column(key: str) -> Column:
    def text(row: Row) -> str:
        value = row.get(key)
        if value is None:
            return MISSING
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return Column(key, key.replace("_", " "), text)


def _best(rows: Sequence[Row], column: Column) -> set[int]:
    if column.better is None:
        return set()
    sign = 1 if column.better == "lower" else -1
    found = {
        index: sign * row[column.key]
        for index, row in enumerate(rows)
        if row.get(column.key) is not None and math.isfinite(row[column.key])
    }
    return {index for index, value in found.items() if value == min(found.values())}
