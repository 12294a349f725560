"""Many generated data sets in one: what a training is about is drawn with it, and one program trains on all of them."""

import numpy as np
from jaxtyping import Float

from ganno_jax.tasks.sources.tables import Table

NUM_SETS, NUM_ROWS, NUM_INPUTS, FEW_INPUTS, MOST_CLASSES = 48, 8_192, 16, 3, 8
WIDTH = 16  # of the networks that draw


def classifiers() -> Table:
    """48 sets of 8,192 rows of 16 numbers; in each a random function draws one of two to eight classes.

    Inputs and function of a set are drawn as in `_inputs` and `_outputs`. The outputs, as many as the set has
    classes, are multiplied by a factor between 0.7, where most of a class is chance, and 30, where next to nothing is;
    the class is drawn from them as logits.
    """
    rng = np.random.default_rng(21)
    inputs, targets = [], []
    for _ in range(NUM_SETS):
        rows = _inputs(rng, NUM_INPUTS)
        num_classes = int(rng.integers(2, MOST_CLASSES + 1))
        logits = log_uniform(rng, 0.7, 30) * _outputs(rows, num_classes, rng)
        inputs.append(rows)
        targets.append(np.argmax(logits + rng.gumbel(size=logits.shape), 1))
    return Table(_joined(inputs), np.concatenate(targets), MOST_CLASSES, num_sets=NUM_SETS)


def functions() -> Table:
    """48 sets of 8,192 rows of 16 numbers; in each the value of a random function, under noise, is to be predicted.

    Inputs and function of a set are drawn as in `_inputs` and `_outputs`. The noise is normal, its deviation between
    0.01 and 2 of that of the function; targets have mean 0 and variance 1 in each set.
    """
    return _regressions(NUM_INPUTS, 0.01, 2, np.random.default_rng(22))


def curves() -> Table:
    """As `functions`, of three numbers and with little noise, 0.003 to 0.3: many passes do no harm."""
    return _regressions(FEW_INPUTS, 0.003, 0.3, np.random.default_rng(23))


def _regressions(
    num_inputs: int, least_noise: float, most_noise: float, rng: np.random.Generator
) -> Table:
    inputs, targets = [], []
    for _ in range(NUM_SETS):
        rows = _inputs(rng, num_inputs)
        values = _outputs(rows, 1, rng)[:, 0]
        values = values + log_uniform(rng, least_noise, most_noise) * rng.normal(size=NUM_ROWS)
        inputs.append(rows)
        targets.append(_standard(values))
    return Table(_joined(inputs), _joined(targets), 0, num_sets=NUM_SETS)


def _inputs(rng: np.random.Generator, num_inputs: int) -> Float[np.ndarray, "row input"]:
    """Normal, uniform, signs, heavy tails (the sine hyperbolic of a normal), or two to eight factors and noise."""
    shape = (NUM_ROWS, num_inputs)
    kind = rng.integers(5)
    rows = rng.normal(size=shape)
    if kind == 1:
        rows = rng.uniform(-1, 1, shape)
    elif kind == 2:
        rows = np.sign(rows)
    elif kind == 3:
        rows = np.sinh(rows)
    elif kind == 4:
        rank = int(rng.integers(2, 9))
        mixed = rng.normal(size=(NUM_ROWS, rank)) @ rng.normal(size=(rank, num_inputs))
        rows = mixed / np.sqrt(rank) + rng.choice([0.1, 0.3, 0.6]) * rows
    return _standard(rows)


def _outputs(
    rows: Float[np.ndarray, "row input"], count: int, rng: np.random.Generator
) -> Float[np.ndarray, "row output"]:
    """A random function of two to all inputs: none to three tanh layers of 16 units, or cells of five planes.

    The layers' weights have a deviation between 0.5 and 4 over the root of the fan-in: smooth functions and rough ones.
    Five random planes cut the space into cells, each of which has normal outputs. All outputs have unit variance.
    """
    number = int(log_uniform(rng, 2, rows.shape[1] + 1))
    hidden = rows[:, rng.permutation(rows.shape[1])[:number]]
    if rng.random() < 0.2:
        planes = rng.normal(size=(number, 5))
        cells = (hidden @ planes + rng.normal(size=5) > 0) @ (2 ** np.arange(5))
        return _standard(rng.normal(size=(32, count))[cells])
    gain = log_uniform(rng, 0.5, 4)
    for _ in range(int(rng.integers(4))):
        weights = rng.normal(size=(hidden.shape[1], WIDTH)) * gain / np.sqrt(hidden.shape[1])
        hidden = np.tanh(hidden @ weights + rng.normal(0, gain / 2, WIDTH))
    return _standard(hidden @ rng.normal(size=(hidden.shape[1], count)))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One number whose logarithm is uniform.

    Args:
      rng: what draws it.
      low: the least, > 0.
      high: the most.
    """
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _standard(values: Float[np.ndarray, "row ..."]) -> Float[np.ndarray, "row ..."]:
    return (values - values.mean(0)) / values.std(0)


def _joined(parts: list[Float[np.ndarray, "row ..."]]) -> Float[np.ndarray, "row ..."]:
    return np.concatenate(parts).astype(np.float32)
