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


def visits() -> Table:
    """16,000 days of 40 shops: shop, month, weekday and weather as ids; the root of the number of visitors.

    The logarithm of the expected number is 3 plus a normal level of each shop of deviation 0.5, a cosine over the year
    whose amplitude (uniform in [0, 0.6]) and phase are the shop's own, a normal effect of each weekday of deviation
    0.3, and a normal effect of each of four kinds of weather of deviation 0.5 times the shop's share of guests outdoors
    (uniform in [0, 1]). Numbers are Poisson, so that their roots have noise of deviation 0.5.
    """
    rng = np.random.default_rng(61)
    sizes = (40, 12, 7, 4)
    shop, month, weekday, weather = (rng.integers(size, size=16_000) for size in sizes)
    level, phase = rng.normal(0, 0.5, sizes[0]), rng.uniform(0, 2 * np.pi, sizes[0])
    amplitude, outdoors = rng.uniform(0, 0.6, sizes[0]), rng.uniform(0, 1, sizes[0])
    logs = 3 + level[shop] + amplitude[shop] * np.cos(2 * np.pi * month / 12 - phase[shop])
    logs = logs + rng.normal(0, 0.3, sizes[2])[weekday]
    logs = logs + rng.normal(0, 0.5, sizes[3])[weather] * outdoors[shop]
    ids = np.stack([shop, month, weekday, weather], 1)
    roots = np.sqrt(rng.poisson(np.exp(logs)))
    return Table(ids.astype(np.float32), roots.astype(np.float32), 0, ids.shape[1])


def throws() -> Table:
    """6,000 throws of a ball in the wind: how far it flies, under little noise.

    Inputs are the speed (uniform in [5, 30] m/s), the angle ([0.2, 1.4] rad), the wind ([-10, 10] m/s, from behind
    where positive), the drag ([0, 0.05] per metre) and the height of the hand ([0, 2] m). Speed relative to the air is
    lost at the drag times its square, gravity is 9.81 m/s^2; steps of 0.01 s (semi-implicit Euler) until the ball is on
    the ground. The noise on the target has a deviation of 0.5 m.
    """
    rng = np.random.default_rng(62)
    low, high = np.array([[5, 0.2, -10, 0, 0], [30, 1.4, 10, 0.05, 2]])
    x = rng.uniform(low, high, (6_000, 5))
    along, upwards = x[:, 0] * np.cos(x[:, 1]), x[:, 0] * np.sin(x[:, 1])
    far, height = np.zeros(len(x)), x[:, 4].copy()
    flies = np.ones(len(x), bool)
    while flies.any():
        loss = x[:, 3] * np.hypot(along - x[:, 2], upwards)
        along = along - 0.01 * loss * (along - x[:, 2])
        upwards = upwards - 0.01 * (loss * upwards + 9.81)
        far, height = far + 0.01 * along * flies, height + 0.01 * upwards * flies
        flies = height > 0
    targets = far + rng.normal(0, 0.5, len(x))
    return Table(x.astype(np.float32), targets.astype(np.float32), 0)
