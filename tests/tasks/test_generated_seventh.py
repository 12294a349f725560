"""Generated sets of the fifth, the sixth and the seventh suite: each holds what its description says."""

import collections

import numpy as np
from scipy.integrate import solve_ivp

from ganno_jax.tasks import sources
from ganno_jax.tasks.sources.generated_images import GLYPHS

from .within_groups import deviation_within


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


def test_the_class_of_a_hand_is_how_many_cards_share_a_rank():
    split = sources.load("generated_hands").train
    for row, kind in zip(split.inputs[:500].astype(int), split.targets[:500], strict=True):
        assert len({*zip(row[:5], row[5:], strict=True)}) == 5  # no card twice
        most = sorted(collections.Counter(row[:5]).values())
        assert kind == {(1, 1, 1, 1, 1): 0, (1, 1, 1, 2): 1}.get(tuple(most), 2)
    np.testing.assert_allclose(np.bincount(split.targets) / len(split.targets), 1 / 3, atol=0.03)


def test_a_tenth_of_the_variance_of_impedances_is_chance():
    split = sources.load("generated_impedance").train
    x1, x2, x3, x4 = split.inputs.astype(float).T
    left = split.targets - np.sqrt(x1**2 + (x2 * x3 - 1 / (x2 * x4)) ** 2)
    np.testing.assert_allclose(left.var() / split.targets.var(), 0.1, atol=0.012)


def test_the_letter_that_fits_best_at_any_place_is_the_class():
    split = sources.load("generated_letters").train
    glyphs = np.array([[mark == "#" for mark in g] for g in GLYPHS], float).reshape(-1, 5, 5)
    glyphs -= glyphs.mean((1, 2), keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(split.inputs[:400, ..., 0], (5, 5), (1, 2))
    scores = (
        np.einsum("nijab,kab->nkij", windows, glyphs)
        / np.linalg.norm(glyphs, axis=(1, 2))[:, None, None]
    )
    assert np.mean(scores.max((2, 3)).argmax(1) == split.targets[:400]) > 0.9


def test_six_sevenths_of_sums_are_right_and_a_few_more_by_luck():
    split = sources.load("generated_sums").train
    whole = np.concatenate([split.inputs, split.targets[:, -1:]], 1)
    np.testing.assert_array_equal(whole[:, 1:], split.targets)
    right = whole[:, 3:] == (whole[:, 2:-1] + whole[:, :-3]) % 7
    np.testing.assert_allclose(right.mean(), 6 / 7 + 1 / 49, atol=0.006)


def test_a_middle_pixel_is_nearly_the_mean_of_those_around_it():
    split = sources.load("middle_pixels").train
    around = split.inputs[:, [17, 23, 24, 30]].mean(1)  # above, left, right, below
    left = split.targets - around
    assert 0.002 < left.var() / split.targets.var() < 0.05


def test_trips_take_as_long_each_way_and_longer_in_the_rush():
    split = sources.load("generated_trips").train
    ids, logs = split.inputs.astype(int), split.targets.astype(float)
    assert (ids[:, 0] != ids[:, 1]).all()
    quiet = (ids[:, 3] >= 5) | (abs(ids[:, 2] - 8) > 5) & (abs(ids[:, 2] - 17) > 5)
    pairs = map(tuple, np.sort(ids[quiet, :2], 1))
    np.testing.assert_allclose(deviation_within(pairs, logs[quiet]), 0.15, rtol=0.05)
    rush = np.isin(ids[:, 2], (8, 17)) & (ids[:, 3] < 5)
    assert 0.4 < logs[rush].mean() - logs[quiet].mean() < np.log(1.8)


def test_reactions_obey_their_two_equations():
    split = sources.load("generated_reactions").train
    left = []
    for (u, time, first), share in zip(
        split.inputs[:80].astype(float), split.targets, strict=False
    ):
        rates = np.exp(2 * u), np.exp(1 - 3 * u)
        solved = solve_ivp(
            lambda t, y, k=rates: [-k[0] * y[0], k[0] * y[0] - k[1] * y[1]],
            (0, time),
            [first, 1 - first],
            rtol=1e-8,
        )
        left.append(share - solved.y[1, -1])
    np.testing.assert_allclose(np.std(left), 0.02, rtol=0.3)  # the noise


def test_the_stronger_substance_of_a_spectrum_is_the_nearest_mean():
    dataset = sources.load("generated_spectra")
    train, test = dataset.train, dataset.test
    means = np.stack([train.inputs[train.targets == k].mean(0) for k in range(6)])
    distance = np.linalg.norm(test.inputs[:, None] - means, axis=2)
    right = np.mean(distance.argmin(1) == test.targets)
    assert 0.6 < right < 0.95  # it can be told, not always
    counts = train.inputs.astype(float) ** 2
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)


def marks(side):
    """The four shapes, so many pixels wide, in the middle of nine by nine."""
    edge = np.pad(np.zeros((side - 2, side - 2)), 1, constant_values=1)
    upright, diagonal = np.zeros((side, side)), np.eye(side) + np.eye(side)[::-1] > 0
    upright[side // 2], upright[:, side // 2] = 1, 1
    shapes = np.stack([np.ones((side, side)), edge, upright, diagonal]).astype(float)
    rim = (9 - side) // 2
    return np.pad(shapes, ((0, 0), (rim, rim), (rim, rim)))


def test_the_shape_that_fits_best_at_any_place_is_the_class():
    split = sources.load("generated_shapes").train
    found = np.stack([marks(5), marks(7)])
    found /= np.linalg.norm(found, axis=(2, 3), keepdims=True)
    images = np.pad(split.inputs[:600, ..., 0], ((0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(images, (9, 9), (1, 2))
    best = np.einsum("nijab,skab->nskij", windows, found).max((1, 3, 4))
    assert np.mean(best.argmax(1) == split.targets[:600]) > 0.85


def test_nine_tenths_of_maxima_are_the_largest_of_four_and_a_few_more_by_luck():
    split = sources.load("generated_maxima").train
    largest = np.stack([split.inputs[:, i - 3 : i + 1].max(1) for i in range(3, 20)], 1)
    np.testing.assert_allclose(np.mean(split.targets[:, 3:] == largest), 0.9 + 0.1 / 12, atol=0.006)
