"""One training: steps, windows, batches of trainings, evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.inner.state import select
from ganno_jax.tasks.distributions import Constant, LogUniform, Uniform

from ..probes import blobs, init, mlp_family, mlp_loss, mlp_training, quick_jit, window


@pytest.fixture(scope="module")
def training():
    return mlp_training()


def assert_same(left, right, **tolerance):
    def check(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(a, b, **tolerance)

    jax.tree.map(check, left, right)


RATES = jnp.asarray([[0.1, 0.3], [0.0, 0.2], [0.5, 0.05], [0.2, 0.2]])


def test_steps_at_once_equal_single_steps(training, key):
    start = init(training, key)
    at_once, _ = window(training, start, RATES, 2)
    one_by_one = start
    inner_step = quick_jit(training.inner_step)
    for rates in RATES:
        one_by_one, _ = inner_step(one_by_one, rates)
    assert_same(at_once, one_by_one, rtol=1e-6, atol=1e-7)  # fused differently


def test_a_window_is_two_windows_one_after_the_other(training, key):
    start = init(training, key)
    whole, _ = window(training, start, RATES, 2)
    half, _ = window(training, start, RATES[:2], 2)
    half, _ = window(training, half, RATES[2:], 2)
    assert_same(whole, half, rtol=1e-6, atol=1e-7)  # fused differently


def test_how_many_steps_are_measured_does_not_change_the_training(training, key):
    start = init(training, key)
    states = [window(training, start, RATES, count)[0] for count in (1, 4)]
    assert_same(*states, rtol=1e-6, atol=1e-7)  # fused differently


def test_a_step_is_the_step_of_optax_on_the_same_batch(training, key):
    state = init(training, key)
    indices = training.family.batch_indices(state.task, state.step, 8)
    batch = training.family.train_batch(state.task, indices)
    gradient = jax.grad(lambda p: jnp.mean(mlp_loss(p, batch)[0]))(state.params)
    optimizer = optax.sgd(0.3, momentum=0.9)
    updates, _ = optimizer.update(gradient, optimizer.init(state.params))
    after, metrics = quick_jit(training.inner_step)(state, jnp.full(2, 0.3))
    assert_same(after.params, optax.apply_updates(state.params, updates), rtol=1e-6, atol=1e-7)
    assert_same(metrics.gradient, gradient, rtol=1e-5, atol=1e-7)  # another order of additions
    assert after.step == 1


def test_a_batch_of_trainings_equals_a_loop_over_them():
    training = mlp_training(rate=LogUniform(0.01, 1.0))
    keys = jax.random.split(jax.random.key(3), 3)
    states = quick_jit(jax.vmap(training.init))(keys)
    rates = jnp.full((3, 4, 2), 0.1)
    batched, summaries = quick_jit(
        lambda s, r: jax.vmap(lambda s, r: training.window(s, r, 2))(s, r)
    )(states, rates)
    for i, key in enumerate(keys):
        state, summary = window(training, init(training, key), rates[i], 2)
        pick = lambda tree, i=i: jax.tree.map(lambda x: x[i], tree)  # noqa: E731
        assert_same(pick(batched), state, rtol=1e-5, atol=1e-6)  # other order of additions
        assert_same(pick(summaries), summary, rtol=1e-4, atol=1e-5)


def test_the_first_look_takes_no_step(training, key):
    state = init(training, key)
    summary = quick_jit(training.first_look)(state)
    indices = training.family.batch_indices(state.task, state.step, 8)
    losses, _ = mlp_loss(state.params, training.family.train_batch(state.task, indices))
    np.testing.assert_allclose(summary.loss, losses.mean(), rtol=1e-6)
    np.testing.assert_array_equal(summary.loss_spread, 0.0)


def test_trainings_from_one_key_are_the_same_whatever_their_initial_rate(training, key):
    first, second = init(training, key), init(training, key, jnp.float32(0.7))
    assert_same(first.params, second.params)
    assert_same(first.task, second.task)
    assert second.hyperparameters.initial_rate == jnp.float32(0.7)


def test_every_epoch_visits_every_example_once(training, key):
    task = init(training, key).task
    indices = jax.vmap(lambda step: training.family.batch_indices(task, step, 8))(jnp.arange(24))
    for epoch in np.asarray(indices).reshape(2, 96):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(96))


def test_evaluation_in_chunks_is_evaluation_at_once(training, key):
    state, split = init(training, key), blobs().validation
    at_once = training.evaluate(state, split, 32)
    for chunk in (8, 7, 5, 31, 100):  # with a remainder of 0, 4, 2, 1 and in one piece
        chunks = training.evaluate(state, split, 32, chunk=chunk)
        np.testing.assert_allclose(at_once, chunks, rtol=1e-6)
    losses, metrics = mlp_loss(state.params, training.family.dataset.whole(split))
    np.testing.assert_allclose(at_once, (losses.mean(), metrics["accuracy"]), rtol=1e-6)


@pytest.mark.parametrize("batch_size", [0, 97])
def test_a_batch_that_is_empty_or_larger_than_the_data_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"between 1 and the 96 .*; got {batch_size}"):
        Training.create(mlp_family(), named("sgd", Constant(0.1)), batch_size)


def test_an_optax_transformation_is_no_inner_optimizer():
    with pytest.raises(ValueError, match=r"`directions.named\('adam', .*got GradientTransf"):
        Training.create(mlp_family(), optax.adam(1e-3), 8)  # pyright: ignore


def test_select_keeps_nan_out_and_takes_keys():
    kept = {"x": jnp.ones(2), "key": jax.random.key(1)}
    other = {"x": jnp.full(2, jnp.nan), "key": jax.random.key(2)}
    assert_same(select(jnp.asarray(True), kept, other), kept)
    gradient = jax.grad(lambda x: select(jnp.asarray(True), x, x * jnp.nan).sum())(jnp.ones(2))
    assert gradient.shape == (2,)


def test_numbers_may_differ_between_trainings_of_one_program():
    training = mlp_training(
        optimizer="adamw", rate=LogUniform(1e-3, 1.0), weight_decay=Uniform(0.0, 0.1)
    )
    keys = jax.random.split(jax.random.key(0), 4)
    states = quick_jit(jax.vmap(training.init))(keys)
    assert np.unique(states.hyperparameters.initial_rate).size == 4
    assert np.unique(states.hyperparameters.weight_decay).size == 4
