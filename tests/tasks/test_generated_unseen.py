"""Generated sets of the unseen suite: each holds what its description says."""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.signal import correlate2d

from ganno_jax.tasks import sources

from .within_groups import deviation_within


def test_roots_of_visitors_have_the_noise_of_poisson_numbers_and_shops_their_own_year():
    split = sources.load("generated_visits").train
    ids, roots = split.inputs.astype(int), split.targets.astype(float)
    np.testing.assert_allclose(roots**2, np.rint(roots**2), atol=1e-3)
    np.testing.assert_allclose(deviation_within(map(tuple, ids), roots), 0.5, rtol=0.05)
    table = np.zeros((40, 12))
    for shop, month in np.ndindex(table.shape):
        table[shop, month] = roots[(ids[:, 0] == shop) & (ids[:, 1] == month)].mean()
    assert len(set(table.argmax(1))) > 6  # months in which shops are fullest


def test_throws_obey_drag_and_gravity():
    split = sources.load("generated_throws").train
    left = []
    for (speed, angle, wind, drag, height), far in zip(
        split.inputs[:80].astype(float), split.targets, strict=False
    ):

        def motion(t, y, wind=wind, drag=drag):
            loss = drag * np.hypot(y[2] - wind, y[3])
            return [y[2], y[3], -loss * (y[2] - wind), -loss * y[3] - 9.81]

        start = [0, height, speed * np.cos(angle), speed * np.sin(angle)]
        solved = solve_ivp(motion, (0, 8), start, rtol=1e-8, dense_output=True)
        times = np.linspace(0.01, 8, 8_000)
        place, above, *_ = solved.sol(times)
        left.append(far - place[np.argmax(above <= 0)])
    assert abs(np.mean(left)) < 0.3  # with the error of its steps
    np.testing.assert_allclose(np.std(left), 0.5, rtol=0.25)  # the noise


def test_a_cell_is_what_the_bits_of_the_number_thirty_say():
    split = sources.load("generated_cells").train
    for row, cell in zip(split.inputs[:300].astype(int).tolist(), split.targets[:300], strict=True):
        for _ in range(3):
            triples = zip(row, row[1:], row[2:], strict=False)
            row = [30 >> (4 * left + 2 * own + right) & 1 for left, own, right in triples]
        assert cell == row[len(row) // 2]


def test_each_dot_adds_four_pixels_of_its_strength():
    split = sources.load("generated_dots").train
    images, counts = split.inputs[..., 0].astype(float), split.targets
    totals = [images[counts == k].sum((1, 2)).mean() for k in range(5)]
    np.testing.assert_allclose(totals, 4 * 0.8 * np.arange(1, 6), rtol=0.05)
    one = images[counts == 0]
    dot = np.ones((2, 2)) / 4
    strongest = [correlate2d(image, dot, "valid").max() for image in one[:300]]
    np.testing.assert_allclose(np.mean(strongest), 0.8, atol=0.06)


def test_the_last_two_symbols_say_more_of_the_next_than_the_last_one():
    """A regime that lasts makes the transition before informative; in a Markov chain it would not be."""
    symbols = sources.load("generated_regimes").train.inputs.astype(int)
    first, second, third = symbols[:, :-2].ravel(), symbols[:, 1:-1].ravel(), symbols[:, 2:].ravel()
    counts = np.full((9, 9, 9), 0.1)
    half = len(first) // 2
    np.add.at(counts, (first[:half], second[:half], third[:half]), 1)
    by_two = counts / counts.sum(2, keepdims=True)
    by_one = counts.sum(0) / counts.sum((0, 2))[:, None]
    test = first[half:], second[half:], third[half:]
    gain = np.mean(np.log(by_two[test]) - np.log(by_one[test[1:]]))
    assert 0.05 < gain < np.log(3)
