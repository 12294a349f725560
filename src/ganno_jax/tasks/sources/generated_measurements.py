"""Generated measurements under noise, as the tables of `generated`."""

import numpy as np

from ganno_jax.tasks.sources.tables import Table

NUM_PLACES, RUSH_HOURS = 30, (8, 17)


def trips() -> Table:
    """8,000 trips: from, to (30 places each), hour and weekday as ids; the logarithm of the minutes under noise.

    Places are uniform in a square of 20 km. A trip takes two minutes and another 1.5 for each kilometre, the latter
    longer by up to 80% around 8 and 17 o'clock (a normal curve of deviation 1.5 hours) on the first five weekdays. The
    noise on the logarithm is normal with deviation 0.15. Nobody goes from a place to itself.
    """
    rng = np.random.default_rng(52)
    places = rng.uniform(0, 20, (NUM_PLACES, 2))
    start = rng.integers(NUM_PLACES, size=8_000)
    end = (start + rng.integers(1, NUM_PLACES, 8_000)) % NUM_PLACES
    hour, weekday = rng.integers(24, size=8_000), rng.integers(7, size=8_000)
    distance = np.linalg.norm(places[start] - places[end], axis=1)
    rush = sum(np.exp(-(((hour - peak) / 1.5) ** 2) / 2) for peak in RUSH_HOURS)
    minutes = 2 + 1.5 * distance * (1 + 0.8 * rush * (weekday < 5))
    target = np.log(minutes) + rng.normal(0, 0.15, len(minutes))
    ids = np.stack([start, end, hour, weekday], 1)
    return Table(ids.astype(np.float32), target.astype(np.float32), 0, ids.shape[1])


def reactions() -> Table:
    """4,000 reactions A -> B -> C by temperature, time and share of A at first; the share of B under noise.

    Both steps are of first order with rates exp(2 u) and exp(1 - 3 u) for a scaled inverse temperature u, uniform in
    [-1, 1]; times are uniform in [0, 2], the share of A at first in [0.5, 1], the rest is B. The noise is normal with
    deviation 0.02.
    """
    rng = np.random.default_rng(53)
    u, time = rng.uniform(-1, 1, 4_000), rng.uniform(0, 2, 4_000)
    first = rng.uniform(0.5, 1, 4_000)
    made, lost = np.exp(2 * u), np.exp(1 - 3 * u)
    share = first * made / (lost - made) * (np.exp(-made * time) - np.exp(-lost * time))
    share = share + (1 - first) * np.exp(-lost * time) + rng.normal(0, 0.02, len(u))
    return Table(np.stack([u, time, first], 1).astype(np.float32), share.astype(np.float32), 0)


def spectra() -> Table:
    """5,000 spectra of 40 channels; which of six substances is the stronger one of two is the class.

    A substance has three lines at places uniform in [3, 36], of widths uniform in [0.8, 2] channels and heights uniform
    in [2, 6]. The stronger one is there 0.6 to 1.4 times, the weaker one, another, half as often; the background is 3
    in each channel. Counts are Poisson; inputs are their square roots.
    """
    rng = np.random.default_rng(54)
    num_spectra, num_channels, num_classes = 5_000, 40, 6
    middle, width = (
        rng.uniform(3, 36, (num_classes, 3, 1)),
        rng.uniform(0.8, 2, (num_classes, 3, 1)),
    )
    height = rng.uniform(2, 6, (num_classes, 3, 1))
    lines = (height * np.exp(-(((np.arange(num_channels) - middle) / width) ** 2) / 2)).sum(1)
    classes = rng.integers(num_classes, size=num_spectra)
    others = (classes + rng.integers(1, num_classes, num_spectra)) % num_classes
    strength = rng.uniform(0.6, 1.4, (num_spectra, 1))
    counts = rng.poisson(3 + strength * (lines[classes] + 0.5 * lines[others]))
    return Table(np.sqrt(counts).astype(np.float32), classes, num_classes)
