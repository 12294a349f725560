"""Features of examples against gradients of single examples, and where they stand in a window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.inner import Training, layers
from ganno_jax.inner.directions import named
from ganno_jax.inner.example_statistics import (
    example_features,
    example_features_by_layer,
    log_variance,
    predicted_changes,
)
from ganno_jax.tasks import Batch
from ganno_jax.tasks.distributions import Constant

from ..probes import blobs, mlp_init, mlp_loss, mlp_training, quadratic_family

FLOOR = np.log(1e-20)


@pytest.fixture(scope="module")
def problem():
    params = mlp_init(jax.random.key(0))
    updates = jax.tree.map(lambda w: 0.01 * jnp.cos(jnp.arange(w.size)).reshape(w.shape), params)
    split = blobs().train
    batch = Batch(jnp.asarray(split.inputs[:12]), jnp.asarray(split.targets[:12]))
    return params, updates, batch


def example_gradients(params, batch):
    """The gradient of each example's loss, one by one: what the features do without."""

    def one(x, y):
        return jax.grad(lambda p: mlp_loss(p, Batch(x[None], y[None]))[0][0])(params)

    return jax.vmap(one)(batch.inputs, batch.targets)


def products(gradients, updates):
    parts = jax.tree.map(
        lambda g, u: np.asarray((g * u).reshape(len(g), -1)).sum(1), gradients, updates
    )
    return {name: sum(jax.tree.leaves(part)) for name, part in parts.items()}


def test_the_predicted_change_is_the_gradient_of_each_example_along_the_update(problem):
    params, updates, batch = problem
    losses, changes = predicted_changes(lambda p: mlp_loss(p, batch)[0], params, updates)
    expected = sum(products(example_gradients(params, batch), updates).values())
    np.testing.assert_allclose(changes, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses, mlp_loss(params, batch)[0], rtol=1e-6)


def test_features_are_log_variances_over_the_examples_the_same_for_all_layers(problem):
    params, updates, batch = problem
    layer_map = layers.by_module(params)
    features = example_features(lambda p: mlp_loss(p, batch)[0], params, updates, layer_map)
    change = sum(products(example_gradients(params, batch), updates).values())
    expected = np.log([np.var(change), np.var(mlp_loss(params, batch)[0])])
    np.testing.assert_allclose(features, np.tile(expected, (2, 1)), rtol=1e-4)


def test_features_by_layer_use_that_layers_update_alone(problem):
    params, updates, batch = problem
    layer_map = layers.by_module(params)
    features = example_features_by_layer(
        lambda p: mlp_loss(p, batch)[0], params, updates, layer_map
    )
    by_layer = products(example_gradients(params, batch), updates)
    expected = np.log([np.var(by_layer[name]) for name in layer_map.names])
    np.testing.assert_allclose(features[:, 0], expected, rtol=1e-4)
    disagreement = np.log(np.var(mlp_loss(params, batch)[0]))
    np.testing.assert_allclose(features[:, 1], disagreement, rtol=1e-4)


def test_the_change_feature_holds_twice_the_log_of_the_rate(problem):
    params, updates, batch = problem
    layer_map = layers.by_module(params)

    def change(rate):
        scaled = jax.tree.map(lambda u: rate * u, updates)
        return example_features(lambda p: mlp_loss(p, batch)[0], params, scaled, layer_map)[0, 0]

    np.testing.assert_allclose(change(10.0) - change(0.1), 2 * np.log(100.0), rtol=1e-5)


@pytest.mark.parametrize("values", [[0.7], [0.7, 0.7], [2.3] * 5])
def test_one_example_or_equal_losses_give_the_floor(values):
    np.testing.assert_allclose(log_variance(jnp.asarray(values)), FLOOR, rtol=1e-6)


def test_the_log_variance_of_two_values_is_known():
    np.testing.assert_allclose(log_variance(jnp.asarray([1.0, 5.0])), np.log(4.0), rtol=1e-6)


def test_overflow_is_held_and_nan_is_seen():
    assert np.isfinite(log_variance(jnp.asarray([1e30, -1e30])))
    assert np.isnan(log_variance(jnp.asarray([1.0, np.nan])))


@pytest.mark.slow
def test_a_window_shows_the_features_of_its_last_step_and_trains_as_without():
    training = mlp_training().with_example_features()
    start = training.init(jax.random.key(1))
    rates = jnp.asarray([[0.1, 0.2], [0.3, 0.1], [0.2, 0.4]])
    after, summary = jax.jit(Training.window, static_argnums=3)(training, start, rates, 2)

    inner_step = jax.jit(training.inner_step)
    before = start
    for row in rates[:2]:
        before, _ = inner_step(before, row)
    last, metrics = inner_step(before, rates[2])
    updates = layers.apply_rates(metrics.direction, training.layers, rates[2])
    indices = training.family.batch_indices(before.task, before.step, 8)
    batch = training.family.train_batch(before.task, indices)
    change = sum(products(example_gradients(before.params, batch), updates).values())
    expected = np.log([np.var(change), np.var(mlp_loss(before.params, batch)[0])])
    np.testing.assert_allclose(summary.example_features[0], expected, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),  # fused differently
        after.params,
        last.params,
    )


def test_by_default_no_features_are_taken(key):
    training = mlp_training()
    _, summary = jax.eval_shape(lambda: training.window(training.init(key), jnp.ones((2, 2)), 1))
    assert summary.example_features is None


def test_a_limit_takes_the_first_examples_of_the_batch(problem):
    training = mlp_training().with_example_features(limit=3)
    state = training.init(jax.random.key(1))
    _, summary = jax.jit(Training.window, static_argnums=3)(
        training, state, jnp.full((1, 2), 0.1), 1
    )
    indices = training.family.batch_indices(state.task, state.step, 8)
    batch = training.family.train_batch(state.task, indices[:3])
    expected = np.log(np.var(mlp_loss(state.params, batch)[0]))
    np.testing.assert_allclose(summary.example_features[:, 1], expected, rtol=1e-5)


def test_a_limit_below_two_is_refused():
    with pytest.raises(ValueError, match="at least 2; got 1"):
        mlp_training().with_example_features(limit=1)


def test_a_task_without_losses_of_examples_is_refused(key):
    training = Training.create(quadratic_family((1.0,)), named("sgd", Constant(0.1)), 4)
    training = training.with_example_features()
    with pytest.raises(ValueError, match="the loss of each example"):
        training.window(training.init(key), jnp.full((1, 1), 0.1), 1)
