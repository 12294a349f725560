"""Sets that need no folder: what is in them is what is said, and always the same."""

import numpy as np
import pytest

from ganno_jax.tasks import sources

TABLES = {
    "breast_cancer": (569, (30,), (), 2),
    "wine": (178, (13,), (), 3),
    "diabetes": (442, (10,), (), 0),
    "noisy_patches": (8480, (8, 8, 1), (8, 8, 1), 0),
    "generated_teacher": (20_000, (32,), (), 5),
    "generated_categories": (20_000, (10,), (), 3),
    "generated_waves": (12_000, (40,), (), 0),
    "generated_grammar": (6_000, (16,), (16,), 20),
    "generated_spirals": (3_000, (2,), (), 3),
    "generated_surface": (1_500, (10,), (), 0),
    "generated_events": (5_000, (24,), (24,), 8),
    "generated_votes": (6_000, (8,), (), 2),
    "generated_tiles": (3_000, (2,), (), 3),
    "generated_textures": (8_000, (12, 12, 1), (), 10),
    "generated_formulas": (4_000, (12,), (), 2),
    "generated_orbits": (3_000, (3,), (), 0),
    "generated_ratings": (8_000, (2,), (), 0),
    "generated_strokes": (6_000, (12, 12, 1), (), 4),
    "generated_brackets": (5_000, (24,), (24,), 6),
    "generated_games": (5_000, (9,), (), 3),
    "generated_swings": (4_000, (6,), (), 0),
    "generated_prices": (6_000, (14,), (), 0),
    "generated_discs": (6_000, (12, 12, 1), (), 4),
    "generated_echoes": (5_000, (20,), (20,), 10),
    "middle_pixels": (11_102, (48,), (), 0),
    "generated_hands": (6_000, (10,), (), 3),
    "generated_impedance": (4_000, (4,), (), 0),
    "generated_letters": (6_000, (12, 12, 1), (), 6),
    "generated_sums": (5_000, (20,), (20,), 7),
    "generated_trips": (8_000, (4,), (), 0),
    "generated_reactions": (4_000, (3,), (), 0),
    "generated_spectra": (5_000, (40,), (), 6),
    "generated_shapes": (6_000, (12, 12, 1), (), 4),
    "generated_maxima": (5_000, (20,), (20,), 12),
    "generated_visits": (16_000, (4,), (), 0),
    "generated_throws": (6_000, (5,), (), 0),
    "generated_cells": (10_000, (15,), (), 2),
    "generated_dots": (6_000, (14, 14, 1), (), 5),
    "generated_regimes": (5_000, (24,), (24,), 9),
    "generated_episodes": (8_000, (204,), (), 0),
    "generated_classifiers": (393_216, (16,), (), 8),
    "generated_functions": (393_216, (16,), (), 0),
    "generated_curves": (393_216, (3,), (), 0),
}


@pytest.mark.parametrize("name", TABLES)
def test_sets_that_need_no_folder_are_there_and_always_the_same(name):
    first, again = sources.load(name), sources.load(name)
    splits = first.train, first.validation, first.test
    count = sum(split.num_examples for split in splits)
    assert (count, first.input_shape, first.target_shape, first.num_classes) == TABLES[name]
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    np.testing.assert_array_equal(first.train.targets, again.train.targets)
    if first.num_classes:
        assert [len(np.unique(split.targets)) for split in splits] == [first.num_classes] * 3


def test_noise_on_a_patch_has_the_deviation_that_is_said():
    dataset = sources.load("noisy_patches")
    noise = dataset.train.inputs - dataset.train.targets
    np.testing.assert_allclose(noise.std(), 0.25, rtol=0.01)  # of 325,632 draws
    assert np.ptp(dataset.train.targets) <= 1


def test_only_the_inputs_that_matter_tell_the_classes_of_generated_sets_apart():
    teacher, table = sources.load("generated_teacher"), sources.load("generated_categories")

    def largest_gap(dataset, columns):
        inputs = np.asarray(dataset.whole(dataset.train).inputs)[:, columns]
        targets = dataset.train.targets
        means = np.stack([inputs[targets == k].mean(0) for k in np.unique(targets)])
        return np.ptp(means, axis=0).max()

    # Means of at least 1,000 standard normal numbers differ by 0.15 at most.
    assert largest_gap(teacher, slice(8, 32)) < 0.15 < largest_gap(teacher, slice(0, 8))
    assert largest_gap(table, slice(6, 10)) < 0.15
    first = table.train.inputs[:, 0]
    assert first.max() == 23
    np.testing.assert_allclose((first == 0).mean() / (first == 1).mean(), 2, rtol=0.1)  # 1 / rank


def test_waves_hold_more_signal_than_noise():
    dataset = sources.load("generated_waves")
    # Variance: sines (1.04 + 0.16) / 2 on average, autoregressive noise 0.04 / (1 - 0.49).
    np.testing.assert_allclose(dataset.train.targets.var(), 0.62 + 0.078, rtol=0.05)


def test_the_next_symbols_of_the_grammar_are_its_targets_and_two_symbols_tell_more_than_one():
    dataset = sources.load("generated_grammar")
    inputs, targets = dataset.train.inputs, dataset.train.targets
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])

    def share_of_the_most_frequent(context):
        counts = np.zeros((context.max() + 1, 20))
        np.add.at(counts, (context, following), 1)
        return counts.max(1).sum() / counts.sum()

    following = targets[:, 2:].ravel()
    last, before = inputs[:, 2:].ravel(), inputs[:, 1:-1].ravel()
    contexts = 0 * last, last, 20 * before + last
    none, one, two = (share_of_the_most_frequent(context) for context in contexts)
    assert 3 * none < one
    assert 1.1 * one < two < 0.9


def test_the_best_guess_of_a_surface_leaves_its_noise():
    dataset = sources.load("generated_surface")
    x, y = dataset.train.inputs, dataset.train.targets
    height = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    height = height + 10 * x[:, 3] + 5 * x[:, 4]
    np.testing.assert_allclose((y - height).std(), 3, rtol=0.06)  # 900 draws
    assert np.corrcoef(y, height)[0, 1] > 0.8


def test_nine_tenths_of_the_targets_of_events_are_the_count_and_a_few_more_by_luck():
    dataset = sources.load("generated_events")
    right = []
    for symbols, targets in zip(dataset.train.inputs, dataset.train.targets, strict=True):
        count = 0
        for symbol, target in zip(symbols.tolist(), targets.tolist(), strict=True):
            count = 0 if symbol == 1 else count + (symbol == 0)
            right.append(target == count % 8)
    np.testing.assert_allclose(np.mean(right), 0.9 + 0.1 / 8, atol=0.005)  # 72,000 draws


def test_arms_of_the_spirals_are_a_third_of_a_turn_apart():
    dataset = sources.load("generated_spirals")
    x, arm = np.asarray(dataset.whole(dataset.train).inputs), dataset.train.targets
    raw = dataset.train.inputs
    radius = np.linalg.norm(raw, axis=1)
    turned = np.angle(np.exp(1j * (np.arctan2(raw[:, 1], raw[:, 0]) - 5 * radius)))
    for k in range(3):
        off = np.angle(np.exp(1j * (turned[arm == k] - 2 * np.pi / 3 * k)))
        assert abs(off.mean()) < 0.05
        np.testing.assert_allclose(off.std(), 0.35, rtol=0.1)
    assert x.shape == (1_800, 2)


def test_every_column_of_votes_tells_a_little():
    dataset = sources.load("generated_votes")
    ids, classes = dataset.train.inputs.astype(int), dataset.train.targets
    sums = sum(
        np.array([classes[ids[:, column] == k].mean() for k in range(5)])[ids[:, column]]
        for column in range(8)
    )
    agreed = ((sums > np.median(sums)) == (classes == 1)).mean()
    assert 0.8 < agreed < 0.95


def test_tiles_have_no_noise():
    tiles = sources.load("generated_tiles").train
    column, row = np.floor(2 * (tiles.inputs + 1)).astype(int).T
    np.testing.assert_array_equal(tiles.targets, (column + row) % 3)


def test_the_stronger_grating_of_a_texture_is_where_its_spectrum_peaks():
    split = sources.load("generated_textures").train
    images, side = np.asarray(split.inputs[..., 0]), 12
    row, column = np.mgrid[:side, :side]
    strength = []
    for number in range(10):
        angle, wavelength = np.pi * (number % 5) / 5, 3 if number < 5 else 6
        along = np.cos(angle) * column + np.sin(angle) * row
        wave = np.exp(2j * np.pi * along / wavelength)
        strength.append(np.abs(np.tensordot(images, wave, 2)))
    found = np.argmax(strength, 0)
    assert 0.9 < (found == split.targets).mean() < 1


def test_bits_of_a_formula_tell_little_alone_and_much_together():
    split = sources.load("generated_formulas").train
    bits, classes = split.inputs.astype(int), split.targets
    alone = [
        abs(classes[bits[:, k] == 1].mean() - classes[bits[:, k] == 0].mean()) for k in range(12)
    ]
    assert 0.3 < classes.mean() < 0.7
    assert max(alone) < 0.5
    rows = bits @ (1 << np.arange(12))
    same = [classes[rows == row] for row in np.unique(rows)]
    # Rows of the same bits agree but for one in twenty: 0.05 * 0.95 is the variance within.
    within = np.concatenate([c - c.mean() for c in same if len(c) > 1])
    spare = sum(len(c) - 1 for c in same if len(c) > 1)
    np.testing.assert_allclose(np.sum(within**2) / spare, 0.05 * 0.95, rtol=0.35)


def test_orbits_follow_the_equations_of_lorenz():
    split = sources.load("generated_orbits").train
    state = np.asarray(split.inputs[:50], np.float64).T
    for _ in range(4_000):  # Euler steps of 0.0001
        x, y, z = state
        speed = np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
        state = state + 0.0001 * speed
    np.testing.assert_allclose((split.targets[:50] - state[0]).std(), 0.2, rtol=0.4)
    assert split.targets.std() > 6


def test_ratings_have_a_noise_of_a_half_around_people_and_things():
    split = sources.load("generated_ratings").train
    ids, values = split.inputs.astype(int), split.targets
    cells = {}
    for (person, thing), value in zip(ids, values, strict=True):
        cells.setdefault((person, thing), []).append(value)
    spare = sum(len(c) - 1 for c in cells.values())
    within = sum(np.var(c) * len(c) for c in cells.values()) / spare
    np.testing.assert_allclose(within, 0.25, rtol=0.1)
    assert values.var() > 1


def test_more_strokes_make_an_image_brighter():
    split = sources.load("generated_strokes").train
    brightness = split.inputs.mean((1, 2, 3))
    means = [brightness[split.targets == k].mean() for k in range(4)]
    # A stroke has five pixels of 0.85 on average, one or two of which may be one pixel or cross another stroke.
    assert np.all(np.diff(means) > 2.5 * 0.85 / 144)
    assert means[0] < 5 * 0.85 / 144 + 0.005


def test_every_bracket_closes_the_last_one_that_is_open():
    split = sources.load("generated_brackets").train
    closing = []
    for symbols, targets in zip(split.inputs, split.targets, strict=True):
        np.testing.assert_array_equal(symbols[1:], targets[:-1])
        still_open = []
        for symbol in [*symbols.tolist(), int(targets[-1])]:
            if still_open:
                closing.append(symbol >= 3)
            if symbol >= 3:
                assert still_open.pop() == symbol - 3
            else:
                still_open.append(symbol)
    np.testing.assert_allclose(np.mean(closing), 0.45, atol=0.01)


@pytest.mark.parametrize(
    "name, num_classes", [("spectra", 6), ("shapes", 4), ("cells", 2), ("dots", 5)]
)
def test_measured_and_drawn_classes_are_about_as_frequent(name, num_classes):
    targets = sources.load(f"generated_{name}").train.targets
    shares = np.bincount(targets) / len(targets)
    np.testing.assert_allclose(shares, np.full(num_classes, 1 / num_classes), atol=0.03)
