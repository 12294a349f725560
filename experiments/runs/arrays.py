"""Files of arrays, whole or absent; apart from `folder`, which the command line imports at once and without NumPy."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.runs.whole_files import read_with_digest, write_with_digest


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Compressed, for `read`; a digest lies beside the file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))
    write_with_digest(path, buffer.getvalue())


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name.

    Raises:
      ValueError: there is none, or it is damaged.
    """
    try:
        content = io.BytesIO(read_with_digest(path))
        with np.load(content, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds for damaged files
        raise ValueError(f"{path} cannot be read: {error}") from error
