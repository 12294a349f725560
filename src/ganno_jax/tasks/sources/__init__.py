"""Named data sets: where each is looked for, and what is said when it is not there.

One folder is searched: `data_dir`, else the environment variable `TFDS_DATA_DIR`, else
`~/tensorflow_datasets`. Some sets need no folder: they ship with scikit-learn or are generated, and say so by their
name. Nothing is ever replaced by synthetic data.
"""

import os
from pathlib import Path

import numpy as np

from ganno_jax import extras
from ganno_jax.tasks.dataset import Dataset, Split, from_arrays
from ganno_jax.tasks.sources import own, prepared, resize, standard, text
from ganno_jax.tasks.sources.raw import ImageArrays
from ganno_jax.tasks.sources.without_folder import TABLES

DEFAULT_FOLDER = "~/tensorflow_datasets"
"""Where data sets are looked for if nothing else is said."""
VALIDATION_FRACTION = 0.1
"""Share of the official training split that is set aside for choices."""


def names() -> tuple[str, ...]:
    """The sets that are known by name; any other prepared TFDS image set can be loaded as well."""
    return ("digits", *TABLES, *standard.IMAGES, *standard.TEXTS)


@extras.explained
def load(
    name: str = "digits",
    *,
    data_dir: str | None = None,
    path: str | None = None,
    seed: int = 0,
    max_examples: int | None = None,
    max_held_out: int | None = None,
    first_test: int = 0,
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
      first_test: test examples that are left out before those that are kept, so that they are others than without.
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
    if path is None:
        _refuse_kinds(num_classes, num_categorical)
    images = resize.Smaller(crop, image_size, grey)
    if path is None and name in standard.TEXTS:
        images.refuse(f"{name} is a text")
        place = standard.find_text(_folder(data_dir), name)
        found = text.read(place, name, sequence_length, max_examples, text_start)
        return _fewer_held_out(found, max_held_out, first_test)
    if path is not None:
        name = Path(path).stem if name in names() else name
        arrays = own.read(Path(path).expanduser())
        kinds = {"num_classes": num_classes, "num_categorical": num_categorical}
    else:
        arrays, kinds = _named(name, data_dir, download)
    _refuse_cut(name, kinds, max_examples, max_held_out)
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
    return _fewer_held_out(whole, max_held_out, first_test)


@extras.explained
def prepare(
    name: str,
    data_dir: str | Path,
    *,
    manual_dir: str | Path | None = None,
    max_examples: int | None = None,
) -> Path:
    """Write a standard image set as array_record below `data_dir`; see `builders.prepare`.

    Args:
      name: one of the standard image sets.
      data_dir: the folder it is written to, in a folder of its name.
      manual_dir: where the authors' files lie, for a machine without a network.
      max_examples: at most so many of each split; None for all.
    """
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
    passed_on = ("num_classes", "num_categorical", "num_sets", "normalize")
    kinds = {name: getattr(table, name) for name in passed_on}
    return arrays, kinds


def _image_arrays(folder: Path, name: str, download: bool) -> ImageArrays:
    """An image set by name."""
    if name == "digits":
        return _digits()
    if name in standard.IMAGES:
        return _read_standard(folder, name, download)
    if (place := prepared.find(folder, name)) is not None:
        return prepared.read(place)
    others = [found for found in prepared.names(folder) if found not in names()]
    raise ValueError(
        f"no data set {name!r}; there are: {', '.join([*names(), *others])}, and any image "
        f"classification set that TensorFlow Datasets has prepared as array_record in {folder}."
    )


def _refuse_kinds(num_classes: int | None, num_categorical: int) -> None:
    if num_classes is not None or num_categorical:
        raise ValueError(
            "`num_classes` and `num_categorical` are for a `path`; named sets have their own."
        )


def _refuse_cut(name: str, kinds: dict[str, int | None], *limits: int | None) -> None:
    if (kinds.get("num_sets") or 1) > 1 and any(limit is not None for limit in limits):
        raise ValueError(f"{name} is many data sets in one, which cannot be made smaller.")


def _fewer_held_out(dataset: Dataset, count: int | None, first_test: int) -> Dataset:
    """Validation and test splits of at most `count` examples, the test split from `first_test` on."""
    there = dataset.count(dataset.test)
    if not 0 <= first_test < there:
        raise ValueError(
            f"`first_test` must be at least 0 and below the {there} test examples; got {first_test}."
        )

    def kept(split: Split, first: int) -> Split:
        return Split(split.inputs[first:][:count], split.targets[first:][:count])

    return dataset.replace(
        validation=kept(dataset.validation, 0), test=kept(dataset.test, first_test)
    )


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


def _read_standard(folder: Path, name: str, download: bool) -> ImageArrays:
    """A standard set: prepared, else its authors' files, else by download."""
    if (place := prepared.find(folder, name)) is not None:
        return prepared.read(place)
    if (arrays := standard.read_raw(folder, name)) is not None:
        return arrays
    if not download:
        raise FileNotFoundError(standard.missing(folder, name, "downloading was off"))
    try:
        return prepared.read(prepare(name, folder))
    except OSError as error:
        reason = f"downloading failed: {type(error).__name__}: {error}"
        raise FileNotFoundError(standard.missing(folder, name, reason)) from error
