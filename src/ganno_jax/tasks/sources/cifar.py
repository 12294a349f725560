"""CIFAR-10 as its author published it: batch files, binary or pickled, in a folder or an archive.

References:
  Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ganno_jax.tasks.sources.raw import ImageArrays

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
NUM_CLASSES = len(CLASS_NAMES)
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
"""The data set's own page, of its authors; asked only where its files are missing."""
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
FOLDERS = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}
ARCHIVES = {"cifar-10-binary.tar.gz": ".bin", "cifar-10-python.tar.gz": ""}
_PIXELS = 3 * 32 * 32


def find(place: Path) -> Path | None:
    """The folder or archive in `place`, or `place` itself, that holds all six batches."""
    for folder in (*(place / name for name in FOLDERS), place):
        for suffix in FOLDERS.values():
            if all(
                (folder / f"{batch}{suffix}").is_file() for batch in (*TRAIN_BATCHES, TEST_BATCH)
            ):
                return folder
    return next((place / name for name in ARCHIVES if (place / name).is_file()), None)


def read(source: Path) -> ImageArrays:
    """The arrays from a folder of batches or from the author's archive.

    Raises:
      ValueError: a batch or the archive is damaged or incomplete.
    """
    if source.is_dir():
        binary = (source / f"{TEST_BATCH}.bin").is_file()
        return _assemble(lambda batch: (source / batch).read_bytes(), source, binary)
    try:
        with tarfile.open(source) as archive:
            members = {Path(member.name).name: member for member in archive if member.isfile()}
            binary = f"{TEST_BATCH}.bin" in members

            def member_bytes(batch: str) -> bytes:
                if batch not in members:
                    raise ValueError(f"{source}: expected a file {batch} inside; there is none.")
                return archive.extractfile(members[batch]).read()

            return _assemble(member_bytes, source, binary)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{source}: expected the complete tar archive of CIFAR-10 ({error})."
        ) from error


def _assemble(read_batch: Callable[[str], bytes], source: Path, binary: bool) -> ImageArrays:
    suffix, parse = (".bin", parse_binary) if binary else ("", parse_pickle)
    batches = [
        parse(read_batch(f"{name}{suffix}"), source / f"{name}{suffix}")
        for name in (*TRAIN_BATCHES, TEST_BATCH)
    ]
    images, labels = zip(*batches, strict=True)
    train = np.concatenate(images[:-1]), np.concatenate(labels[:-1])
    return ImageArrays(*train, images[-1], labels[-1], NUM_CLASSES)


def parse_binary(
    content: bytes, path: Path
) -> tuple[UInt8[np.ndarray, "example 32 32 3"], UInt8[np.ndarray, " example"]]:
    """Images and labels of a binary batch: per example a label byte, then planes R, G, B."""
    if not content or len(content) % (1 + _PIXELS):
        raise ValueError(
            f"{path}: expected a multiple of {1 + _PIXELS} bytes (a label and 3x32x32 pixels "
            f"each); got {len(content)}."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    return _checked(records[:, 1:], records[:, 0], path)


def parse_pickle(
    content: bytes, path: Path
) -> tuple[UInt8[np.ndarray, "example 32 32 3"], UInt8[np.ndarray, " example"]]:
    """Images and labels of a pickled batch; nothing but NumPy arrays is ever built from it."""
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        pixels = np.asarray(batch["data"], np.uint8)
        labels = np.asarray(batch["labels"], np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected a pickled dict with the arrays `data` and `labels` ({error})."
        ) from error
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{path}: expected `data` [example, {_PIXELS}] and `labels` [example]; "
            f"got {pixels.shape} and {labels.shape}."
        )
    return _checked(pixels, labels, path)


def _checked(
    pixels: UInt8[np.ndarray, "example pixel"], labels: np.ndarray, path: Path
) -> tuple[UInt8[np.ndarray, "example 32 32 3"], UInt8[np.ndarray, " example"]]:
    if labels.size and not 0 <= labels.min() <= labels.max() < NUM_CLASSES:
        raise ValueError(
            f"{path}: expected labels in [0, {NUM_CLASSES}); they go from {labels.min()} to "
            f"{labels.max()}."
        )
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.uint8)


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows arrays only, so that a foreign file cannot run code."""

    _RECONSTRUCT: Any = np.empty(0).__reduce__()[0]  # NumPy's own, whatever its module is called

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module.startswith("numpy"):
            return self._RECONSTRUCT
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes bytes
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")
