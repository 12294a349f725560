"""The summary of a window against NumPy."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from ganno_jax.inner.layers import by_module
from ganno_jax.inner.statistics import (
    empty_layer_record,
    empty_loss_record,
    record_layers,
    record_loss,
    summarize,
)

from ..probes import mlp_init, quick_jit


def flat(tree, name):
    return np.concatenate([np.ravel(x) for x in tree[name].values()])


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


def test_the_summary_is_that_of_numpy(key):
    trees = [mlp_init(k) for k in jax.random.split(key, 7)]
    params, gradients, directions = trees[0], trees[1:4], trees[4:]
    layers = by_module(params)
    losses = [2.5, 1.5, 2.0, 0.5]

    @quick_jit
    def close_window(losses, gradients, directions):
        loss_record, record = empty_loss_record(), empty_layer_record(params, layers)
        for loss in losses:
            loss_record = record_loss(loss_record, loss)
        for gradient, direction in zip(gradients, directions, strict=True):
            record = record_layers(record, gradient, direction, layers)
        return summarize(loss_record, record, params, layers)

    summary = close_window(jnp.asarray(losses), gradients, directions)

    np.testing.assert_allclose(summary.loss, np.mean(losses), rtol=1e-6)
    np.testing.assert_allclose(summary.loss_spread, np.std(losses), rtol=1e-6)
    np.testing.assert_allclose(summary.loss_slope, -2.0, rtol=1e-6)
    np.testing.assert_allclose(summary.loss_largest, 2.5, rtol=1e-6)
    for i, name in enumerate(layers.names):
        g = [flat(x, name) for x in gradients]
        d = [flat(x, name) for x in directions]
        cosines = [a @ b / np.sqrt(a @ a * (b @ b)) for a, b in pairwise(g)]
        np.testing.assert_allclose(summary.gradient_rms[i], rms(g), rtol=1e-5)
        np.testing.assert_allclose(summary.direction_rms[i], rms(d), rtol=1e-5)
        np.testing.assert_allclose(summary.weight_rms[i], rms(flat(params, name)), rtol=1e-5)
        np.testing.assert_allclose(summary.agreement[i], np.mean(cosines), rtol=1e-4)
        cosines = [a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(g, d, strict=True)]
        np.testing.assert_allclose(summary.alignment[i], np.mean(cosines), rtol=1e-4)


def test_a_small_spread_on_a_high_level_is_not_lost_to_float32():
    losses = 1000.0 + np.asarray([0.0, 0.01, 0.02, 0.03])
    record = empty_loss_record()
    for loss in losses.astype(np.float32):
        record = record_loss(record, jnp.asarray(loss))
    params = mlp_init(jax.random.key(0))
    layers = by_module(params)
    summary = summarize(record, empty_layer_record(params, layers), params, layers)
    np.testing.assert_allclose(summary.loss_spread, np.std(np.float32(losses)), rtol=1e-3)


def test_a_window_without_steps_is_all_zeros_and_finite():
    params = mlp_init(jax.random.key(0))
    layers = by_module(params)
    summary = summarize(empty_loss_record(), empty_layer_record(params, layers), params, layers)
    np.testing.assert_array_equal(summary.loss, 0.0)
    np.testing.assert_array_equal(summary.gradient_rms, np.zeros(2))
    np.testing.assert_array_equal(summary.agreement, np.zeros(2))
    np.testing.assert_array_equal(summary.alignment, np.zeros(2))


def test_where_a_gradient_is_zero_it_agrees_with_nothing():
    zeros = jax.tree.map(jnp.zeros_like, mlp_init(jax.random.key(0)))
    layers = by_module(zeros)
    record = empty_layer_record(zeros, layers)
    for _ in range(2):
        record = record_layers(record, zeros, zeros, layers)
    np.testing.assert_array_equal(record.agreement, np.zeros(2))
    np.testing.assert_array_equal(record.alignment, np.zeros(2))


def test_gradients_that_do_not_change_agree_fully_and_opposite_ones_not_at_all():
    gradient = mlp_init(jax.random.key(0))
    layers = by_module(gradient)
    record = empty_layer_record(gradient, layers)
    for _ in range(2):
        record = record_layers(record, gradient, gradient, layers)
    np.testing.assert_allclose(record.agreement / record.agreement_count, 1.0, rtol=1e-6)
    opposite = jax.tree.map(jnp.negative, gradient)
    record = record_layers(record, opposite, gradient, layers)
    np.testing.assert_allclose(record.agreement, 0.0, atol=1e-6)
    np.testing.assert_allclose(
        record.alignment, 1.0, rtol=1e-6
    )  # twice along the gradient, once against it
