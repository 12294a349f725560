"""Generated images, as the tables of `generated`."""

import numpy as np

from ganno_jax.tasks.sources.tables import Table


def textures() -> Table:
    """8,000 noisy grey images of 12 x 12: two gratings over each other, the stronger of which tells the class.

    The ten classes are five directions and two wavelengths (3 and 6 pixels). The stronger grating has amplitude 1, the
    weaker 0.5 and another, random class; phases are uniform and the noise on each pixel is normal with deviation 1.
    """
    rng = np.random.default_rng(13)
    num_images, side, num_classes = 8_000, 12, 10
    classes = rng.integers(num_classes, size=num_images)
    others = (classes + rng.integers(1, num_classes, num_images)) % num_classes
    images = _gratings(classes, side, rng) + 0.5 * _gratings(others, side, rng)
    images = images + rng.normal(size=images.shape)
    return Table(images[..., None].astype(np.float32), classes, num_classes)


def strokes() -> Table:
    """6,000 noisy grey images of 12 x 12 with one to four straight strokes; their number is the class.

    A stroke is five pixels long, in one of eight directions, at a place and with a strength uniform in [0.7, 1]; where
    strokes cross, the stronger one shows. The noise on each pixel is normal with deviation 0.2.
    """
    rng = np.random.default_rng(17)
    num_images, side, length, most = 6_000, 12, 5, 4
    counts = rng.integers(most, size=num_images)
    images = np.zeros((num_images, side, side))
    for number in range(most):
        angle = np.pi * rng.integers(8, size=(num_images, 1)) / 8
        along = np.arange(length) - length // 2
        middle = rng.uniform(2, side - 3, (2, num_images, 1))
        row = np.rint(middle[0] + along * np.sin(angle)).astype(int)
        column = np.rint(middle[1] + along * np.cos(angle)).astype(int)
        strength = rng.uniform(0.7, 1, (num_images, 1)) * (number <= counts[:, None])
        image = np.arange(num_images)[:, None]
        images[image, row, column] = np.maximum(images[image, row, column], strength)
    images = images + rng.normal(0, 0.2, images.shape)
    return Table(images[..., None].astype(np.float32), counts, most)


def discs() -> Table:
    """6,000 noisy grey images of 12 x 12 with two discs; the quarter in which the larger one stands is the class.

    Radii are 1.5 and 3 pixels, strengths uniform in [0.6, 1], the middles uniform in different quarters, at least 1.5
    pixels from the middle lines; where discs meet, the stronger one shows. The noise on each pixel is normal with
    deviation 0.3.
    """
    rng = np.random.default_rng(34)
    num_images, side, half = 6_000, 12, 6
    classes = rng.integers(4, size=num_images)
    others = (classes + rng.integers(1, 4, num_images)) % 4
    row, column = np.mgrid[:side, :side] + 0.5
    images = np.zeros((num_images, side, side))
    for quarters, radius in ((classes, 3.0), (others, 1.5)):
        middle = rng.uniform(0, half - 1.5, (2, num_images))
        middle = np.where(np.stack([quarters // 2, quarters % 2]) == 1, side - middle, middle)
        distance = np.hypot(row - middle[0][:, None, None], column - middle[1][:, None, None])
        strength = rng.uniform(0.6, 1, (num_images, 1, 1))
        images = np.maximum(images, strength * (distance <= radius))
    images = images + rng.normal(0, 0.3, images.shape)
    return Table(images[..., None].astype(np.float32), classes, 4)


GLYPHS = (
    "#####..#....#....#....#..",
    "#....#....#....#....#####",
    "#...#.#.#...#...#.#.#...#",
    "#####...#...#...#...#####",
    "#...##...#######...##...#",
    ".###.#...##...##...#.###.",
)


def letters() -> Table:
    """6,000 noisy grey images of 12 x 12 with one of six letters of 5 x 5 pixels anywhere in it, which is the class.

    The letters are T, L, X, Z, H and O (`GLYPHS`), their strength is uniform in [0.6, 1.2], the noise on each pixel
    normal with deviation 0.4.
    """
    rng = np.random.default_rng(43)
    num_images, side = 6_000, 12
    glyphs = np.array([[mark == "#" for mark in glyph] for glyph in GLYPHS]).reshape(-1, 5, 5)
    classes = rng.integers(len(glyphs), size=num_images)
    images = rng.normal(0, 0.4, (num_images, side, side))
    strengths = rng.uniform(0.6, 1.2, num_images)
    places = rng.integers(side - 4, size=(num_images, 2))
    for image, kind, strength, (top, left) in zip(images, classes, strengths, places, strict=True):
        image[top : top + 5, left : left + 5] += strength * glyphs[kind]
    return Table(images[..., None].astype(np.float32), classes, len(glyphs))


def shapes() -> Table:
    """6,000 noisy grey images of 12 x 12 with one of four shapes anywhere in it, which is the class.

    A full square, the edge of a square, an upright and a diagonal cross, five or seven pixels wide, of strength uniform
    in [0.5, 1]. The noise on each pixel is normal with deviation 0.35.
    """
    rng = np.random.default_rng(56)
    num_images, side, num_classes = 6_000, 12, 4
    classes, radius = rng.integers(num_classes, size=num_images), rng.integers(2, 4, num_images)
    place = rng.integers(radius, side - radius, (2, num_images))
    row, column = np.mgrid[:side, :side][:, None] - place[..., None, None]
    reach = radius[:, None, None]
    far = np.maximum(abs(row), abs(column))
    marks = np.stack([far >= 0, far == reach, row * column == 0, abs(row) == abs(column)])
    marks = marks[classes, np.arange(num_images)] & (far <= reach)
    strength = rng.uniform(0.5, 1, (num_images, 1, 1))
    images = strength * marks + rng.normal(0, 0.35, marks.shape)
    return Table(images[..., None].astype(np.float32), classes, num_classes)


def dots() -> Table:
    """6,000 noisy grey images of 14 x 14 with one to five dots of 2 x 2 pixels; their number is the class.

    Dots stand in different squares of a grid of four by four, each at one of four places in its square, with a strength
    uniform in [0.6, 1]; so no two of them touch along more than an edge. The noise on each pixel is normal with
    deviation 0.25.
    """
    rng = np.random.default_rng(65)
    num_images, side, most = 6_000, 14, 5
    counts = rng.integers(most, size=num_images)
    squares = np.argsort(rng.random((num_images, 16)), 1)[:, :most]
    corner = (
        1 + 3 * np.stack([squares // 4, squares % 4]) + rng.integers(2, size=(2, *squares.shape))
    )
    strength = rng.uniform(0.6, 1, squares.shape) * (np.arange(most) <= counts[:, None])
    images = np.zeros((num_images, side, side))
    image = np.arange(num_images)[:, None]
    for down, right in np.ndindex(2, 2):
        images[image, corner[0] + down, corner[1] + right] += strength
    images = images + rng.normal(0, 0.25, images.shape)
    return Table(images[..., None].astype(np.float32), counts, most)


def _gratings(classes: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Plane waves `[image, side, side]` of unit amplitude and random phase."""
    row, column = np.mgrid[:side, :side]
    direction = (np.pi * (classes % 5) / 5)[:, None, None]
    wavelength = np.where(classes < 5, 3, 6)[:, None, None]
    along = np.cos(direction) * column + np.sin(direction) * row
    phase = rng.uniform(0, 2 * np.pi, (len(classes), 1, 1))
    return np.sin(2 * np.pi * along / wavelength + phase)
