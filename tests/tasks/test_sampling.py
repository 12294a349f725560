import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.tasks import sampling
from ganno_jax.tasks.sampling import batch_indices, epoch_indices, noisy_targets, subset

LONGEST = 1797


@pytest.fixture(scope="module")
def epochs():
    """`epochs(n, count, key)`: the orders of the first epochs, [epoch, example], compiled once."""

    def order(epoch, num_examples, key):
        return epoch_indices(epoch * num_examples + jnp.arange(LONGEST), num_examples, key)

    orders = jax.jit(jax.vmap(order, (0, None, None)))

    def first(num_examples, count, key):
        chunks = np.arange(count).reshape(-1, 100)
        found = [orders(chunk, jnp.int32(num_examples), key) for chunk in chunks]
        return np.concatenate([np.asarray(chunk)[:, :num_examples] for chunk in found])

    return first


@pytest.mark.parametrize("num_examples", [1, 2, 3, 17, 64, 1000, LONGEST])
def test_every_epoch_visits_every_example_once(epochs, num_examples, key):
    orders = epochs(num_examples, 100, key)
    np.testing.assert_array_equal(
        np.sort(orders, axis=1), np.broadcast_to(np.arange(num_examples), orders.shape)
    )


def test_epochs_and_keys_give_different_orders(epochs, key):
    orders = np.concatenate([epochs(LONGEST, 100, key), epochs(LONGEST, 100, jax.random.key(1))])
    assert len(np.unique(orders, axis=0)) == 200
    # Two unrelated permutations agree in one place on average.
    agree = (orders[:, None] == orders[None]).sum(-1)[np.triu_indices(200, 1)]
    assert abs(agree.mean() - 1) < 0.05  # 19900 pairs, standard error 0.007
    assert agree.max() < 12


def test_all_orders_of_four_examples_are_equally_frequent(epochs, key):
    orders = epochs(4, 6000, key)
    _, counts = np.unique(orders @ 4 ** np.arange(4), return_counts=True)
    assert len(counts) == 24
    chi_square = ((counts - 250) ** 2 / 250).sum()
    assert chi_square < 49.7  # 23 degrees of freedom, p = 0.001


def test_every_example_is_equally_likely_at_every_place_and_beside_every_other(epochs, key):
    n, count = 32, 6000
    orders = epochs(n, count, key)
    table = np.zeros((n, n))
    np.add.at(table, (np.arange(n), orders), 1)
    chi_square = ((table - count / n) ** 2 / (count / n)).sum()
    assert abs(chi_square - 31**2) < 4 * np.sqrt(2 * 31**2)  # mean and deviation of chi-square
    steps = np.bincount(((orders[:, 1:] - orders[:, :-1]) % n).ravel(), minlength=n)[1:]
    assert ((steps - steps.mean()) ** 2 / steps.mean()).sum() < 62  # 30 degrees, p = 0.0005


def test_neighbours_in_an_epoch_and_epochs_in_a_row_are_uncorrelated(epochs, key):
    orders = epochs(LONGEST, 200, key).astype(float)
    scaled = (orders - orders.mean()) / orders.std()
    neighbours = (scaled[:, 1:] * scaled[:, :-1]).mean(1)
    in_a_row = (scaled[1:] * scaled[:-1]).mean(1)
    for correlation in (neighbours, in_a_row):
        assert abs(correlation.mean()) < 4 / np.sqrt(200 * LONGEST)
        assert 0.8 < correlation.std() * np.sqrt(LONGEST) < 1.2


@pytest.mark.parametrize("num_examples", [2**24, 2**24 - 3, 2**31 - 1])
def test_large_sets_are_permuted_without_overflow(num_examples, key):
    places = jnp.arange(20_000)
    indices = np.asarray(jax.jit(epoch_indices)(places, jnp.int32(num_examples), key))
    assert indices.min() >= 0
    assert indices.max() < num_examples
    assert len(np.unique(indices)) == 20_000
    tenths = np.bincount((indices / num_examples * 10).astype(int), minlength=10)
    assert ((tenths - 2000) ** 2 / 2000).sum() < 29.7  # 9 degrees of freedom, p = 0.0005


def test_batches_are_the_stream_of_epochs(key):
    stream = epoch_indices(jnp.arange(60), 25, key)
    batches = [batch_indices(step, 10, jnp.int32(25), key) for step in range(6)]
    np.testing.assert_array_equal(np.concatenate(batches), stream)
    assert sorted(np.asarray(stream)[25:50]) == list(range(25))


def test_trainings_with_sets_of_different_sizes_run_in_one_vmap(key):
    sizes, keys = jnp.array([5, 8, 40]), jax.random.split(key, 3)
    together = jax.jit(jax.vmap(lambda n, k: batch_indices(3, 16, n, k)))(sizes, keys)
    for row, size, one in zip(together, sizes, keys, strict=True):
        np.testing.assert_array_equal(row, batch_indices(3, 16, size, one))
        assert np.asarray(row).max() < size


def test_a_key_of_another_implementation_works():
    indices = epoch_indices(jnp.arange(10), 10, jax.random.key(0, impl="rbg"))
    assert sorted(np.asarray(indices)) == list(range(10))


def test_a_subset_is_the_same_all_through_a_training_and_nested(key):
    small, large = (set(np.asarray(subset(jnp.arange(n), 100, key))) for n in (20, 50))
    assert (len(small), len(large)) == (20, 50)
    assert small < large < set(range(100))
    active = jnp.int32(20)
    seen = [subset(batch_indices(step, 8, active, key), 100, key) for step in range(10)]
    assert set(np.concatenate(seen)) == small


def test_different_trainings_get_different_subsets_and_all_examples_their_share():
    keys = jax.random.split(jax.random.key(0), 2000)
    members = jax.vmap(lambda k: subset(jnp.arange(10), 40, k))(keys)
    counts = np.bincount(np.asarray(members).ravel(), minlength=40)
    # A share of 500 each, without replacement: 39 degrees of freedom, p = 0.001.
    assert ((counts - 500) ** 2 / (500 * 0.75)).sum() * 39 / 40 < 72.1


def test_label_noise_has_its_probability_and_only_wrong_labels(key):
    targets = jnp.arange(20_000) % 10
    noisy = np.asarray(noisy_targets(targets, jnp.arange(20_000), 0.3, 10, key))
    changed = noisy != np.asarray(targets)
    assert abs(changed.mean() - 0.3) < 4 * np.sqrt(0.21 / 20_000)
    offsets = np.bincount((noisy - np.asarray(targets))[changed] % 10, minlength=10)[1:]
    assert ((offsets - offsets.mean()) ** 2 / offsets.mean()).sum() < 27.9  # 8 degrees, p = 0.0005
    everything = noisy_targets(targets, jnp.arange(20_000), 1.0, 10, key)
    assert (np.asarray(everything) != np.asarray(targets)).all()
    np.testing.assert_array_equal(noisy_targets(targets, targets, 0.0, 10, key), targets)


def test_an_example_keeps_its_wrong_label_wherever_it_is_in_a_batch(key):
    indices = jnp.array([4, 9, 4, 2, 9])
    targets = indices % 3
    noisy = np.asarray(noisy_targets(targets, indices, 0.9, 3, key))
    assert noisy[0] == noisy[2]
    assert noisy[1] == noisy[4]
    later = noisy_targets(targets[::-1], indices[::-1], 0.9, 3, key)
    np.testing.assert_array_equal(later, noisy[::-1])


def test_label_noise_differs_between_trainings_and_places_of_a_sequence(key):
    targets, indices = jnp.zeros((8, 50), jnp.int32), jnp.arange(8)
    one = np.asarray(noisy_targets(targets, indices, 0.5, 20, key))
    other = np.asarray(noisy_targets(targets, indices, 0.5, 20, jax.random.key(1)))
    assert (one != other).mean() > 0.5
    assert len(np.unique(one, axis=0)) == 8
    assert len(np.unique(one, axis=1).T) > 45


def test_the_upper_half_of_a_product_is_that_of_64_bit_arithmetic():
    words, bounds = np.random.default_rng(0).integers(0, 2**32, (2, 1000), np.uint64)
    words[:2], bounds[:2] = 2**32 - 1, (2**32 - 1, 1)
    ours = sampling._below(jnp.asarray(words, jnp.uint32), jnp.asarray(bounds, jnp.uint32))
    np.testing.assert_array_equal(np.asarray(ours, np.uint64), (words * bounds) >> np.uint64(32))


def test_the_hash_is_murmurs_finalizer():
    def reference(h):
        h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
        h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
        return h ^ (h >> 16)

    words = [0, 1, 2, 0xDEADBEEF, 2**32 - 1]
    ours = sampling._mix(jnp.array(words, jnp.uint32))
    assert list(np.asarray(ours)) == [reference(word) for word in words]


def test_words_of_a_visit_are_random_and_differ_between_steps_places_and_trainings(key):
    words = np.stack([sampling.visit_words(step, 512, key) for step in range(8)])
    assert np.unique(words).size == words.size
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    np.testing.assert_allclose(bits.mean((0, 1)), 0.5, atol=0.04)  # five standard deviations
    other = sampling.visit_words(0, 512, jax.random.fold_in(key, 1))
    assert not np.intersect1d(words, other).size
    np.testing.assert_array_equal(sampling.visit_words(3, 100, key), words[3, :100])
