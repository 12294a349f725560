"""A supervised data set that lives on the device once and is shared by all trainings."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from ganno_jax.tasks import arrays

AnyArray = Array | np.ndarray  # on the host until `place` puts it on the device


@struct.dataclass
class Batch:
    """Examples as a network sees them: float32 or int32 token ids, and int32 class ids or float targets."""

    inputs: Num[AnyArray, "batch ..."]
    targets: Num[AnyArray, "batch ..."]


@struct.dataclass
class Split:
    """Part of a data set, as it is stored: uint8 images stay uint8."""

    inputs: Num[AnyArray, "example ..."]
    targets: Num[AnyArray, "example ..."]

    @property
    def num_examples(self) -> int:
        """Length of the example axis."""
        return self.inputs.shape[0]


@struct.dataclass
class Dataset:
    """Examples for training, selection and report, with the affine map that normalizes them in the gather.

    `train` is what trainings and rewards draw from. `validation` is the *selection* split: it chooses peaks, presets,
    constants and which of several controllers is kept. `test` is the *report* split: it is measured and never used
    for anything else.

    A batch is `inputs * scale + shift` in float32; with `scale=None` the inputs are token ids and
    a batch has them as int32.

    With `num_sets` above 1 it is that many data sets of one shape: each split holds an equal part of each, one after
    the other, and a training uses the examples of one of them.
    """

    train: Split
    validation: Split
    test: Split
    scale: Float[AnyArray, "..."] | None
    shift: Float[AnyArray, "..."] | None
    num_classes: int = struct.field(pytree_node=False)  # 0 for a regression
    name: str = struct.field(pytree_node=False, default="arrays")
    num_sets: int = struct.field(pytree_node=False, default=1)

    def count(self, split: Split) -> int:
        """Examples of a split that one training may use: those of one of the sets."""
        return split.num_examples // self.num_sets

    def draw_set(self, key: PRNGKeyArray) -> Int[Array, ""] | None:
        """The number of one of the sets; None where there is only one."""
        return None if self.num_sets == 1 else jax.random.randint(key, (), 0, self.num_sets)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train.inputs.shape[1:]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one example's target: `()` for a class id or one number."""
        return self.train.targets.shape[1:]

    def normalize(self, inputs: Num[AnyArray, "batch ..."]) -> Num[Array, "batch ..."]:
        """Stored examples as the network reads them."""
        if self.scale is None or self.shift is None:
            return jnp.asarray(inputs, jnp.int32)
        return jnp.asarray(inputs, jnp.float32) * self.scale + self.shift

    def gather(self, split: Split, indices: Int[AnyArray, " batch"]) -> Batch:
        """The examples at `indices` of `split`, normalized; indices past the end are clamped."""
        return Batch(
            self.normalize(jnp.take(split.inputs, indices, axis=0, mode="clip")),
            _targets(jnp.take(split.targets, indices, axis=0, mode="clip")),
        )

    def whole(self, split: Split) -> Batch:
        """All examples of `split`, normalized."""
        return Batch(self.normalize(split.inputs), _targets(jnp.asarray(split.targets)))


def _targets(targets: Num[Array, "batch ..."]) -> Num[Array, "batch ..."]:
    """Class ids as int32; real-valued targets of a regression stay as they are."""
    is_real = jnp.issubdtype(targets.dtype, jnp.floating)
    return targets if is_real else targets.astype(jnp.int32)


def from_arrays(
    inputs: Num[np.ndarray, "example ..."],
    targets: Num[np.ndarray, "example ..."],
    *,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    num_classes: int | None = None,
    num_categorical: int = 0,
    normalize: bool = True,
    standardize_targets: bool = False,
    num_sets: int = 1,
    seed: int = 0,
    name: str = "arrays",
) -> Dataset:
    """A data set from arrays in memory: classes, tokens to predict, or numbers of a regression.

    Examples are shuffled once with `seed` and cut into splits; where `test` is given it is kept,
    in its order, as the test split. Normalization to zero mean and unit variance is fitted on the
    training split: per channel for images `[example, height, width, channel]`, per feature for
    float tables `[example, feature]`, otherwise one number for all. What is constant becomes 0.

    Args:
      inputs: examples of any shape, uint8 or floating; integers of other types are pixels where there are
        four axes, else token ids, which become int32 and are not normalized.
      targets: class ids in `[0, num_classes)`, of an integer type, one for each example or an array
        of them (next tokens); or real numbers of any shape, which make it a regression.
      test: inputs and targets of an official test split.
      validation_fraction: share of `inputs` held out for validation, in (0, 1).
      test_fraction: share held out for testing where `test` is not given, in (0, 1).
      num_classes: by default the largest target plus one, and 0 for targets of a floating type: a regression,
        which 0 also makes of integers.
      num_categorical: how many first columns of a float table `[example, column]` hold ids of categories from 0 on;
        they are not normalized.
      normalize: False keeps uint8 inputs in [0, 255] and floats as they are, as float32.
      standardize_targets: bring a regression's targets to zero mean and unit variance over the training
        split: by column, by channel of images, else all together.
      num_sets: `inputs` are that many data sets of equal length, one after the other; each is cut apart, and a
        training uses one of them. Not with a `test` split.
      seed: of the shuffle.
      name: shown in tables.

    Returns:
      The data set, still made of NumPy arrays; `place` puts it on the device.

    Raises:
      ValueError: lengths or shapes differ, a split would be empty, something is no real number, NaN or infinity,
        pixels outside [0, 255], targets outside the classes or of one class only.
    """
    real = num_classes == 0 or (num_classes is None and np.asarray(targets).dtype.kind == "f")
    if standardize_targets and not real:
        raise ValueError("`standardize_targets` is for a regression; these targets are class ids.")
    inputs = arrays.checked_inputs(inputs, "")
    targets = arrays.checked_targets(targets, "", len(inputs), real)
    if num_sets < 1 or len(inputs) % num_sets or (num_sets > 1 and test is not None):
        raise ValueError(
            f"`num_sets` must divide the number of examples, {len(inputs)}, and there is no official test split then; "
            f"got {num_sets}."
        )
    size = len(inputs) // num_sets
    cuts = _cuts(size, validation_fraction, test_fraction if test is None else None, seed)
    firsts = size * np.arange(num_sets)[:, None]
    splits = [
        Split(inputs[every], targets[every]) for every in ((firsts + cut).ravel() for cut in cuts)
    ]
    if test is not None:
        splits.append(_official_test(test, splits[0], real))
    every = [split.targets for split in splits]
    num_classes = 0 if real else arrays.count_classes(every, num_classes)
    if standardize_targets:
        every = arrays.standardize(every)
        splits = [split.replace(targets=part) for split, part in zip(splits, every, strict=True)]
    _check_categories(splits, num_categorical)
    scale, shift = arrays.affine(splits[0].inputs, normalize, num_categorical)
    return Dataset(
        *splits, scale=scale, shift=shift, num_classes=num_classes, name=name, num_sets=num_sets
    )


def place(dataset: Dataset) -> Dataset:
    """Put a data set made of NumPy arrays on the default device."""
    return jax.tree.map(jnp.asarray, dataset)


def _cuts(
    num_examples: int, validation_fraction: float, test_fraction: float | None, seed: int
) -> list[Int[np.ndarray, " part"]]:
    """Shuffled numbers of the examples for training, validation and, with a fraction for it, testing."""
    fractions = {"validation_fraction": validation_fraction}
    if test_fraction is not None:
        fractions["test_fraction"] = test_fraction
    for argument, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise ValueError(f"`{argument}` must be in (0, 1); got {fraction}.")
    order = np.random.default_rng(seed).permutation(num_examples)
    counts = [int(num_examples * fraction) for fraction in fractions.values()]
    num_train = num_examples - sum(counts)
    if min(num_train, *counts) < 1:
        raise ValueError(
            f"every split needs at least one example; {num_examples} examples, of which "
            f"{' and '.join(f'{share:g}' for share in fractions.values())} are held out for validation"
            f"{'' if test_fraction is None else ' and testing'}, give {num_train} for training and "
            f"{' and '.join(map(str, counts))} held out."
        )
    return np.split(order, np.cumsum([num_train, *counts])[:-1])


def _official_test(test: tuple[np.ndarray, np.ndarray], train: Split, real: bool) -> Split:
    """A test split that is given, if it looks like the others."""
    inputs = arrays.checked_inputs(test[0], "test ")
    split = Split(inputs, arrays.checked_targets(test[1], "test ", len(inputs), real))
    for what in ("inputs", "targets"):
        given, others = getattr(split, what), getattr(train, what)
        if given.shape[1:] != others.shape[1:]:
            raise ValueError(
                f"test {what} must have the shape {others.shape[1:]} of the others; got {given.shape[1:]}."
            )
        if given.dtype != others.dtype:
            raise ValueError(
                f"test {what} must have the type {others.dtype} of the others; got {given.dtype}."
            )
    return split


def _check_categories(splits: list[Split], num_categorical: int) -> None:
    """`ValueError` unless the first columns of a float table are ids."""
    if num_categorical == 0:
        return
    first = splits[0].inputs
    if first.ndim != 2 or first.dtype != np.float32 or not 0 < num_categorical <= first.shape[1]:
        raise ValueError(
            "`num_categorical` counts columns of a float table [example, column]; got "
            f"{num_categorical} and inputs of {first.dtype} and shape {first.shape}."
        )
    for split in splits:
        ids = split.inputs[:, :num_categorical]
        if (ids < 0).any() or (ids != np.floor(ids)).any():
            column = int(np.flatnonzero(((ids < 0) | (ids != np.floor(ids))).any(0))[0])
            raise ValueError(
                f"the first {num_categorical} columns must hold ids of categories, whole numbers from 0 on; "
                f"column {column} does not."
            )
