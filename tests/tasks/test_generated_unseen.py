"""Generated sets of the unseen suite: each holds what its description says."""

import numpy as np
from scipy.integrate import solve_ivp

from ganno_jax.tasks import sources


def test_the_class_of_a_game_is_who_alone_has_a_line():
    split = sources.load("generated_games").train
    for board, winner in zip(split.inputs[:300].astype(int), split.targets[:300], strict=True):
        square = board.reshape(3, 3)
        lines = [*square, *square.T, np.diag(square), np.diag(square[:, ::-1])]
        has = [any((line == player).all() for line in lines) for player in (1, 2)]
        assert winner == (1 if has == [True, False] else 2 if has == [False, True] else 0)
    shares = np.bincount(split.targets) / len(split.targets)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)


def test_swings_obey_the_pendulums_equation():
    split = sources.load("generated_swings").train
    left = []
    for row, target in zip(split.inputs[:80].astype(float), split.targets[:80], strict=True):
        angle, speed, frequency, friction = row[:4]
        solved = solve_ivp(
            lambda t, y, f=frequency, c=friction: [y[1], -(f**2) * np.sin(y[0]) - c * y[1]],
            (0, 2),
            [angle, speed],
            rtol=1e-8,
        )
        left.append(target - solved.y[0, -1])
    np.testing.assert_allclose(np.median(np.abs(left)), 0.6745 * 0.05, rtol=0.35)  # of the noise


def test_half_of_the_variance_of_prices_is_chance():
    split = sources.load("generated_prices").train
    x, y = split.inputs.astype(float), split.targets
    known = np.column_stack([x[:, :5], np.maximum(x[:, 5], x[:, 6]), np.ones(len(x))])
    left = y - known @ np.linalg.lstsq(known, y, rcond=None)[0]
    np.testing.assert_allclose(left.var() / y.var(), 0.5, atol=0.08)
    every = np.column_stack([x[:, 7:], np.ones(len(x))])
    idle = y - every @ np.linalg.lstsq(every, y, rcond=None)[0]
    assert idle.var() > 0.98 * y.var()


def test_the_quarter_of_the_larger_disc_is_the_brightest():
    split = sources.load("generated_discs").train
    images = np.asarray(split.inputs[..., 0])
    sums = [images[:, a : a + 6, b : b + 6].sum((1, 2)) for a in (0, 6) for b in (0, 6)]
    assert np.mean(np.argmax(sums, 0) == split.targets) > 0.75


def test_nine_tenths_of_echoes_are_the_symbol_three_before_and_a_few_more_by_luck():
    split = sources.load("generated_echoes").train
    right = split.targets[:, 3:] == split.inputs[:, :-3]
    np.testing.assert_allclose(right.mean(), 0.9 + 0.1 / 10, atol=0.006)
