"""Many sets of rules in one, of six sorts and always right: which sort it is a training only finds by learning."""

import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from ganno_jax.tasks.sources.many_sets import NUM_ROWS, NUM_SETS, log_uniform
from ganno_jax.tasks.sources.tables import Table

NUM_COLUMNS, NUM_CATEGORIES, MOST_CLASSES = 10, 3, 4
LARGEST_SHARE = 0.8  # of the rows that one class may have
Rows = Int[np.ndarray, "row column"]
Classes = Int[np.ndarray, " row"]
Rule = Callable[[Rows, int, np.random.Generator], Classes]
"""From rows, number of classes and a generator to the class of each row."""


def rules() -> Table:
    """48 sets of 8,192 rows of ten columns of three categories; a rule says the class, and is always right.

    A set has two to four classes. Its rule is one of `SORTS`, eight sets each; rules by which a class has more than
    four fifths of the rows are drawn again. What a training should make of a rule is up to wrong labels.
    """
    rng = np.random.default_rng(24)
    inputs, targets = [], []
    for rule in itertools.islice(itertools.cycle(SORTS.values()), NUM_SETS):
        rows, classes = _drawn(rule, rng)
        while np.bincount(classes).max() > LARGEST_SHARE * NUM_ROWS:
            rows, classes = _drawn(rule, rng)
        inputs.append(rows)
        targets.append(classes)
    return Table(
        np.concatenate(inputs).astype(np.float32),
        np.concatenate(targets),
        MOST_CLASSES,
        num_categorical=NUM_COLUMNS,
        num_sets=NUM_SETS,
    )


def _votes(rows: Rows, num_classes: int, rng: np.random.Generator) -> Classes:
    """The class with the most weight, of 4 to 60 conjunctions of one to three columns.

    Each conjunction asks its columns for a category and gives every class a normal weight times their number; classes
    start at a normal weight.
    """
    sums = np.tile(rng.normal(size=num_classes), (len(rows), 1))
    for _ in range(int(log_uniform(rng, 4, 60))):
        columns = _some_columns(rng, 1, 3)
        holds = np.all(rows[:, columns] == rng.integers(NUM_CATEGORIES, size=columns.size), 1)
        sums += holds[:, None] * rng.normal(size=num_classes) * columns.size
    return np.argmax(sums, 1)


def _remainders(rows: Rows, num_classes: int, rng: np.random.Generator) -> Classes:
    """The sum of two or three columns, modulo the number of classes."""
    return rows[:, _some_columns(rng, 2, 3)].sum(1) % num_classes


def _look_ups(rows: Rows, num_classes: int, rng: np.random.Generator) -> Classes:
    """A random class for every combination of the categories of two to five columns."""
    columns = _some_columns(rng, 2, 5)
    table = rng.integers(num_classes, size=(NUM_CATEGORIES,) * columns.size)
    return table[tuple(rows[:, columns].T)]


def _majorities(rows: Rows, num_classes: int, rng: np.random.Generator) -> Classes:
    """Which category most of four to ten columns have, the lowest of equals; of two classes the last has two."""
    some = rows[:, _some_columns(rng, 4, NUM_COLUMNS)]
    counts = np.stack([(some == k).sum(1) for k in range(NUM_CATEGORIES)], 1)
    return np.minimum(np.argmax(counts, 1), num_classes - 1)


def _trees(rows: Rows, num_classes: int, rng: np.random.Generator) -> Classes:
    """A decision tree of depth three to five that asks a random column at each node; its leaves are random classes."""
    node = np.zeros(len(rows), int)
    for depth in range(int(rng.integers(3, 6))):
        asked = rng.integers(NUM_COLUMNS, size=NUM_CATEGORIES**depth)
        node = NUM_CATEGORIES * node + rows[np.arange(len(rows)), asked[node]]
    return rng.integers(num_classes, size=node.max() + 1)[node]


def _scores(rows: Rows, num_classes: int, rng: np.random.Generator) -> Classes:
    """A weighted sum of three to eight columns, whole weights of -3 to 3, cut into classes of about equal size."""
    columns = _some_columns(rng, 3, 8)
    sums: Float[np.ndarray, " row"] = rows[:, columns] @ rng.integers(-3, 4, size=columns.size)
    bounds = np.quantile(sums, np.arange(1, num_classes) / num_classes)
    return np.searchsorted(bounds, sums)


SORTS: dict[str, Rule] = {
    "votes": _votes,
    "remainders": _remainders,
    "look-ups": _look_ups,
    "majorities": _majorities,
    "trees": _trees,
    "scores": _scores,
}
"""By name."""


def _drawn(rule: Rule, rng: np.random.Generator) -> tuple[Rows, Classes]:
    rows = rng.integers(NUM_CATEGORIES, size=(NUM_ROWS, NUM_COLUMNS))
    return rows, rule(rows, int(rng.integers(2, MOST_CLASSES + 1)), rng)


def _some_columns(rng: np.random.Generator, fewest: int, most: int) -> Int[np.ndarray, " some"]:
    return rng.permutation(NUM_COLUMNS)[: int(rng.integers(fewest, most + 1))]
