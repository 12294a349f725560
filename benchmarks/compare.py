"""Did anything get slower between two sets of results?

    python -m benchmarks.compare [before] after [--tolerance 0.15]

Both are JSON files or folders of them; `before` is by default what is stored beside this file, the rows behind the
tables of benchmarks/README.md. Compares the ratios of both, never their absolute times: a share of
the matrix-product rate, a cost over a yardstick, both measured within one run, carry from day to day
and nearly from machine to machine. Exits with 1 if a ratio got worse by more than the tolerance, is
no number any more, or was not measured again.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
STORED = Path(__file__).with_name("stored")

# Whether more is better, and what is added before two values are compared, for ratios near zero.
RATIOS = {
    "share_of_matmul_rate": (True, 0.0),
    "over_bare_scan": (False, 0.0),
    "times_native": (True, 0.0),
    "times_torch": (True, 0.0),
    "speedup": (True, 0.0),
    "interpreter_cost": (False, 0.0),
    "learner_share": (False, 0.05),
    "relative_cost": (False, 0.0),
    "memory_ratio": (False, 0.0),
    "overhead": (False, 0.05),
    "cpu_overhead": (False, 0.05),
    "cpu_over_adamw": (False, 0.0),
    "state_over_parameters": (False, 0.0),
}
IDENTITY = ("file", "variant", "network", "precision", "trainings", "batch", "interval", "updates")
IDENTITY += ("every",)


@dataclass(frozen=True)
class Change:
    """One ratio of one row in both results."""

    row: str
    ratio: str
    before: float
    after: float | None  # None: not measured again
    worse_by: float  # relative; negative: better; infinite for what is no number or missing


def compare(before: Sequence[Row], after: Sequence[Row]) -> list[Change]:
    """All ratios of the rows that were measured before, worst first; new rows have nothing to be compared with.

    Raises:
      ValueError: the two have no row in common, or one has the same row twice.
    """
    old, new = _by_identity(before), _by_identity(after)
    if not set(old) & set(new):
        raise ValueError("the two results have no row in common.")
    changes = []
    for key, row in old.items():
        name = ", ".join(str(part) for part in key if part is not None)
        for ratio, (more_is_better, offset) in RATIOS.items():
            a, b = row.get(ratio), new.get(key, {}).get(ratio)
            if a is None:
                continue
            worse_by = math.inf
            if b is not None and math.isfinite(b):
                a_, b_ = a + offset, b + offset
                worse_by = a_ / b_ - 1 if more_is_better else b_ / a_ - 1
            changes.append(Change(name, ratio, a, b, worse_by))
    return sorted(changes, key=lambda change: -change.worse_by)


def _by_identity(rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row.get(name) for name in IDENTITY)
        if key in found:
            raise ValueError(f"two rows are the same measurement: {key}.")
        found[key] = row
    return found


def load(path: Path) -> list[Row]:
    """The rows of a file, or of all JSON files in a folder; files of another form are passed over."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    read = {file.stem: json.loads(file.read_text()) for file in files}
    lists = {name: rows for name, rows in read.items() if isinstance(rows, list)}
    return [
        {**row, "file": name if path.is_dir() else ""}
        for name, rows in lists.items()
        for row in rows
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, nargs="?", default=STORED)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.15, help="relative, 0.15 by default")
    args = parser.parse_args(arguments)
    try:
        changes = compare(load(args.before), load(args.after))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    worse = [change for change in changes if change.worse_by > args.tolerance]
    for change in changes:
        mark = "WORSE" if change in worse else "ok"
        after = "  missing" if change.after is None else f"{change.after:9.3f}"
        by = f"{change.worse_by:+.1%}" if math.isfinite(change.worse_by) else "infinitely"
        print(
            f"{mark:6}{change.ratio:22}{change.before:9.3f} -> {after}  ({by} worse)  {change.row}"
        )
    print(f"{len(worse)} of {len(changes)} ratios are worse by more than {args.tolerance:.0%}.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
