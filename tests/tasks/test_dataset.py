import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.tasks.dataset import Dataset, Split, from_arrays, place


def images(num_examples=40, seed=0):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (num_examples, 6, 5, 3), np.uint8)
    return pixels, np.arange(num_examples) % 4


def all_rows(dataset):
    splits = dataset.train, dataset.validation, dataset.test
    return np.concatenate([s.inputs.reshape(len(s.inputs), -1) for s in splits])


def test_every_example_lands_in_exactly_one_split():
    x, y = images()
    dataset = from_arrays(x, y, validation_fraction=0.25, test_fraction=0.1)
    splits = dataset.train, dataset.validation, dataset.test
    assert [split.num_examples for split in splits] == [26, 10, 4]
    np.testing.assert_array_equal(
        np.unique(all_rows(dataset), axis=0), np.unique(x.reshape(40, -1), axis=0)
    )


def test_inputs_keep_their_targets():
    x = np.arange(50, dtype=np.float64)[:, None]
    dataset = from_arrays(x, np.arange(50), normalize=False)
    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.inputs[:, 0], split.targets)


def test_an_official_test_split_is_kept_in_its_order():
    x, y = images()
    x_test, y_test = images(7, seed=1)
    dataset = from_arrays(x, y, test=(x_test, y_test), validation_fraction=0.1)
    np.testing.assert_array_equal(dataset.test.inputs, x_test)
    np.testing.assert_array_equal(dataset.test.targets, y_test)
    assert (dataset.train.num_examples, dataset.validation.num_examples) == (36, 4)


def test_the_same_seed_gives_the_same_splits_and_another_seed_others():
    x, y = images()
    first, again, other = (from_arrays(x, y, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    assert (first.train.inputs != other.train.inputs).any()


@pytest.mark.parametrize(
    "shape, dtype, axes",
    [
        ((300, 6, 5, 3), np.uint8, (0, 1, 2)),
        ((300, 6, 5, 3), np.float64, (0, 1, 2)),
        ((300, 7), np.float32, (0,)),
        ((300, 30), np.uint8, (0, 1)),
        ((300, 6, 5), np.uint8, (0, 1, 2)),
    ],
    ids=["uint8 images", "float images", "table", "flat pixels", "images without channels"],
)
def test_training_batches_have_zero_mean_and_unit_variance(shape, dtype, axes):
    x = (np.random.default_rng(0).uniform(0, 256, shape)).astype(dtype)
    dataset = from_arrays(x, np.arange(300) % 2)
    batch = np.asarray(dataset.whole(dataset.train).inputs, np.float64)
    assert batch.shape[1:] == dataset.input_shape == shape[1:]
    np.testing.assert_allclose(batch.mean(axes), 0, atol=1e-5)  # float32 sums
    np.testing.assert_allclose(batch.std(axes), 1, atol=1e-5)


def test_normalization_is_fitted_on_the_training_split_only():
    x = np.random.default_rng(0).normal(size=(90, 4))
    far = (np.full((10, 4), 1e6), np.arange(10) % 2)
    dataset = from_arrays(x, np.arange(90) % 2, test=far)
    expected = 1 / np.asarray(dataset.train.inputs).std(0)
    np.testing.assert_allclose(dataset.scale, expected, rtol=1e-5)  # float32


def test_images_are_stored_as_uint8_and_read_as_float32():
    dataset = from_arrays(*images())
    assert dataset.train.inputs.dtype == np.uint8
    batch = dataset.gather(dataset.train, jnp.arange(3))
    assert batch.inputs.dtype == jnp.float32
    assert batch.targets.dtype == jnp.int32


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, -123456.789])
def test_a_constant_feature_becomes_zero(value):
    x = np.random.default_rng(0).normal(size=(50, 2))
    x[:, 1] = value
    dataset = from_arrays(x, np.arange(50) % 2)
    whole = np.asarray(dataset.whole(dataset.train).inputs[:, 1])
    np.testing.assert_allclose(whole, 0, atol=max(1e-6, 1e-6 * abs(value)))  # float32 spacing


def test_without_normalization_inputs_keep_their_values():
    x, y = images()
    dataset = from_arrays(x, y, normalize=False)
    batch = dataset.whole(dataset.validation).inputs
    np.testing.assert_array_equal(batch, dataset.validation.inputs.astype(np.float32))


def test_integer_inputs_are_ids_and_stay_as_they_are():
    ids = np.random.default_rng(0).integers(0, 1000, (30, 9))
    dataset = from_arrays(ids, np.arange(30) % 2)
    assert dataset.scale is None
    batch = dataset.gather(dataset.train, np.arange(5))
    assert batch.inputs.dtype == jnp.int32
    np.testing.assert_array_equal(batch.inputs, dataset.train.inputs[:5])


def test_gather_equals_indexing_the_whole_split_and_clamps():
    dataset = place(from_arrays(*images()))
    whole = dataset.whole(dataset.train)
    batch = jax.jit(lambda d, i: d.gather(d.train, i))(dataset, jnp.array([3, 0, 3, 999]))
    expected = whole.inputs[jnp.array([3, 0, 3, -1])]
    np.testing.assert_allclose(batch.inputs, expected, rtol=0, atol=1e-6)  # fused multiply-add
    np.testing.assert_array_equal(batch.targets, whole.targets[jnp.array([3, 0, 3, -1])])


def test_place_puts_every_array_on_the_device_with_its_type():
    host = from_arrays(*images())
    device = place(host)
    for before, after in zip(jax.tree.leaves(host), jax.tree.leaves(device), strict=True):
        assert isinstance(after, jax.Array)
        assert after.dtype == before.dtype


def test_the_number_of_classes_is_the_largest_target_plus_one_or_given():
    x, y = images()
    assert from_arrays(x, y).num_classes == 4
    assert from_arrays(x, y, num_classes=9).num_classes == 9


X, Y = images()
NAN = np.where(np.arange(40)[:, None] == 5, np.nan, 1.0)


@pytest.mark.parametrize(
    "x, y, kwargs, message",
    [
        (X[:-1], Y, {}, "same length"),
        (X[:0], Y[:0], {}, "at least one example"),
        (X[:4], Y[:4], {}, "every split"),
        (X, Y, {"validation_fraction": 0.6, "test_fraction": 0.4}, "every split"),
        (X, Y, {"validation_fraction": 0.0}, "validation_fraction"),
        (X, Y, {"test_fraction": 1.5}, "test_fraction"),
        (X, Y, {"test": (X[:0], Y[:0])}, "test inputs must hold"),
        (X, Y, {"test": (X[:, :2], Y)}, "test inputs must have the shape"),
        (X, Y, {"test": (X / 2.0, Y)}, "test inputs must have the type"),
        (X, Y, {"num_classes": 3}, r"\[0, 3\); the largest is 3"),
        (X, Y - 1, {}, "from 0 on"),
        (X, Y * 1.0, {"num_classes": 4}, "integer type; got float64"),
        (NAN, Y, {}, "1 examples have NaN or infinity, the first is number 5"),
        (np.full((40, 2), 1e300), Y, {}, "finite in float32"),
        (np.full((40, 2), 2**40), Y, {}, "int32"),
        (np.full((40, 2), "a"), Y, {}, "must be real numbers"),
        (np.full((40, 2), 1j), Y, {}, "inputs must be real numbers; got complex128"),
        (
            np.full((40, 2), "2020-01-01", "datetime64[D]"),
            Y,
            {},
            "inputs must be real numbers; got datetime64",
        ),
        (X, Y + 1j, {}, "targets must be class ids or real numbers; got complex128"),
        (X, np.full(40, "2020-01-01", "datetime64[D]"), {}, "real numbers; got datetime64"),
        (X, np.where(Y == 1, np.nan, 1.0), {}, "targets must be finite in float32; 10 examples"),
        (X, Y * 2**28, {}, "class ids go up to 805306368, but 40 targets have 4 different ones"),
        (X, Y * 333_333, {}, "class ids go up to 999999, but 40 targets have 4 different ones"),
        (
            X,
            np.full(40, 3),
            {},
            "every target is class 3: with one class there is nothing to learn",
        ),
        (X, np.zeros(40, int), {"num_classes": 1}, "nothing to learn"),
        (X.astype(int) - 1, Y, {}, r"pixels in \[0, 255\]; they go from -1 to"),
        (X.astype(int) + 45, Y, {}, r"pixels in \[0, 255\]; they go from 45 to 300"),
        (np.full((40, 2), -1), Y, {}, "ids from 0 on"),
        (X, np.zeros((40, 0), int), {}, "targets must not be empty"),
        (X, Y, {"test": (X, Y[:, None])}, "test targets must have the shape"),
        (X, Y, {"standardize_targets": True}, "is for a regression"),
        (X, Y, {"num_categorical": 1}, "columns of a float table"),
        (
            np.full((40, 2), 0.5),
            Y,
            {"num_categorical": 1},
            "whole numbers from 0 on; column 0 does not",
        ),
        (X, Y, {"test": (NAN, Y)}, "test inputs must be finite"),
    ],
)
def test_unusable_arrays_are_refused(x, y, kwargs, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(x, y, **kwargs)


def test_real_targets_of_a_regression_are_not_rounded():
    half = np.array([0.5, -1.25], np.float32)
    split = Split(np.zeros((2, 3), np.float32), half)
    dataset = place(Dataset(split, split, split, jnp.float32(1), jnp.float32(0), 0))
    np.testing.assert_array_equal(dataset.gather(dataset.train, jnp.arange(2)).targets, half)
    np.testing.assert_array_equal(dataset.whole(dataset.train).targets, half)


@pytest.mark.parametrize("shape", [(), (3,), (4, 5, 2)])
def test_float_targets_of_any_shape_make_a_regression_and_keep_their_values(shape):
    y = np.random.default_rng(0).normal(5, 3, (60, *shape))
    dataset = from_arrays(np.arange(60.0)[:, None], y, normalize=False)
    assert (dataset.num_classes, dataset.target_shape) == (0, shape)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.targets.dtype == np.float32
        expected = y[split.inputs[:, 0].astype(int)].astype(np.float32)
        np.testing.assert_array_equal(split.targets, expected)


def test_standardized_targets_have_zero_mean_and_unit_variance_on_the_training_split():
    rng = np.random.default_rng(0)
    y = rng.normal([50, -3], [10, 0.1], (200, 2))
    given = y[:7] + 1
    plain, standardized = (
        from_arrays(np.ones((200, 3)), y, test=(np.ones((7, 3)), given), standardize_targets=on)
        for on in (False, True)
    )
    np.testing.assert_allclose(standardized.train.targets.mean(0), 0, atol=1e-4)  # float32 of 50
    np.testing.assert_allclose(standardized.train.targets.std(0), 1, atol=1e-4)
    mean, deviation = plain.train.targets.mean(0), plain.train.targets.std(0)
    expected = (given - mean) / deviation
    np.testing.assert_allclose(standardized.test.targets, expected, rtol=1e-3, atol=1e-3)


def test_whole_targets_are_a_regression_where_there_are_no_classes():
    dataset = from_arrays(np.ones((20, 2)), np.arange(20) * 1000, num_classes=0)
    assert dataset.num_classes == 0
    assert dataset.train.targets.dtype == np.float32


def test_token_targets_have_the_shape_of_their_sequences():
    ids = np.random.default_rng(0).integers(0, 7, (30, 6))
    dataset = from_arrays(ids[:, :-1], ids[:, 1:])
    assert (dataset.num_classes, dataset.target_shape) == (7, (5,))
    batch = dataset.gather(dataset.train, np.arange(4))
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert batch.targets.dtype == jnp.int32


def test_columns_of_categories_stay_ids_beside_numbers_that_are_normalized():
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 5, 90), rng.normal(7, 2, 90)], 1)
    dataset = from_arrays(x, np.arange(90) % 2, num_categorical=1)
    batch = np.asarray(dataset.whole(dataset.train).inputs)
    np.testing.assert_array_equal(batch[:, 0], dataset.train.inputs[:, 0])
    np.testing.assert_allclose(batch[:, 1].std(), 1, atol=1e-5)


def test_images_of_any_integer_type_are_stored_as_bytes():
    x, y = images()
    wide, narrow = from_arrays(x.astype(np.int64), y), from_arrays(x, y)
    np.testing.assert_array_equal(wide.train.inputs, narrow.train.inputs)
    assert wide.train.inputs.dtype == np.uint8
