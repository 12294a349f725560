"""A supervised data set that lives on the device once and is shared by all trainings."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, Num

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
    """

    train: Split
    validation: Split
    test: Split
    scale: Float[AnyArray, "..."] | None
    shift: Float[AnyArray, "..."] | None
    num_classes: int = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False, default="arrays")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train.inputs.shape[1:]

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
    targets: Num[np.ndarray, " example"],
    *,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    num_classes: int | None = None,
    normalize: bool = True,
    seed: int = 0,
    name: str = "arrays",
) -> Dataset:
    """A classification data set from arrays in memory.

    Examples are shuffled once with `seed` and cut into splits; where `test` is given it is kept,
    in its order, as the test split. Normalization to zero mean and unit variance is fitted on the
    training split: per channel for images `[example, height, width, channel]`, per feature for
    float tables `[example, feature]`, otherwise one number for all. What is constant becomes 0.

    Args:
      inputs: examples, uint8 or floating; integers of other types are class or token ids, become
        int32 and are not normalized.
      targets: class ids in `[0, num_classes)`, of an integer type.
      test: inputs and targets of an official test split.
      validation_fraction: share of `inputs` held out for validation, in (0, 1).
      test_fraction: share held out for testing where `test` is not given, in (0, 1).
      num_classes: by default the largest target plus one.
      normalize: False keeps uint8 inputs in [0, 255] and floats as they are, as float32.
      seed: of the shuffle.
      name: shown in tables.

    Returns:
      The data set, still made of NumPy arrays; `place` puts it on the device.

    Raises:
      ValueError: lengths or shapes differ, a split would be empty, targets are no integers or
        outside the classes, NaN or infinity in the inputs.
    """
    inputs, targets = _checked(inputs, targets, "")
    fractions = {"validation_fraction": validation_fraction}
    if test is None:
        fractions["test_fraction"] = test_fraction
    for argument, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise ValueError(f"`{argument}` must be in (0, 1); got {fraction}.")

    order = np.random.default_rng(seed).permutation(len(inputs))
    counts = [int(len(inputs) * fraction) for fraction in fractions.values()]
    num_train = len(inputs) - sum(counts)
    if min(num_train, *counts) < 1:
        raise ValueError(
            f"every split needs at least one example; {len(inputs)} examples, of which "
            f"{' and '.join(f'{share:g}' for share in fractions.values())} are held out for validation"
            f"{'' if test is not None else ' and testing'}, give {num_train} for training and "
            f"{' and '.join(map(str, counts))} held out."
        )
    cuts = np.split(order, np.cumsum([num_train, *counts])[:-1])
    splits = [Split(inputs[cut], targets[cut]) for cut in cuts]
    if test is not None:
        splits.append(Split(*_checked(*test, "test ")))
        if splits[-1].inputs.shape[1:] != inputs.shape[1:]:
            raise ValueError(
                f"test inputs must have the shape {inputs.shape[1:]} of the others; "
                f"got {splits[-1].inputs.shape[1:]}."
            )
        if splits[-1].inputs.dtype != inputs.dtype:
            raise ValueError(
                f"test inputs must have the type {inputs.dtype} of the others; "
                f"got {splits[-1].inputs.dtype}."
            )

    largest = max(int(split.targets.max()) for split in splits)
    num_classes = largest + 1 if num_classes is None else num_classes
    if largest >= num_classes:
        raise ValueError(
            f"targets must be class ids in [0, {num_classes}); the largest is {largest}."
        )
    scale, shift = _affine(splits[0].inputs, normalize)
    return Dataset(*splits, scale=scale, shift=shift, num_classes=num_classes, name=name)


def place(dataset: Dataset) -> Dataset:
    """Put a data set made of NumPy arrays on the default device."""
    return jax.tree.map(jnp.asarray, dataset)


def _checked(
    inputs: np.ndarray, targets: np.ndarray, which: str
) -> tuple[Num[np.ndarray, "example ..."], Int[np.ndarray, " example"]]:
    """Inputs as uint8, float32 or int32 and targets as int32, or a ValueError."""
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    if targets.ndim != 1 or inputs.ndim < 1 or len(inputs) != len(targets):
        raise ValueError(
            f"{which}inputs [example, ...] and targets [example] must have the same length; "
            f"got shapes {inputs.shape} and {targets.shape}."
        )
    if len(inputs) == 0:
        raise ValueError(f"{which}inputs must hold at least one example; got none.")
    if inputs.size == 0:
        raise ValueError(f"{which}inputs must not be empty; got the shape {inputs.shape}.")
    if targets.dtype.kind not in "iub":
        raise ValueError(
            f"{which}targets must be class ids of an integer type; got {targets.dtype}."
        )
    if int(targets.min()) < 0 or int(targets.max()) >= 2**31:
        raise ValueError(
            f"{which}targets must be class ids from 0 on; they go from {targets.min()} to "
            f"{targets.max()}."
        )
    if inputs.dtype.kind == "b":
        inputs = inputs.astype(np.uint8)
    elif inputs.dtype.kind in "iu" and inputs.dtype != np.uint8:
        if int(inputs.min()) < -(2**31) or int(inputs.max()) >= 2**31:
            raise ValueError(f"{which}inputs of an integer type are ids and must fit into int32.")
        inputs = inputs.astype(np.int32)
    elif inputs.dtype.kind not in "iu":
        try:
            with np.errstate(over="ignore"):
                inputs = inputs.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{which}inputs must be numbers; got {inputs.dtype}.") from error
        if not np.isfinite(inputs).all():
            where = np.flatnonzero(~np.isfinite(inputs.reshape(len(inputs), -1)).all(1))
            raise ValueError(
                f"{which}inputs must be finite in float32; {len(where)} examples have NaN or "
                f"infinity, the first is number {where[0]}."
            )
    return inputs, targets.astype(np.int32)


def _affine(
    inputs: Num[np.ndarray, "example ..."], normalize: bool
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]] | tuple[None, None]:
    """Scale and shift that bring `inputs` to zero mean and unit variance; None for ids."""
    if inputs.dtype == np.int32:
        return None, None
    per_last_axis = inputs.ndim == 4 or (inputs.ndim == 2 and inputs.dtype != np.uint8)
    shape = inputs.shape[-1:] if per_last_axis else ()
    if not normalize:
        return np.ones(shape, np.float32), np.zeros(shape, np.float32)
    # Two passes over small chunks, summed over examples first: no copy of everything, in cache.
    kind = np.float32 if inputs.dtype == np.uint8 else np.float64
    axes = tuple(range(inputs.ndim - 1 - len(shape)))
    count = inputs.size // max(1, int(np.prod(shape)))
    starts = range(0, len(inputs), 256)
    total = sum(inputs[i : i + 256].sum(0, dtype=kind).astype(np.float64) for i in starts)
    mean = np.sum(total, axes) / count
    square = sum(
        np.square(inputs[i : i + 256].astype(kind) - mean.astype(kind)).sum(0).astype(np.float64)
        for i in starts
    )
    square = np.sum(square, axes)
    deviation = np.sqrt(square / count)
    varies = deviation > 1e-6 * np.abs(mean)  # below that float32 holds only rounding errors
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 1)
    return np.asarray(scale, np.float32), np.asarray(-mean * scale, np.float32)
