"""Sets that scikit-learn ships: tables, and patches of its two photographs."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

PATCH = 8  # side of a patch of the photographs
MIDDLE_PATCH = 7  # of those whose middle is to be told
PATCH_NOISE = 0.25  # standard deviation of the noise on pixels in [0, 1]


class Table(NamedTuple):
    """Examples in one piece; `num_classes` is 0 for a regression."""

    inputs: Num[np.ndarray, "example ..."]
    targets: Num[np.ndarray, "example ..."]
    num_classes: int
    num_categorical: int = 0  # first columns that hold ids of categories
    num_sets: int = 1  # see `tasks.Dataset`
    normalize: bool = True


def breast_cancer() -> Table:
    """569 tumours by 30 numbers, benign or malignant."""
    from sklearn.datasets import load_breast_cancer

    return Table(*load_breast_cancer(return_X_y=True), 2)


def wine() -> Table:
    """178 wines by 13 numbers, from three cultivars."""
    from sklearn.datasets import load_wine

    return Table(*load_wine(return_X_y=True), 3)


def diabetes() -> Table:
    """442 patients by 10 numbers; how far the disease went within a year, 25 to 346."""
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    return Table(inputs, targets.astype(np.float32), 0)


def noisy_patches() -> Table:
    """Grey patches of two photographs under noise; the target is the patch without it.

    The photographs (427 x 640 pixels, a temple and a flower) are cut into 8,480 squares of 8 x 8 that do not
    overlap. Noise is normal with deviation 0.25 of the whole range, fixed for each patch.
    """
    clean = _patches(PATCH)
    noise = np.random.default_rng(0).normal(0, PATCH_NOISE, clean.shape)
    return Table((clean + noise).astype(np.float32), clean, 0)


def middle_pixels() -> Table:
    """11,102 grey patches of 7 x 7 pixels of two photographs; the pixel in the middle from the 48 around it.

    The photographs are those of `noisy_patches`, cut into squares that do not overlap.
    """
    patches = _patches(MIDDLE_PATCH).reshape(-1, MIDDLE_PATCH**2)
    middle = MIDDLE_PATCH**2 // 2
    return Table(np.delete(patches, middle, 1), patches[:, middle], 0)


def _patches(side: int) -> Float[np.ndarray, "patch side side 1"]:
    """Squares of both photographs that do not overlap, grey, in [0, 1]."""
    from sklearn.datasets import load_sample_images

    parts = []
    for image in load_sample_images().images:
        grey = image.astype(np.float32).mean(-1) / 255
        rows, columns = grey.shape[0] // side, grey.shape[1] // side
        grey = grey[: rows * side, : columns * side].reshape(rows, side, columns, side)
        parts.append(grey.swapaxes(1, 2).reshape(-1, side, side, 1))
    return np.concatenate(parts)
