"""What the readers of image sets share: the arrays of a set, and files that may be gzipped."""

import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

MOST_PACKED = 1100  # bytes that one byte of a zip file can stand for: deflate reaches 1032


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
            _check_claims(file)
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            return {name: arrays[name] for name in arrays.files}
        except (
            ValueError,
            EOFError,
            KeyError,
            MemoryError,
            NotImplementedError,
            RuntimeError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise ValueError(f"{path}: expected an .npz file of plain arrays ({error}).") from error


def _check_claims(file: IO[bytes]) -> None:
    """`ValueError` for an array whose header claims other than the bytes that follow it."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_2_0
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else read
                shape, _, dtype = read(member)
                held = info.file_size - member.tell()
            claimed = math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and claimed != held:
                name = info.filename.removesuffix(".npy")
                raise ValueError(f"{name} claims {claimed} bytes, the file holds {held}")
            if info.file_size > MOST_PACKED * max(1, info.compress_size):
                raise ValueError(f"{info.filename} is said to be {info.file_size} bytes unpacked")
