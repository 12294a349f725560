"""Crops and flips: which image comes out, how often, and where none does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.tasks import CropsAndFlips, from_arrays, from_functions, sampling
from ganno_jax.tasks.distributions import Constant

SIDE, PADDING = 6, 2
KEY = jax.random.key(0)


def images(count):
    return np.random.default_rng(0).normal(size=(count, SIDE, SIDE, 2)).astype(np.float32)


def every_way(image):
    """The image under every move and flip, by padding and cutting: `{(down, right, flip): image}`."""
    padded = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)), mode="reflect")
    found = {}
    for down in range(2 * PADDING + 1):
        for right in range(2 * PADDING + 1):
            crop = padded[down : down + SIDE, right : right + SIDE]
            found[down, right, False], found[down, right, True] = crop, crop[:, ::-1]
    return found


def moves(augmentation, count, key=0):
    """Which of `every_way` each of so many images took."""
    before = images(count)
    after = np.asarray(jax.jit(augmentation)(before, sampling.visit_words(key, count, KEY)))
    taken = []
    for old, new in zip(before, after, strict=True):
        fitting = [way for way, image in every_way(old).items() if np.array_equal(image, new)]
        assert len(fitting) == 1
        taken.append(fitting[0])
    return taken


def test_all_moves_and_flips_happen_equally_often_and_nothing_else_does():
    taken = moves(CropsAndFlips(PADDING), 1500)
    counts = np.unique([f"{way}" for way in taken], return_counts=True)[1]
    assert len(counts) == 2 * (2 * PADDING + 1) ** 2
    # 30 are expected of each, with a standard deviation of 5.4.
    assert 8 < counts.min() < 30 < counts.max() < 60


def test_without_flips_none_and_without_padding_no_move():
    assert not any(flip for _, _, flip in moves(CropsAndFlips(PADDING, flip=False), 40))
    after = np.asarray(CropsAndFlips(0)(images(40), sampling.visit_words(1, 40, KEY)))
    for old, new in zip(images(40), after, strict=True):
        assert np.array_equal(old, new) or np.array_equal(old[:, ::-1], new)


def family(**variation):
    inputs = images(60)
    dataset = from_arrays(inputs, np.arange(60) % 3, normalize=False)
    return from_functions(
        lambda key: {"w": jnp.zeros(3)},
        lambda params, batch: params["w"][batch.targets],
        dataset,
        augmentation=CropsAndFlips(PADDING),
        **variation,
    )


def test_each_step_sees_other_images_with_their_targets_and_rewards_and_evaluation_none():
    augmented = family(num_reward=10)
    task = augmented.sample(jax.random.key(3))
    indices = jnp.arange(12)
    plain = augmented.dataset.gather(augmented.dataset.train, indices)
    first, again, second = (augmented.train_batch(task, indices, step) for step in (4, 4, 5))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    part = augmented.train_batch(task, indices[:5], 4)
    np.testing.assert_array_equal(part.inputs, first.inputs[:5])
    assert np.mean(np.any(first.inputs != second.inputs, axis=(1, 2, 3))) > 0.8
    np.testing.assert_array_equal(first.targets, plain.targets)
    for old, new in zip(np.asarray(plain.inputs), np.asarray(first.inputs), strict=True):
        assert any(np.array_equal(new, image) for image in every_way(old).values())
    paying = augmented.reward_indices(task)
    expected = augmented.dataset.gather(augmented.dataset.train, paying)
    np.testing.assert_array_equal(augmented.reward_batch(task).inputs, expected.inputs)


def test_trainings_of_one_batched_program_see_the_images_that_they_see_alone():
    augmented = family(label_noise=Constant(0.2))
    keys, indices = jax.random.split(jax.random.key(0), 3), jnp.arange(5)
    tasks = jax.vmap(augmented.sample)(keys)
    batched = jax.vmap(lambda task: augmented.train_batch(task, indices, 7))(tasks)
    for number, key in enumerate(keys):
        alone = augmented.train_batch(augmented.sample(key), indices, 7)
        np.testing.assert_array_equal(batched.inputs[number], alone.inputs)


@pytest.mark.parametrize("options", [{"padding": -1}, {"padding": 0, "flip": False}])
def test_what_does_nothing_is_refused(options):
    with pytest.raises(ValueError, match="`padding` must be at least 0, and at least 1 without"):
        CropsAndFlips(**options)


@pytest.mark.parametrize(
    "shape, target", [((20, 4), ()), ((20, 2, 9, 1), ()), ((20, 9, 9, 1), (9,))]
)
def test_only_images_with_one_target_each_can_be_moved(shape, target):
    inputs = np.zeros(shape, np.float32) + np.arange(20).reshape(-1, *[1] * (len(shape) - 1))
    dataset = from_arrays(inputs, np.zeros((20, *target), np.float32))
    with pytest.raises(ValueError, match="crops and flips are for images"):
        from_functions(
            lambda key: {"w": jnp.zeros(1)},
            lambda params, batch: params["w"] + 0 * batch.targets,
            dataset,
            augmentation=CropsAndFlips(2),
        )
