"""Generated tables: seeds are fixed, the process is written down, and noise keeps the best loss unknown beforehand."""

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
    return Table(inputs.astype(np.float32), drawn(logits, rng), 5)


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
    return Table(inputs, drawn(logits, rng), num_classes, len(CARDINALITIES))


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


def spirals() -> Table:
    """3,000 points in the plane on three arms of a spiral, under noise; the arm is the class.

    The distance from the middle is uniform in [0.2, 1], the angle 5 times it plus a third of a turn for each arm, plus
    normal noise of deviation 0.35.
    """
    rng = np.random.default_rng(7)
    num_points, num_classes = 3_000, 3
    arm, radius = rng.integers(num_classes, size=num_points), rng.uniform(0.2, 1, num_points)
    angle = 5 * radius + 2 * np.pi / num_classes * arm + rng.normal(0, 0.35, num_points)
    inputs = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return Table(inputs.astype(np.float32), arm, num_classes)


def surface() -> Table:
    """1,500 rows of ten uniform numbers, five of which matter; a number under noise.

    The first surface of Friedman 1991, "Multivariate adaptive regression splines" (Annals of Statistics 19):
    10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5, with normal noise of deviation 3.
    """
    rng = np.random.default_rng(8)
    x = rng.uniform(size=(1_500, 10))
    height = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    height = height + 10 * x[:, 3] + 5 * x[:, 4] + rng.normal(0, 3, len(x))
    return Table(x.astype(np.float32), height.astype(np.float32), 0)


def votes() -> Table:
    """6,000 rows of eight columns of five categories, which vote on two classes.

    Each category of each column has a normal vote; the sum of the eight, times 1.5, is the logit of the second class.
    """
    rng = np.random.default_rng(10)
    ids = rng.integers(5, size=(6_000, 8))
    sums = rng.normal(size=(8, 5))[np.arange(8), ids].sum(1)
    logits = np.stack([np.zeros(len(ids)), 1.5 * sums], 1)
    return Table(ids.astype(np.float32), drawn(logits, rng), 2, ids.shape[1])


def tiles() -> Table:
    """3,000 points in the square without any noise; the class is that of the tile they are on.

    The square is cut into four by four tiles, whose classes are numbered along the diagonals, modulo 3.
    """
    rng = np.random.default_rng(11)
    points = rng.uniform(-1, 1, (3_000, 2))
    column, row = np.floor(2 * (points + 1)).astype(int).T
    return Table(points.astype(np.float32), (column + row) % 3, 3)


def formulas() -> Table:
    """4,000 rows of 12 bits; two classes, by a formula in which nothing is linear, one in twenty of them wrong.

    The formula is an "or" over four "ands" of three bits each, some of them negated, drawn so that about half of the
    rows fulfil it.
    """
    rng = np.random.default_rng(14)
    bits = rng.integers(2, size=(4_000, 12))
    terms = np.stack([rng.choice(12, 3, replace=False) for _ in range(4)])
    wanted = rng.integers(2, size=terms.shape)
    fulfilled = np.any(np.all(bits[:, terms] == wanted, -1), -1)
    wrong = rng.random(len(bits)) < 0.05
    return Table(bits.astype(np.float32), np.where(wrong, ~fulfilled, fulfilled).astype(int), 2)


def orbits() -> Table:
    """3,000 states of the Lorenz system; the first coordinate 0.4 time units later, under little noise.

    Lorenz 1963, "Deterministic nonperiodic flow" (Journal of the Atmospheric Sciences 20), with its constants 10, 28
    and 8/3, by Runge-Kutta steps of 0.01. States are those of independent orbits after 10 time units, which is on the
    attractor. The noise has a deviation of 0.2, the coordinate one of about 8.
    """
    rng = np.random.default_rng(15)

    def speed(state: np.ndarray) -> np.ndarray:
        x, y, z = state
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    def later(state: np.ndarray, steps: int) -> np.ndarray:
        for _ in range(steps):
            k1 = speed(state)
            k2 = speed(state + 0.005 * k1)
            k3 = speed(state + 0.005 * k2)
            state = state + 0.01 / 6 * (k1 + 2 * k2 + 2 * k3 + speed(state + 0.01 * k3))
        return state

    first = later(rng.normal(0, 8, (3, 3_000)) + np.array([[0.0], [0.0], [25.0]]), 1_000)
    targets = later(first, 40)[0] + rng.normal(0, 0.2, first.shape[1])
    return Table(first.T.astype(np.float32), targets.astype(np.float32), 0)


def ratings() -> Table:
    """8,000 ratings of 40 things by 60 people: two columns of categories, a number to predict.

    Each person and each thing has a normal bias of deviation 0.5 and three normal tastes; the product of the tastes,
    divided by the root of three, adds to the biases, and noise of deviation 0.5 to that.
    """
    rng = np.random.default_rng(16)
    sizes = (60, 40)
    ids = np.stack([rng.integers(size, size=8_000) for size in sizes], 1)
    biases = [rng.normal(0, 0.5, size)[ids[:, column]] for column, size in enumerate(sizes)]
    tastes = [rng.normal(size=(size, 3))[ids[:, column]] for column, size in enumerate(sizes)]
    values = sum(biases) + np.sum(tastes[0] * tastes[1], 1) / np.sqrt(3)
    values = values + rng.normal(0, 0.5, len(ids))
    return Table(ids.astype(np.float32), values.astype(np.float32), 0, len(sizes))


def games() -> Table:
    """5,000 boards of tic-tac-toe with random marks; nobody, the first or the second player has a line.

    Every one of the nine squares is empty, of the first or of the second player, each with the same chance. The class
    is 0 where no one has a line of three or both have, else the number of the player who has. So that classes are about
    as frequent, boards are drawn until each class has a third of the rows.
    """
    rng = np.random.default_rng(31)
    boards = rng.integers(3, size=(100_000, 9))
    lines = np.array(
        [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]]
    )
    has = [np.any(np.all(boards[:, lines] == player, -1), -1) for player in (1, 2)]
    winner = np.where(has[0] & ~has[1], 1, np.where(has[1] & ~has[0], 2, 0))
    rows = np.concatenate([np.flatnonzero(winner == k)[: 5_000 // 3 + 1] for k in range(3)])
    rows = rng.permutation(rows)[:5_000]
    return Table(boards[rows].astype(np.float32), winner[rows], 3, boards.shape[1])


def swings() -> Table:
    r"""4,000 swings of a pendulum: its angle after a while, under little noise.

    The pendulum obeys $\theta'' = -\omega^2 \sin\theta - c\,\theta'$, in steps of 0.01 (semi-implicit Euler), for two
    time units. Inputs are the first angle (uniform in [-2.5, 2.5]) and speed ([-2, 2]), $\omega$ ([1, 3]), $c$ ([0,
    0.6]) and two numbers that do not matter. The noise on the target has a deviation of 0.05.
    """
    rng = np.random.default_rng(32)
    low, high = np.array([[-2.5, -2, 1, 0, -1, -1], [2.5, 2, 3, 0.6, 1, 1]])
    x = rng.uniform(low, high, (4_000, 6))
    angle, speed, frequency, friction = x[:, 0].copy(), x[:, 1].copy(), x[:, 2], x[:, 3]
    for _ in range(200):
        speed = speed - 0.01 * (frequency**2 * np.sin(angle) + friction * speed)
        angle = angle + 0.01 * speed
    targets = angle + rng.normal(0, 0.05, len(x))
    return Table(x.astype(np.float32), targets.astype(np.float32), 0)


def prices() -> Table:
    """6,000 rows of 14 numbers with heavy tails; the logarithm of a price, half of whose variance is chance.

    Inputs are Student's t with 4 degrees of freedom. The signal is linear in five of them with normal weights, plus the
    largest of two others, brought to unit variance; the noise is a t with 4 degrees of freedom of unit variance.
    """
    rng = np.random.default_rng(33)
    x = rng.standard_t(4, (6_000, 14))
    signal = x[:, :5] @ rng.normal(size=5) + 2 * np.maximum(x[:, 5], x[:, 6])
    targets = signal / signal.std() + rng.standard_t(4, len(x)) / np.sqrt(2)
    return Table(x.astype(np.float32), targets.astype(np.float32), 0)


def hands() -> Table:
    """6,000 hands of five cards: five ranks of thirteen, five suits of four; how many cards share a rank is the class.

    The class is 0 where all ranks differ, 1 where exactly two cards share one, else 2; hands are drawn, without putting
    cards back, until each class has a third of the rows. Suits do not matter.
    """
    rng = np.random.default_rng(41)
    cards = np.argsort(rng.random((60_000, 52)), 1)[:, :5]
    ranks = cards % 13
    distinct = (np.diff(np.sort(ranks, 1), axis=1) > 0).sum(1) + 1
    classes = np.minimum(5 - distinct, 2)
    rows = np.concatenate([np.flatnonzero(classes == k)[:2_000] for k in range(3)])
    rows = rng.permutation(rows)
    ids = np.concatenate([ranks, cards // 13], 1)
    return Table(ids[rows].astype(np.float32), classes[rows], 3, ids.shape[1])


def impedance() -> Table:
    """4,000 circuits by four numbers; the impedance, a tenth of whose variance is chance.

    The second surface of Friedman 1991, "Multivariate adaptive regression splines" (Annals of Statistics 19):
    the root of x1^2 + (x2 x3 - 1 / (x2 x4))^2 with x1 in [0, 100], x2 in [40 pi, 560 pi], x3 in [0, 1], x4 in [1, 11].
    """
    rng = np.random.default_rng(42)
    low, high = np.array([[0, 40 * np.pi, 0, 1], [100, 560 * np.pi, 1, 11]])
    x = rng.uniform(low, high, (4_000, 4))
    signal = np.hypot(x[:, 0], x[:, 1] * x[:, 2] - 1 / (x[:, 1] * x[:, 3]))
    targets = signal + rng.normal(0, signal.std() / 3, len(x))
    return Table(x.astype(np.float32), targets.astype(np.float32), 0)


def cells() -> Table:
    """10,000 rows of 15 cells that are 0 or 1; the middle cell after three steps of rule 30 is the class.

    Rule 30 of Wolfram 1983, "Statistical mechanics of cellular automata" (Reviews of Modern Physics 55): a cell becomes
    the left one, unless the cell or the right one is 1, and then its opposite. It is always right, and seven of the
    cells decide.
    """
    rng = np.random.default_rng(63)
    rows = rng.integers(2, size=(10_000, 15))
    now = rows
    for _ in range(3):
        now = now[:, :-2] ^ (now[:, 1:-1] | now[:, 2:])
    return Table(rows.astype(np.float32), now[:, now.shape[1] // 2], 2)


def drawn(logits: Float[np.ndarray, "example class"], rng: np.random.Generator) -> np.ndarray:
    """One class for each row, with the probabilities of its logits."""
    return np.argmax(logits + rng.gumbel(size=logits.shape), 1)


def _zipf(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Category ids with probabilities proportional to 1 / (id + 1)."""
    weights = 1 / np.arange(1, size + 1)
    return rng.choice(size, count, p=weights / weights.sum())
