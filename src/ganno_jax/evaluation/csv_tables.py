"""Tables as CSV files: numbers in full precision, None as empty."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ganno_jax.evaluation.display import Row


def write_csv(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows as `csv_of` has them."""
    Path(path).write_bytes(csv_of(rows).encode())


def csv_of(rows: Sequence[Row]) -> str:
    """Rows with the keys of the first as header; numbers in full precision, None as empty."""
    if not rows:
        raise ValueError("a table needs at least one row; got none.")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def rows_of(text: str) -> list[Row]:
    """The rows that `csv_of` made a text of. A column in which every entry is a number becomes numbers.

    Raises:
      ValueError: the text is no such table.
    """
    try:
        rows: list[Row] = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"no table: {error}.") from error
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("every row must have as many entries as the header.")
    for key in rows[0] if rows else ():
        parse = next(
            (p for p in (int, float, str) if all(_parses(p, row[key]) for row in rows)), str
        )
        for row in rows:
            row[key] = parse(row[key]) if row[key] else None
    return rows


def _parses(kind: type, text: str) -> bool:
    if kind is str or not text:
        return True
    try:
        kind(text)
    except ValueError:
        return False
    return True
