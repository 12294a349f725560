"""Image classification sets that TensorFlow Datasets prepared as array_record, no TensorFlow used.

`tensorflow_datasets` is imported inside the functions: it takes seconds, and `digits` needs none.
"""

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ganno_jax.tasks.sources.raw import ImageArrays, read_npz

CACHE = "stacked_arrays.npz"
_CHUNK = 1024


def find(folder: Path, name: str) -> Path | None:
    """The folder of the newest prepared version of `name` (or `name/config`), if there is one."""
    if not re.fullmatch(r"\w+(/[\w.+-]+)?", name) or not (folder / name).is_dir():
        return None
    versions = {}
    for place in (folder / name).iterdir():
        if re.fullmatch(r"\d+\.\d+\.\d+", place.name) and (place / "dataset_info.json").is_file():
            versions[tuple(map(int, place.name.split(".")))] = place
    return versions[max(versions)] if versions else None


def names(folder: Path) -> list[str]:
    """The prepared sets in a folder, as `name` or `name/config`."""
    infos = [*folder.glob("*/*/dataset_info.json"), *folder.glob("*/*/*/dataset_info.json")]
    found = {info.parent.parent.relative_to(folder).as_posix() for info in infos}
    return sorted(name for name in found if find(folder, name))


def read(place: Path) -> ImageArrays:
    """All images and labels of a prepared set, stacked.

    `test` is the test split; where there is none, `validation`. Decoding takes seconds, so the
    arrays are kept beside the set where that can be written to; a preparation that replaces the
    set's folder also removes them.

    Raises:
      ValueError: the set is not stored as array_record, has no image and label, or its images
        differ in size.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(place)
    image, label = _features(builder, place)
    sizes = {name: info.num_examples for name, info in builder.info.splits.items()}
    if not sizes.get("train"):
        raise ValueError(f"{place}: expected a split called train; there are {sorted(sizes)}.")
    test = next((name for name in ("test", "validation") if sizes.get(name)), None)
    splits = ["train"] if test is None else ["train", test]
    num_classes = builder.info.features[label].num_classes

    arrays = _read_cache(place, {split: sizes[split] for split in splits})
    if arrays is None:
        arrays = {}
        for split in splits:
            try:
                source = builder.as_data_source(split)
            except NotImplementedError as error:
                raise ValueError(
                    f"{place}: expected array_record files; the set is stored as "
                    f"{builder.info.file_format.value}. Prepare it again with "
                    "file_format='array_record'."
                ) from error
            arrays[f"{split}_images"], arrays[f"{split}_labels"] = _stack(
                source, image, label, place
            )
        _write_cache(place, arrays)
    parts = [arrays[f"{split}_{kind}"] for split in splits for kind in ("images", "labels")]
    return ImageArrays(*parts, *[None] * (4 - len(parts)), num_classes=num_classes)


def _features(builder: Any, place: Path) -> tuple[str, str]:
    """The names of the image and of the label feature."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    pair = builder.info.supervised_keys
    if pair is None or len(pair) != 2:
        pair = ("image", "label")
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if not all(
        key in features and isinstance(features[key], kind)
        for key, kind in zip(pair, kinds, strict=True)
    ):
        raise ValueError(
            f"{place}: expected an image classification set with features image and label; "
            f"it has {sorted(features)}."
        )
    return pair


def _stack(source: Any, image: str, label: str, place: Path) -> tuple[np.ndarray, np.ndarray]:
    """All examples of a random-access source as two arrays."""
    first = source[0][image]
    if first.dtype != np.uint8:
        raise ValueError(f"{place}: expected uint8 images; got {first.dtype}.")
    images = np.empty((len(source), *first.shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), _CHUNK):
        numbers = range(start, min(start + _CHUNK, len(source)))
        for number, example in zip(numbers, source.__getitems__(numbers), strict=True):
            if example[image].shape != first.shape:
                raise ValueError(
                    f"{place}: expected images of one size; there are {first.shape} and "
                    f"{example[image].shape}."
                )
            images[number], labels[number] = example[image], example[label]
    return images, labels


def _read_cache(place: Path, sizes: dict[str, int]) -> dict[str, np.ndarray] | None:
    """The kept arrays, or None where there are none of the right size."""
    try:
        arrays = read_npz(place / CACHE)
    except (OSError, ValueError):
        return None
    fits = all(
        len(arrays.get(f"{split}_{kind}", ())) == size
        for split, size in sizes.items()
        for kind in ("images", "labels")
    )
    return arrays if fits else None


def _write_cache(place: Path, arrays: dict[str, np.ndarray]) -> None:
    """Keep the arrays beside the set; a folder that cannot be written to is left as it is."""
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=place, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            os.replace(temporary, place / CACHE)  # whole or not at all
        except OSError:
            os.unlink(temporary)
            raise
