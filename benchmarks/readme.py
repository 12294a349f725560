"""Writes the tables of the README beside this file from rows, between markers; the text around them stays."""

import importlib
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.targets import Row, judge

HERE = Path(__file__).with_name("README.md")
FIGURES = HERE.parents[1] / "docs" / "figures"
WIDEST = 5  # columns of a table


def write(results: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Replace the block of every benchmark that has rows, and that of the targets."""
    text = path.read_text()
    tables = {}
    if results:
        tables["targets"] = f"{markdown(judge(results))}\n\n{machine_line(results)}"
    for name, rows in results.items():
        columns = getattr(importlib.import_module(f"benchmarks.{name}"), "COLUMNS", None)
        if columns and rows:
            tables[name] = narrow([_formatted(row, columns) for row in rows])
            tables[name] += f"\n\n{machine_line({name: rows})}"
    for name, content in tables.items():
        text = replace_block(text, name, content)
    path.write_text(text)


def replace_block(text: str, name: str, content: str) -> str:
    """The text with what stands between the markers of `name` replaced; unchanged without markers.

    Args:
      text: of the file.
      name: in the markers.
      content: in the place of what stands between them.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def markdown(rows: Sequence[Row]) -> str:
    """A table with the keys of the first row as its head."""
    keys = list(rows[0])
    lines = [keys, ["---"] * len(keys), *([str(row[key]) for key in keys] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def narrow(rows: Sequence[Row]) -> str:
    """Tables of at most five columns: few rows become columns; many are split, with their names in each part.

    What all rows have alike stands above the parts, in one line.
    """
    keys = list(rows[0])
    if len(keys) <= WIDEST:
        return markdown(rows)
    if len(rows) < WIDEST:
        firsts = [row[keys[0]] for row in rows]
        again = len({*firsts}) < len(firsts)
        heads = [keys[0], *(f"{f} ({n})" if again else f for n, f in enumerate(firsts, start=1))]
        lines = ([key, *(row[key] for row in rows)] for key in keys[1:])
        return markdown([dict(zip(heads, line, strict=True)) for line in lines])
    alike = [key for key in keys if len({row[key] for row in rows}) == 1]
    rest = [key for key in keys if key not in alike]
    names = next(
        rest[:count]
        for count in range(1, len(rest) + 1)
        if len({tuple(row[key] for key in rest[:count]) for row in rows}) == len(rows)
    )
    numbers = [key for key in rest if key not in names]
    parts = [numbers[start : start + WIDEST - 1] for start in range(0, len(numbers), WIDEST - 1)]
    tables = [
        markdown(
            [
                {"; ".join(names): "; ".join(row[key] for key in names)}
                | {key: row[key] for key in part}
                for row in rows
            ]
        )
        for part in parts
    ]
    above = (
        [f"In all rows: {', '.join(f'{key} {rows[0][key]}' for key in alike)}."] if alike else []
    )
    return "\n\n".join([*above, *tables])


def _formatted(row: Row, columns: Mapping[str, str]) -> Row:
    def cell(value: Any, spec: str) -> str:
        return "-" if value is None else format(value, spec)

    return {key.replace("_", " "): cell(row.get(key), spec) for key, spec in columns.items()}


def machine_line(results: Mapping[str, Sequence[Row]]) -> str:
    """A sentence: device, versions, commit, and how busy the machine was; "" without rows."""
    described = [row["machine"] for rows in results.values() for row in rows if "machine" in row]
    described = [m for m in described if isinstance(m, dict)]
    if not described:
        return ""
    first = described[0]
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    load = [m["load"] for m in described if m.get("load") is not None]
    busy = f"; load at the end {max(load):.1f}" if load else ""
    torch = {row["torch"] for rows in results.values() for row in rows if row.get("torch")}
    versions += "".join(f", torch {version}" for version in sorted(torch))
    commits = " and ".join(dict.fromkeys(m["commit"] or "unknown" for m in described))
    line = (
        f"{first['processor']}, {first['cores']} cores, Python {first['python']}, {versions}; "
        f"commit {commits}{busy}."
    )
    return textwrap.fill(line, 120)
