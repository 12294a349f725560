"""What the readers of image sets share: the arrays of a set, and files that may be gzipped."""

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8


class ImageArrays(NamedTuple):
    """A set as its authors cut it; the test arrays are None where it has no test split."""

    train_images: UInt8[np.ndarray, "train height width channel"]
    train_labels: Int[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test height width channel"] | None
    test_labels: Int[np.ndarray, " test"] | None
    num_classes: int


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it starts as a gzip file does, whatever its name is.

    Raises:
      ValueError: the gzip stream is damaged or cut off.
    """
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a complete gzip file; it is damaged or cut off ({error})."
        ) from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file; nothing is unpickled.

    Raises:
      ValueError: the file is damaged, of another kind, or holds Python objects.
      OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no zip file")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            return {name: arrays[name] for name in arrays.files}
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: expected an .npz file of plain arrays ({error}).") from error
