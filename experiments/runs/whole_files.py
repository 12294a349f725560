"""Files that are whole or absent, with a digest where damage must be noticed, and JSON of finite numbers."""

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is complete under its name or absent.

    Of folders at most the file's own is made: a run's folder that somebody removed does not come back half empty.
    """
    path.parent.mkdir(exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # else the name may outlive the content in a power cut
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_with_digest(path: Path, content: bytes) -> None:
    """Like `write_whole`; the SHA-256 lies beside the file, for `read_with_digest`."""
    remove_digest(path)  # a process that is killed in between leaves no wrong one
    write_whole(path, content)
    add_digest(path, content)


def add_digest(path: Path, content: bytes) -> None:
    """Beside a file that has been written, such as one that was appended to, for `read_with_digest`."""
    write_whole(_digest_of(path), hashlib.sha256(content).hexdigest() + "\n")


def remove_digest(path: Path) -> None:
    """Before a file changes."""
    _digest_of(path).unlink(missing_ok=True)


def read_with_digest(path: Path) -> bytes:
    """What `write_with_digest` wrote; a file without a digest is taken as it is.

    Raises:
      ValueError: the file is not as it was written.
    """
    content, digest = path.read_bytes(), _digest_of(path)
    if digest.is_file():
        written = digest.read_text(encoding="utf-8", errors="replace").strip()
        if written != hashlib.sha256(content).hexdigest():
            raise ValueError("it is not as it was written")
    return content


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def write_json(path: Path, values: Any) -> None:
    """As `json_of` has it."""
    write_whole(path, json_of(values))


def write_object(path: Path, values: Mapping[str, Any]) -> None:
    """Like `write_json`, with a digest, for `read_object`."""
    write_with_digest(path, json_of(values).encode())


def read_object(path: Path) -> dict[str, Any]:
    """What `write_object` wrote.

    Raises:
      ValueError: the file is not as it was written, or holds something else.
    """
    try:
        values = json.loads(read_with_digest(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object; it holds a {type(values).__name__}")
    return values


def json_of(values: Any) -> str:
    """Indented; what is no JSON number (nan, infinity) becomes null."""
    return json.dumps(plain(values), indent=2, allow_nan=False) + "\n"


def is_number(value: Any) -> bool:
    """Whether a value that JSON held is a number; truth is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(values: Any) -> Any:
    """Dicts, lists, strings, finite numbers and None."""
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if hasattr(values, "tolist"):
        return plain(values.tolist())
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values
