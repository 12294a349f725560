"""Tables as CSV files: numbers in full precision, None as empty."""

import csv
from collections.abc import Sequence
from pathlib import Path

from ganno_jax.evaluation.display import Row


def write_csv(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows with the keys of the first as header; numbers in full precision, None as empty."""
    if not rows:
        raise ValueError(f"`rows` needs at least one row to write {path}; got none.")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: str | Path) -> list[Row]:
    """Read what `write_csv` wrote. A column in which every entry is a number becomes numbers."""
    with open(path, newline="", encoding="utf-8") as file:
        rows: list[Row] = list(csv.DictReader(file))
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
