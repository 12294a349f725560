"""Named data sets: where each is looked for, and what is said when it is not there.

One folder is searched: `data_dir`, else the environment variable `TFDS_DATA_DIR`, else
`~/tensorflow_datasets`. Some sets need no folder: they ship with scikit-learn or are generated, and say so by their
name. Nothing is ever replaced by synthetic data.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganno_jax import extras
from ganno_jax.tasks.dataset import Dataset, Split, from_arrays
from ganno_jax.tasks.sources import (
    cifar,
    idx,
    own,
    prepared,
    resize,
    text,
)
from ganno_jax.tasks.sources.raw import ImageArrays
from ganno_jax.tasks.sources.without_folder import TABLES

DEFAULT_FOLDER = "~/tensorflow_datasets"
VALIDATION_FRACTION = 0.1  # of the official training split


class _Standard(NamedTuple):
    """What the message about a missing set says."""

    files: str
    url: str


_MNIST_FILES = ", ".join(f"{idx.file_name(stem)}[.gz]" for stem in idx.STEMS)
_STANDARD = {
    "fashion_mnist": _Standard(_MNIST_FILES, idx.URLS["fashion_mnist"]),
    "mnist": _Standard(_MNIST_FILES, idx.URLS["mnist"]),
    "cifar10": _Standard(
        f"{', '.join([*cifar.FOLDERS])} (a folder with all six batches), "
        f"{' or '.join(cifar.ARCHIVES)}",
        cifar.URL,
    ),
}
_TEXTS = {"tinyshakespeare": _Standard(text.FILE, text.URL)}


def names() -> tuple[str, ...]:
    """The sets that are known by name; any other prepared TFDS image set can be loaded as well."""
    return ("digits", *TABLES, *_STANDARD, *_TEXTS)


@extras.explained
def load(
    name: str = "digits",
    *,
    data_dir: str | None = None,
    path: str | None = None,
    seed: int = 0,
    max_examples: int | None = None,
    max_held_out: int | None = None,
    crop: int | None = None,
    image_size: int | None = None,
    grey: bool = False,
    sequence_length: int = 64,
    text_start: float = 0.0,
    num_classes: int | None = None,
    num_categorical: int = 0,
    standardize_targets: bool = False,
    download: bool = True,
) -> Dataset:
    """A data set by name, made of NumPy arrays; `place` puts it on the device.

    An official test split stays the test split. Validation examples are drawn from the training
    split: 10%, or 20% (and another 20% for testing) where there is no official test split. Images
    are uint8 `[example, height, width, channel]`, normalized per channel in the gather.

    Args:
      name: one of `names()`, or an image classification set that TFDS has prepared as array_record
        in the folder: `name` or `name/config`. With `path` a label for tables.
      data_dir: the folder to search, see the module.
      path: instead of a name, an `.npz` file with `x`, `y` and optionally `x_test`, `y_test`, or a `.csv` table of
        numbers whose last column is the target (class ids if it is written in whole numbers).
      seed: of the split, and of the choice of `max_examples`.
      max_examples: at most so many examples before the validation split is cut, and at most so many
        official test examples, drawn at random; for text the first so many windows of each split.
      max_held_out: at most so many examples, the first ones, of the validation and of the test split each.
      crop: side of the square in the middle of the images that is kept.
      image_size: side of smaller, square images by area averaging, after the crop.
      grey: whether the mean of the channels becomes the only one.
      sequence_length: characters in a window of a text.
      text_start: share of a text after which it begins, in [0, 1); what stands before is moved to the end.
      num_classes: as in `from_arrays`, for a `path`; 0 makes a regression of whole numbers.
      num_categorical: as in `from_arrays`, for a `path`.
      standardize_targets: as in `from_arrays`, for a regression.
      download: False never tries the network.

    Raises:
      ValueError: unknown name, damaged file (the message names it), arguments that do not fit.
      FileNotFoundError: the set is not in the folder and cannot be downloaded.
    """
    for argument, limit in (("max_examples", max_examples), ("max_held_out", max_held_out)):
        if limit is not None and limit < 1:
            raise ValueError(f"`{argument}` must be at least 1; got {limit}.")
    if path is None and (num_classes is not None or num_categorical):
        raise ValueError(
            "`num_classes` and `num_categorical` are for a `path`; named sets have their own."
        )
    images = resize.Smaller(crop, image_size, grey)
    if path is None and name in _TEXTS:
        images.refuse(f"{name} is a text")
        place = _find_text(_folder(data_dir), name)
        found = text.read(place, name, sequence_length, max_examples, text_start)
        return _fewer_held_out(found, max_held_out)
    if path is not None:
        name = Path(path).stem if name in names() else name
        arrays = own.read(Path(path).expanduser())
        kinds = {"num_classes": num_classes, "num_categorical": num_categorical}
    else:
        arrays, kinds = _named(name, data_dir, download)
    pool = [_limited(*part, max_examples, seed, i) for i, part in enumerate(_parts(arrays))]
    pool = [(images.of(inputs, name), targets) for inputs, targets in pool]
    whole = from_arrays(
        *pool[0],
        test=pool[1] if len(pool) > 1 else None,
        validation_fraction=VALIDATION_FRACTION if len(pool) > 1 else 0.2,
        standardize_targets=standardize_targets,
        seed=seed,
        name=name,
        **kinds,
    )
    return _fewer_held_out(whole, max_held_out)


@extras.explained
def prepare(
    name: str,
    data_dir: str | Path,
    *,
    manual_dir: str | Path | None = None,
    max_examples: int | None = None,
) -> Path:
    """Write a standard image set as array_record below `data_dir`; see `builders.prepare`."""
    from ganno_jax.tasks.sources import builders  # imports tensorflow_datasets: seconds

    return builders.prepare(name, data_dir, manual_dir=manual_dir, max_examples=max_examples)


def _folder(data_dir: str | None) -> Path:
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or DEFAULT_FOLDER).expanduser()


def _parts(arrays: ImageArrays) -> list[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets: the training split and, where there is one, the official test split."""
    train = (arrays.train_images, arrays.train_labels)
    if arrays.test_images is None:
        return [train]
    return [train, (arrays.test_images, arrays.test_labels)]


def _named(
    name: str, data_dir: str | None, download: bool
) -> tuple[ImageArrays, dict[str, int | None]]:
    """A table or an image set by name, with what `from_arrays` must know of it."""
    if name in TABLES:
        return _table(name)
    arrays = _image_arrays(_folder(data_dir), name, download)
    return arrays, {"num_classes": arrays.num_classes}


def _table(name: str) -> tuple[ImageArrays, dict[str, int]]:
    """One of `TABLES`, with what `from_arrays` must know of it."""
    table = TABLES[name]()
    arrays = ImageArrays(table.inputs, table.targets, None, None, table.num_classes)
    return arrays, {"num_classes": table.num_classes, "num_categorical": table.num_categorical}


def _image_arrays(folder: Path, name: str, download: bool) -> ImageArrays:
    """An image set by name."""
    if name == "digits":
        return _digits()
    if name in _STANDARD:
        return _read_standard(folder, name, download)
    if (place := prepared.find(folder, name)) is not None:
        return prepared.read(place)
    others = [found for found in prepared.names(folder) if found not in names()]
    raise ValueError(
        f"no data set {name!r}; there are: {', '.join([*names(), *others])}, and any image "
        f"classification set that TensorFlow Datasets has prepared as array_record in {folder}."
    )


def _fewer_held_out(dataset: Dataset, count: int | None) -> Dataset:
    """Validation and test splits of at most `count` examples."""
    if count is None:
        return dataset
    validation, test = (
        Split(split.inputs[:count], split.targets[:count])
        for split in (dataset.validation, dataset.test)
    )
    return dataset.replace(validation=validation, test=test)


def _limited(
    inputs: np.ndarray, targets: np.ndarray, max_examples: int | None, seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `max_examples`, drawn at random, in their order; `number` is that of the pool."""
    if max_examples is None or not max_examples < len(inputs) == len(targets):
        return inputs, targets
    order = np.random.default_rng((seed, number)).permutation(len(inputs))
    kept = np.sort(order[:max_examples])
    return inputs[kept], targets[kept]


def _digits() -> ImageArrays:
    """Optical recognition of handwritten digits: 1797 images, values 0 to 16."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return ImageArrays(images.reshape(-1, 8, 8, 1).astype(np.uint8), labels, None, None, 10)


def _places(folder: Path, name: str) -> dict[Path, bool]:
    """Folders where raw files may lie, and whether the folder's name says which set they are."""
    spellings = {name, name.replace("_", "-")}
    manual = folder / "downloads" / "manual"
    named = [parent / spelling for parent in (folder, manual) for spelling in sorted(spellings)]
    places = dict.fromkeys([*named, folder / "downloads" / name / "manual"], True)
    return places | {folder: folder.name in spellings, manual: False}


def _read_raw(folder: Path, name: str) -> ImageArrays | None:
    """A standard set from its authors' files, if they are somewhere in the folder."""
    for place, is_named in _places(folder, name).items():
        if name == "cifar10":
            if (source := cifar.find(place)) is not None:
                return cifar.read(source)
        elif (files := idx.find(place)) is not None:
            return idx.read(name, files, must_be_official=not is_named)
    return None


def _read_standard(folder: Path, name: str, download: bool) -> ImageArrays:
    """A standard set: prepared, else its authors' files, else by download."""
    if (place := prepared.find(folder, name)) is not None:
        return prepared.read(place)
    if (arrays := _read_raw(folder, name)) is not None:
        return arrays
    if not download:
        raise FileNotFoundError(_missing(folder, name, _STANDARD[name], "downloading was off"))
    try:
        return prepared.read(prepare(name, folder))
    except OSError as error:
        reason = f"downloading failed: {type(error).__name__}: {error}"
        raise FileNotFoundError(_missing(folder, name, _STANDARD[name], reason)) from error


def _find_text(folder: Path, name: str) -> Path:
    """The file of a text."""
    for place in (folder, folder / "text", folder / name):
        if (place / _TEXTS[name].files).is_file():
            return place / _TEXTS[name].files
    raise FileNotFoundError(_missing(folder, name, _TEXTS[name], "texts are not downloaded"))


def _missing(folder: Path, name: str, standard: _Standard, reason: str) -> str:
    """The one message for all sets that are not there."""
    if name in _TEXTS:
        return (
            f"data set {name!r} is not in {folder} ({reason}). Expected: {standard.files}, there "
            f"or in {folder / 'text'}. Either put the file there, from {standard.url}, or name the "
            "folder that has it, with `data_dir` (--data.dir) or TFDS_DATA_DIR."
        )
    return (
        f"data set {name!r} is not in {folder} ({reason}). Expected: a set prepared by TensorFlow "
        f"Datasets as array_record in {folder / name}, or the authors' files in {folder / name}: "
        f"{standard.files}. Either put those files there, from {standard.url}, or run once where "
        "there is a network, which downloads and prepares the set. Another folder is named with "
        "`data_dir` (--data.dir) or TFDS_DATA_DIR."
    )
