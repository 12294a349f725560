"""Generated sequences of symbols, as the tables of `generated`."""

import numpy as np

from ganno_jax.tasks.sources.generated import drawn
from ganno_jax.tasks.sources.tables import Table


def grammar() -> Table:
    """6,000 sequences of 16 symbols out of 20, with the next symbols as targets.

    Half of the time the next symbol is drawn by the last symbol, else by the last two; each of these distributions is
    a draw from a symmetric Dirichlet distribution of concentration 0.1. The first two symbols are uniform.
    """
    rng = np.random.default_rng(6)
    num_rows, length, num_symbols = 6_000, 16, 20
    by_last = rng.dirichlet(np.full(num_symbols, 0.1), num_symbols)
    by_two = rng.dirichlet(np.full(num_symbols, 0.1), (num_symbols, num_symbols))
    symbols = rng.integers(num_symbols, size=(num_rows, length + 1))
    for place in range(2, length + 1):
        before, last = symbols[:, place - 2], symbols[:, place - 1]
        chances = np.where(rng.random((num_rows, 1)) < 0.5, by_last[last], by_two[before, last])
        symbols[:, place] = drawn(np.log(chances + 1e-12), rng)
    symbols = symbols.astype(np.int32)
    return Table(symbols[:, :-1], symbols[:, 1:], num_symbols)


def events() -> Table:
    """5,000 sequences of 24 symbols out of 8; the target of each place is a count, modulo 8, with wrong ones.

    Symbols are uniform. Symbol 0 adds one to the count, symbol 1 sets it to zero, others change nothing. One target in
    ten is uniform instead.
    """
    rng = np.random.default_rng(9)
    symbols = rng.integers(8, size=(5_000, 24)).astype(np.int32)
    targets, count = np.zeros_like(symbols), np.zeros(len(symbols), np.int32)
    for place in range(symbols.shape[1]):
        count = np.where(symbols[:, place] == 1, 0, count + (symbols[:, place] == 0))
        targets[:, place] = count % 8
    wrong = rng.random(targets.shape) < 0.1
    return Table(symbols, np.where(wrong, rng.integers(8, size=targets.shape), targets), 8)


def brackets() -> Table:
    """5,000 sequences of 24 brackets of three kinds that close in the right order, with the next ones as targets.

    Symbols 0 to 2 open and 3 to 5 close. An open bracket is closed next with probability 0.45; else, and where none is
    open, one of a random kind is opened. Sequences begin empty and may end with open brackets.
    """
    rng = np.random.default_rng(18)
    num_rows, length = 5_000, 24
    symbols = np.zeros((num_rows, length + 1), np.int32)
    for row in symbols:
        still_open: list[int] = []
        for place in range(length + 1):
            if still_open and rng.random() < 0.45:
                row[place] = 3 + still_open.pop()
            else:
                still_open.append(rng.integers(3))
                row[place] = still_open[-1]
    return Table(symbols[:, :-1], symbols[:, 1:], 6)


def echoes() -> Table:
    """5,000 sequences of 20 symbols out of 10; the target of each place is the symbol three before, some wrong.

    Symbols are uniform. Where there are no three before, the target is 0; one target in ten is uniform instead.
    """
    rng = np.random.default_rng(35)
    symbols = rng.integers(10, size=(5_000, 20)).astype(np.int32)
    targets = np.zeros_like(symbols)
    targets[:, 3:] = symbols[:, :-3]
    wrong = rng.random(targets.shape) < 0.1
    return Table(symbols, np.where(wrong, rng.integers(10, size=targets.shape), targets), 10)


def sums() -> Table:
    """5,000 sequences of 20 symbols out of 7, with the next symbols as targets: sums of earlier ones, modulo 7.

    The next symbol is the last one plus that two places before it, modulo 7; one in seven is uniform instead. The first
    three are uniform.
    """
    rng = np.random.default_rng(44)
    symbols = rng.integers(7, size=(5_000, 21)).astype(np.int32)
    kept = rng.random(symbols.shape) >= 1 / 7
    for place in range(3, symbols.shape[1]):
        wanted = (symbols[:, place - 1] + symbols[:, place - 3]) % 7
        symbols[:, place] = np.where(kept[:, place], wanted, symbols[:, place])
    return Table(symbols[:, :-1], symbols[:, 1:], 7)


def maxima() -> Table:
    """5,000 sequences of 20 symbols out of 12; the target of each place is the largest of the last four, some wrong.

    Symbols are uniform; the first three places look at as many as there are. One target in ten is uniform instead.
    """
    rng = np.random.default_rng(55)
    symbols = rng.integers(12, size=(5_000, 20)).astype(np.int32)
    before = np.pad(symbols, ((0, 0), (3, 0)))
    targets = np.lib.stride_tricks.sliding_window_view(before, 4, 1).max(2)
    wrong = rng.random(targets.shape) < 0.1
    return Table(symbols, np.where(wrong, rng.integers(12, size=targets.shape), targets), 12)


def regimes() -> Table:
    """5,000 sequences of 24 symbols out of 9, with the next symbols as targets; a hidden regime draws them.

    One of three regimes holds at first, and another, uniform one from then on with probability 0.1 at each place. In
    each regime the last symbol draws the next one by a draw from a symmetric Dirichlet distribution of concentration
    0.3. The first symbol is uniform.
    """
    rng = np.random.default_rng(64)
    num_rows, length, num_symbols = 5_000, 24, 9
    chances = rng.dirichlet(np.full(num_symbols, 0.3), (3, num_symbols))
    regime = rng.integers(3, size=num_rows)
    symbols = rng.integers(num_symbols, size=(num_rows, length + 1)).astype(np.int32)
    for place in range(1, length + 1):
        changes = rng.random(num_rows) < 0.1
        regime = np.where(changes, (regime + rng.integers(1, 3, num_rows)) % 3, regime)
        symbols[:, place] = drawn(np.log(chances[regime, symbols[:, place - 1]] + 1e-12), rng)
    return Table(symbols[:, :-1], symbols[:, 1:], num_symbols)
