"""What a run that goes on has lost of its records: said, since figures are drawn without it."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from experiments.runs.logs import read_finished, read_lines
from experiments.runs.progress import say
from experiments.runs.whole_files import add_digest, read_with_digest


def say_missing(path: Path, expected: Iterable[int]) -> None:
    """Say which of the expected updates a file of JSON lines has no line of, if any.

    Args:
      path: of the file.
      expected: numbers of updates, rising.
    """
    _say_changed(path)
    found = {line["update"] for line in read_lines(path)}
    missing = [update for update in expected if update not in found]
    if missing:
        say(
            f"{path} has no whole line of update {spans(missing)}: that part of the history is lost, and figures "
            "are drawn without it"
        )


def finish(path: Path) -> None:
    """Lay a digest beside a file of records that is complete; figures are then drawn from this file alone."""
    if path.is_file():
        _say_changed(path)
        add_digest(path, path.read_bytes())


def _say_changed(path: Path) -> None:
    try:
        read_finished(path)
    except ValueError as error:
        say(f"{error}; figures are drawn from what can be read")


def say_damaged(snapshots: Path, expected: Iterable[str]) -> None:
    """Say which snapshots are missing or not as they were written, if any.

    Args:
      snapshots: their folder.
      expected: names of files that should be there.
    """
    there = {path.name for path in snapshots.glob("*.msgpack")}
    for name in sorted(there | set(expected)):
        try:
            read_with_digest(snapshots / name)
        except FileNotFoundError:
            say(f"{snapshots / name} is not there: the agents of that update are lost")
        except (OSError, ValueError) as error:
            say(f"{snapshots / name} is damaged ({error}): the agents of that update are lost")


def spans(numbers: Iterable[int]) -> str:
    """Rising whole numbers in words, such as "3, 5 to 9"."""
    parts = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}")
    return ", ".join(parts)
