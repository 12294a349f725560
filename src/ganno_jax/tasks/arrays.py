"""Arrays as a data set stores them: checked, typed, with the map that normalizes them."""

import numpy as np
from jaxtyping import Float, Int, Num

FEWEST_IDS = 1000  # class ids below this are never suspicious


def checked_inputs(inputs: Num[np.ndarray, "example ..."], which: str) -> np.ndarray:
    """Inputs as uint8, float32 or int32.

    Integers of an image `[example, height, width, channel]` are pixels and become uint8; other integers but uint8
    are ids and become int32.

    Args:
      inputs: at least one example.
      which: what stands before "inputs" in messages.

    Raises:
      ValueError: they are no numbers, not finite in float32, no pixels or no ids.
    """
    inputs = np.asarray(inputs)
    if inputs.ndim < 1 or len(inputs) == 0:
        raise ValueError(f"{which}inputs must hold at least one example; got none.")
    if inputs.size == 0:
        raise ValueError(f"{which}inputs must not be empty; got the shape {inputs.shape}.")
    if inputs.dtype.kind not in "fiub":
        raise ValueError(f"{which}inputs must be real numbers; got {inputs.dtype}.")
    if inputs.dtype.kind == "b":
        return inputs.astype(np.uint8)
    if inputs.dtype.kind == "f":
        return _float32(inputs, f"{which}inputs")
    if inputs.dtype == np.uint8:
        return inputs
    low, high = int(inputs.min()), int(inputs.max())
    if inputs.ndim == 4:
        if low < 0 or high > 255:
            raise ValueError(
                f"{which}inputs of an integer type and four axes are images with pixels in [0, 255]; "
                f"they go from {low} to {high}."
            )
        return inputs.astype(np.uint8)
    if low < 0 or high >= 2**31:
        raise ValueError(
            f"{which}inputs of an integer type are ids from 0 on that fit into int32; they go from {low} to {high}."
        )
    return inputs.astype(np.int32)


def checked_targets(
    targets: Num[np.ndarray, "example ..."], which: str, num_examples: int, real: bool
) -> np.ndarray:
    """Targets as int32 class ids, or as float32 numbers of a regression.

    Args:
      targets: one, or an array, for each example.
      which: what stands before "targets" in messages.
      num_examples: how many there must be.
      real: whether they are numbers and not ids.

    Raises:
      ValueError: another length, no numbers, not finite in float32, no ids.
    """
    targets = np.asarray(targets)
    if targets.ndim < 1 or len(targets) != num_examples:
        raise ValueError(
            f"{which}inputs [example, ...] and targets [example, ...] must have the same length; "
            f"got {num_examples} inputs and targets of shape {targets.shape}."
        )
    if targets.size == 0:
        raise ValueError(f"{which}targets must not be empty; got the shape {targets.shape}.")
    if targets.dtype.kind not in "fiub":
        raise ValueError(f"{which}targets must be class ids or real numbers; got {targets.dtype}.")
    if real:
        return _float32(targets, f"{which}targets")
    if targets.dtype.kind == "f":
        raise ValueError(
            f"{which}targets must be class ids of an integer type; got {targets.dtype}."
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= 2**31:
        raise ValueError(
            f"{which}targets must be class ids from 0 on; they go from {low} to {high}."
        )
    return targets.astype(np.int32)


def count_classes(targets: list[Int[np.ndarray, "example ..."]], num_classes: int | None) -> int:
    """How many classes there are: `num_classes`, or the largest id plus one.

    Raises:
      ValueError: an id is past `num_classes`; there is one class only; without `num_classes`, ids far above the
        number of targets, which no network should have outputs for.
    """
    largest = max(int(part.max()) for part in targets)
    if num_classes is not None and largest >= num_classes:
        raise ValueError(
            f"targets must be class ids in [0, {num_classes}); the largest is {largest}."
        )
    if all(part.min() == part.max() == largest for part in targets):
        raise ValueError(
            f"every target is class {largest}: with one class there is nothing to learn."
        )
    if num_classes is not None:
        return num_classes
    size = sum(part.size for part in targets)
    if largest >= max(FEWEST_IDS, size):
        distinct = len(np.unique(np.concatenate([part.ravel() for part in targets])))
        raise ValueError(
            f"class ids go up to {largest}, but {size} targets have {distinct} different ones; number the classes "
            "from 0 without gaps, or give `num_classes`."
        )
    return largest + 1


def affine(
    inputs: Num[np.ndarray, "example ..."], normalize: bool, num_categorical: int
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]] | tuple[None, None]:
    """Scale and shift that bring `inputs` to zero mean and unit variance; None for ids.

    The first `num_categorical` columns of a float table hold ids, which stay as they are.

    Args:
      inputs: uint8 images `[example, height, width, channel]`, a float table `[example, column]`, or ids (int32).
      normalize: False gives scale 1 and shift 0.
      num_categorical: number of leading columns with ids, >= 0.

    Returns:
      Both per channel for images, per column for a float table, else one number.
    """
    if inputs.dtype == np.int32:
        return None, None
    per_last_axis = inputs.ndim == 4 or (inputs.ndim == 2 and inputs.dtype != np.uint8)
    shape = inputs.shape[-1:] if per_last_axis else ()
    scale, shift = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    if normalize:
        scale, shift = _standardization(inputs, shape)
    if num_categorical:
        scale[:num_categorical], shift[:num_categorical] = 1, 0
    return scale, shift


def standardize(parts: list[Float[np.ndarray, "example ..."]]) -> list[np.ndarray]:
    """All parts, shifted and scaled so that the first has zero mean and unit variance.

    By column for `[example, column]` and by channel for `[example, height, width, channel]`.
    """
    shape = parts[0].shape[-1:] if parts[0].ndim in (2, 4) else ()
    scale, shift = _standardization(parts[0], shape)
    return [np.asarray(part * scale + shift, np.float32) for part in parts]


def _float32(values: Num[np.ndarray, "example ..."], what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        where = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
        raise ValueError(
            f"{what} must be finite in float32; {len(where)} examples have NaN or "
            f"infinity, the first is number {where[0]}."
        )
    return values


def _standardization(
    values: Num[np.ndarray, "example ..."], shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Scale and shift over all axes but those of `shape`, the last one or none; what is constant becomes 0."""
    # Two passes over small chunks, summed over examples first: no copy of everything, in cache.
    kind = np.float32 if values.dtype == np.uint8 else np.float64
    axes = tuple(range(values.ndim - 1 - len(shape)))
    count = values.size // max(1, int(np.prod(shape)))
    starts = range(0, len(values), 256)
    total = sum(values[i : i + 256].sum(0, dtype=kind).astype(np.float64) for i in starts)
    mean = np.sum(total, axes) / count
    square = sum(
        np.square(values[i : i + 256].astype(kind) - mean.astype(kind)).sum(0).astype(np.float64)
        for i in starts
    )
    square = np.sum(square, axes)
    deviation = np.sqrt(square / count)
    varies = deviation > 1e-6 * np.abs(mean)  # below that float32 holds only rounding errors
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 1)
    return np.asarray(scale, np.float32), np.asarray(-mean * scale, np.float32)
