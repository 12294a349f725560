"""The numbers of a training: one JSON object per line, and TensorBoard."""

import errno
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.runs.folder import is_at
from experiments.runs.whole_files import (
    is_number,
    plain,
    read_with_digest,
    remove_digest,
    write_whole,
)

FLUSH_EVERY = 30.0  # seconds between events that reach the disk


class Lines:
    """A file of JSON lines, one per update, that is only ever appended to.

    Args:
      path: of the file.
      last_update: lines of later updates, left by a run that went on after its last checkpoint, are
        dropped, and so is a line that was not finished.
    """

    def __init__(self, path: Path, last_update: int):
        self.path = path
        kept = [line for line in read_lines(path) if line["update"] <= last_update]
        remove_digest(path)
        write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a line; on disk (of the system, at least) once this returns.

        Raises:
          OSError: the disk is full, or the file is not where it was.
        """
        if not is_at(self.path, os.fstat(self._file.fileno())):
            raise OSError(
                errno.ENOENT, "it was moved or removed while the run was at work", self.path
            )
        self._file.write(json.dumps(plain(values)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file that can be read, each with its `update`; none if it does not exist.

    A line that was not finished when its process was killed, or is damaged, is left out; those after it are kept.
    """
    return _records(path.read_bytes()) if path.is_file() else []


def _records(content: bytes) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for text in content.decode("utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("update"), int):
            lines.append(line)
    return lines


def read_finished(path: Path) -> list[dict[str, Any]]:
    """Like `read_lines`, from a file that has not changed since `history.finish`.

    Raises:
      ValueError: it has.
    """
    if not path.is_file():
        return []
    try:
        return _records(read_with_digest(path))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def numbers_of(lines: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """A field of all records; nan where it is null.

    Raises:
      ValueError: a record has no such number.
    """
    for line in lines:
        value = line.get(name, "")
        if not (value is None or is_number(value)):
            raise ValueError(f"the record of update {line['update']} has no number {name!r}")
    return [math.nan if line[name] is None else float(line[name]) for line in lines]


class TensorBoard:
    """Scalars for TensorBoard, written without a thread: a full disk is an error where it happens.

    Args:
      folder: of the event files.
      first_update: what earlier event files hold from here on is to be ignored.
    """

    def __init__(self, folder: Path, first_update: int):
        from tensorboardX import proto, summary  # imports protobuf: a second
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._proto, self._scalar = proto.event_pb2, summary.scalar
        self._writer = EventsWriter(str(folder / "events"))
        start = self._proto.SessionLog(status=self._proto.SessionLog.START)
        self._add(first_update, session_log=start)
        self._flush()

    def write(self, group: str, values: Mapping[str, Any], update: int) -> None:
        """Add `group/name` for each value.

        Args:
          group: before the names.
          values: numbers by name.
          update: at which they hold.
        """
        for name, value in values.items():
            self._add(update, summary=self._scalar(f"{group}/{name}", value))
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            self._flush()

    def close(self) -> None:
        """Finish what is being written."""
        self._writer.close()

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()

    def _add(self, update: int, **content: Any) -> None:
        event = self._proto.Event(step=update, wall_time=time.time(), **content)
        self._writer.write_event(event)
