"""Skipping, units, limits and back-off, each alone around plain Optax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.door import back_off, limit_gradients, skip_not_finite, usual_unit

PARAMS = {"w": jnp.array([1.0, 2.0])}


def plain():
    """Momentum that takes what the wrappers hand on and steps by their factors."""
    inner = optax.trace(0.9)

    def update(gradient, state, params, *, gradient_factor=1.0, rate_factor=1.0, **extra):
        gradient = jax.tree.map(lambda g: gradient_factor * g, gradient)
        updates, state = inner.update(gradient, state, params)
        return jax.tree.map(lambda u: rate_factor * u, updates), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def squares(gradient):
    return jnp.stack([jnp.vdot(g, g) for g in jax.tree.leaves(gradient)])


def follow(transformation, scales, values=None):
    """Updates and states along gradients of these sizes."""
    values = np.ones(len(scales)) if values is None else values

    def one(state, inputs):
        scale, value = inputs
        gradient = {"w": scale * jnp.array([3.0, 4.0])}
        updates, state = transformation.update(
            gradient, state, PARAMS, squares=squares(gradient), value=value
        )
        return state, (updates["w"], state)

    inputs = jnp.asarray(scales, jnp.float32), jnp.asarray(values, jnp.float32)
    return jax.lax.scan(one, transformation.init(PARAMS), inputs)[1]


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, 1e30])  # the square of the last is infinite
def test_skipped_updates_are_as_if_they_had_not_been(bad):
    with_bad, states = follow(skip_not_finite(plain()), [bad, bad, 1.0, bad, 2.0, bad, bad])
    without, _ = follow(plain(), [1.0, 2.0])
    np.testing.assert_array_equal(with_bad[jnp.array([2, 4])], without)
    np.testing.assert_array_equal(with_bad[jnp.array([0, 1, 3, 5, 6])], 0)
    assert int(states.skipped[-1]) == 5


def test_an_infinite_loss_is_skipped_and_zero_gradients_only_before_the_first():
    updates, states = follow(
        skip_not_finite(plain()), [0.0, 1.0, 1.0, 0.0], [1.0, jnp.inf, 1.0, 1.0]
    )
    np.testing.assert_array_equal(states.skipped, [1, 2, 2, 2])
    np.testing.assert_allclose(updates[2:, 0], [3.0, 2.7])  # the momentum goes on


def test_losses_of_an_unusual_unit_are_measured_in_a_power_of_two():
    for scale, unit in ((1e-8, 2.0**24), (1.0, 1.0), (1e8, 2.0**-29)):
        updates, states = follow(usual_unit(plain()), [scale, 2 * scale])
        wanted, _ = follow(plain(), [unit * scale, 2 * unit * scale])
        np.testing.assert_array_equal(states.unit, unit)
        np.testing.assert_array_equal(updates, wanted)
        assert 0.5 < np.linalg.norm(wanted[0]) < 7


def test_a_gradient_a_million_times_too_long_is_shortened_and_others_are_not():
    scales = np.exp(0.5 * np.random.default_rng(0).normal(size=200))  # as minibatches scatter
    healthy, states = follow(limit_gradients(plain()), scales)
    np.testing.assert_array_equal(healthy, follow(plain(), scales)[0])
    assert int(states.limited[-1]) == 0
    scales[20] *= 1e6
    hurt, states = follow(limit_gradients(plain()), scales)
    assert int(states.limited[-1]) == 1
    assert np.abs(hurt).max() < 300 * np.abs(healthy).max()


def test_gradients_that_stay_large_become_the_rule():
    _, states = follow(limit_gradients(plain()), [1.0] * 50 + [1e4] * 100)
    assert int(states.limited[-1]) < 30
    assert int(states.limited[-1]) == int(states.limited[-40])


def test_spikes_halve_the_rates_until_an_interval_later_and_one_alone_for_five_updates():
    losses = np.exp(0.3 * np.random.default_rng(0).normal(size=60))
    _, states = follow(back_off(plain(), 10), np.ones(60), losses)
    np.testing.assert_array_equal(states.backoff, 1.0)
    alone = np.where(np.arange(60) == 30, 100.0, losses)
    _, states = follow(back_off(plain(), 10), np.ones(60), alone)
    assert float(states.backoff[30]) == 0.5
    np.testing.assert_allclose(states.backoff[32], 2**-0.6, rtol=1e-5)
    np.testing.assert_array_equal(states.backoff[36:], 1.0)
    assert int(states.spikes[-1]) == 1
    two = np.where(np.arange(60) // 2 == 15, [100.0, 1000.0] * 30, losses)
    _, states = follow(back_off(plain(), 10), np.ones(60), two)
    assert float(states.backoff[31]) == 0.25
    np.testing.assert_allclose(states.backoff[36], 2**-1.5, rtol=1e-5)
    np.testing.assert_array_equal(states.backoff[52:], 1.0)
    assert int(states.spikes[-1]) == 2


def test_losses_of_zero_and_below_have_no_spikes():
    losses = np.random.default_rng(0).normal(size=60)
    _, states = follow(back_off(plain(), 10), np.ones(60), np.minimum(losses, 0))
    assert int(states.spikes[-1]) == 0
    chex.assert_tree_all_finite(states)


def test_once_a_loss_was_below_zero_none_is_a_spike():
    losses = np.append(np.random.default_rng(0).normal(size=40), 1e4)
    assert losses.min() < 0 < losses.max()
    _, states = follow(back_off(plain(), 10), np.ones(41), losses)
    assert int(states.spikes[-1]) == 0
    np.testing.assert_array_equal(states.backoff, 1.0)
    _, states = follow(back_off(plain(), 10), np.ones(41), np.abs(losses))
    assert int(states.spikes[-1]) == 1
