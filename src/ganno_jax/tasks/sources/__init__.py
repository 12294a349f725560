"""Named data sets: where each is looked for, and what is said when it is not there.

One folder is searched: `data_dir`, else the environment variable `TFDS_DATA_DIR`, else
`~/tensorflow_datasets`. Nothing is ever replaced by synthetic data.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganno_jax.tasks.dataset import Dataset, from_arrays
from ganno_jax.tasks.sources import cifar, idx, prepared, resize, text
from ganno_jax.tasks.sources.raw import ImageArrays, read_npz

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
    return ("digits", *_STANDARD, *_TEXTS)


def load(
    name: str = "digits",
    *,
    data_dir: str | None = None,
    path: str | None = None,
    seed: int = 0,
    max_examples: int | None = None,
    image_size: int | None = None,
    sequence_length: int = 64,
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
      path: an `.npz` file with `x`, `y` and optionally `x_test`, `y_test`, instead of a name.
      seed: of the split, and of the choice of `max_examples`.
      max_examples: at most so many examples before the validation split is cut, and at most so many
        official test examples, drawn at random; for text the first so many windows of each split.
      image_size: side of smaller, square images by area averaging.
      sequence_length: characters in a window of a text.
      download: False never tries the network.

    Raises:
      ValueError: unknown name, damaged file (the message names it), arguments that do not fit.
      FileNotFoundError: the set is not in the folder and cannot be downloaded.
    """
    if max_examples is not None and max_examples < 1:
        raise ValueError(f"`max_examples` must be at least 1; got {max_examples}.")
    if path is not None:
        name = Path(path).stem if name in names() else name
        arrays = _read_npz(Path(path).expanduser())
        return _build(arrays, name, seed, max_examples, image_size)
    folder = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or DEFAULT_FOLDER).expanduser()
    if name in _TEXTS:
        if image_size is not None:
            raise ValueError(f"`image_size` is for images; {name} is a text.")
        return text.read(_find_text(folder, name), name, sequence_length, max_examples)
    if name == "digits":
        arrays = _digits()
    elif name in _STANDARD:
        arrays = _read_standard(folder, name, download)
    elif (place := prepared.find(folder, name)) is not None:
        arrays = prepared.read(place)
    else:
        others = [found for found in prepared.names(folder) if found not in names()]
        raise ValueError(
            f"no data set {name!r}; there are: {', '.join([*names(), *others])}, and any image "
            f"classification set that TensorFlow Datasets has prepared as array_record in {folder}."
        )
    return _build(arrays, name, seed, max_examples, image_size)


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


def _build(
    arrays: ImageArrays, name: str, seed: int, max_examples: int | None, image_size: int | None
) -> Dataset:
    """Limit, shrink, split and normalize."""
    pool = [(arrays.train_images, arrays.train_labels)]
    if arrays.test_images is not None:
        pool.append((arrays.test_images, arrays.test_labels))
    for number, (images, labels) in enumerate(pool):
        if max_examples is not None and max_examples < len(images) == len(labels):
            generator = np.random.default_rng((seed, number))
            kept = np.sort(generator.permutation(len(images))[:max_examples])
            images, labels = images[kept], labels[kept]
        if image_size is not None:
            if images.dtype != np.uint8 or images.ndim != 4:
                raise ValueError(
                    "`image_size` needs uint8 images [example, height, width, channel]; "
                    f"{name} has {images.dtype} of shape {images.shape}."
                )
            images = resize.shrink(images, image_size)
        pool[number] = images, labels
    return from_arrays(
        *pool[0],
        test=pool[1] if len(pool) > 1 else None,
        validation_fraction=VALIDATION_FRACTION if len(pool) > 1 else 0.2,
        num_classes=arrays.num_classes or None,
        seed=seed,
        name=name,
    )


def _digits() -> ImageArrays:
    """Optical recognition of handwritten digits: 1797 images, values 0 to 16."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return ImageArrays(images.reshape(-1, 8, 8, 1).astype(np.uint8), labels, None, None, 10)


def _read_npz(path: Path) -> ImageArrays:
    """Arrays of the user's own."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; expected an .npz file with arrays x and y.")
    arrays = read_npz(path)
    keys = set(arrays)
    if not {"x", "y"} <= keys or ("x_test" in keys) != ("y_test" in keys):
        raise ValueError(
            f"{path}: expected arrays x, y and, both or neither, x_test, y_test; "
            f"got {sorted(keys)}."
        )
    test = arrays.get("x_test"), arrays.get("y_test")
    return ImageArrays(arrays["x"], arrays["y"], *test, num_classes=0)


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
