"""Generated sets: seeds are fixed, the process is written down, and noise keeps the best loss unknown beforehand."""

import numpy as np
from jaxtyping import Float

from ganno_jax.tasks.sources.tables import Table

CARDINALITIES = (24, 12, 6, 3)  # of the category columns of `categories`


def teacher() -> Table:
    """20,000 points; a random network draws the class, and most inputs do not matter.

    Inputs are 32 independent standard normal numbers. A network 8-16-16-5 of tanh units with normal weights of
    variance 4 over the fan-in and normal biases sees the first 8; three times its outputs are the logits from which
    the class is drawn.
    """
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(20_000, 32))
    y = inputs[:, :8]
    for size in (16, 16):
        weights = rng.normal(size=(y.shape[1], size)) * np.sqrt(4 / y.shape[1])
        y = np.tanh(y @ weights + rng.normal(size=size))
    logits = 3 * y @ (rng.normal(size=(16, 5)) / np.sqrt(16))
    return Table(inputs.astype(np.float32), _drawn(logits, rng), 5)


def categories() -> Table:
    """20,000 rows of four category columns (24, 12, 6 and 3 categories) and six numbers; three classes.

    Categories are drawn with probabilities proportional to 1 / rank. The logits add up: a normal effect of every
    category; a normal effect, half as large, of every pair of categories of the first two columns; a slope
    of the first number that depends on the third column's category; the sine of twice the second number. The other four
    numbers do not matter. Numbers are standard normal and the class is drawn from the logits.
    """
    rng = np.random.default_rng(2)
    num_rows, num_classes = 20_000, 3
    ids = np.stack([_zipf(size, num_rows, rng) for size in CARDINALITIES], 1)
    numbers = rng.normal(size=(num_rows, 6))
    logits = sum(
        rng.normal(size=(size, num_classes))[ids[:, column]]
        for column, size in enumerate(CARDINALITIES)
    )
    pairs = rng.normal(0, 0.5, (*CARDINALITIES[:2], num_classes))
    slopes = rng.normal(size=(CARDINALITIES[2], num_classes))
    logits = logits + pairs[ids[:, 0], ids[:, 1]] + slopes[ids[:, 2]] * numbers[:, :1]
    logits = logits + np.sin(2 * numbers[:, 1:2]) * rng.normal(size=num_classes)
    inputs = np.concatenate([ids, numbers], 1).astype(np.float32)
    return Table(inputs, _drawn(logits, rng), num_classes, len(CARDINALITIES))


def waves() -> Table:
    """12,000 noisy periodic series of 40 values; the target is the value four steps after the last one.

    A series is a sine and its first overtone: period uniform in [8, 30] steps, phases uniform, amplitudes
    uniform in [0.5, 1.5] and [0, 0.7], and a frequency that drifts by up to 1% each step. To every value, the target
    among them, comes a first-order autoregressive noise (coefficient 0.7, innovations of deviation 0.2).
    """
    rng = np.random.default_rng(3)
    num_series, length, ahead = 12_000, 40, 4
    time = np.arange(length + ahead)
    period, drift = rng.uniform(8, 30, (num_series, 1)), rng.uniform(-0.01, 0.01, (num_series, 1))
    turns = time / period * (1 + drift * time / 2)
    phases = rng.uniform(0, 2 * np.pi, (num_series, 2))
    high, low = rng.uniform(0.5, 1.5, (num_series, 1)), rng.uniform(0, 0.7, (num_series, 1))
    values = high * np.sin(2 * np.pi * turns + phases[:, :1])
    values = values + low * np.sin(4 * np.pi * turns + phases[:, 1:])
    noise = rng.normal(0, 0.2, values.shape)
    for step in range(1, noise.shape[1]):
        noise[:, step] += 0.7 * noise[:, step - 1]
    values = (values + noise).astype(np.float32)
    return Table(values[:, :length], values[:, -1], 0)


def _drawn(logits: Float[np.ndarray, "example class"], rng: np.random.Generator) -> np.ndarray:
    """One class for each row, with the probabilities of its logits."""
    return np.argmax(logits + rng.gumbel(size=logits.shape), 1)


def _zipf(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Category ids with probabilities proportional to 1 / (id + 1)."""
    weights = 1 / np.arange(1, size + 1)
    return rng.choice(size, count, p=weights / weights.sum())
