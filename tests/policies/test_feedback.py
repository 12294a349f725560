"""The plateau rule against Optax's and against sequences worked out by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.env.observation import Observation
from ganno_jax.policies.feedback import ReduceOnPlateau

KEY = jax.random.key(0)


def observation(loss, step=20, initial_rate=0.5):
    return Observation(
        features=jnp.zeros((2, 1)),
        mask=jnp.ones(2, bool),
        rates=jnp.full(2, initial_rate),
        largest_relative_steps=jnp.ones(2),
        initial_rate=jnp.asarray(initial_rate),
        loss=jnp.asarray(loss, float),
        step=jnp.asarray(step),
        total_steps=jnp.asarray(600),
        interval=20,
    )


@jax.jit
def follow(policy, losses):
    """The rates that the policy sets after each of the losses, without a first decision."""

    def decide(state, loss):
        state, rates = policy.act(state, observation(loss), KEY)
        return state, rates

    return jax.lax.scan(decide, policy.init(observation(losses[0])), losses)[1]


def optax_scales(losses, **settings):
    transformation = optax.contrib.reduce_on_plateau(**settings)

    def update(state, loss):
        _, state = transformation.update(jnp.ones(()), state, value=loss)
        return state, state.scale

    return jax.lax.scan(update, transformation.init(jnp.zeros(())), losses)[1]


@pytest.mark.parametrize(
    "patience, cooldown, threshold", [(0, 0, 1e-4), (3, 0, 1e-4), (2, 2, 0.05), (1, 4, 1e-4)]
)
def test_the_scale_is_that_of_optax_with_a_patience_of_one_more(patience, cooldown, threshold):
    noise = np.random.default_rng(0).normal(size=40)
    losses = jnp.asarray(np.exp(-np.arange(40) / 3) + 0.3 + 0.03 * noise)
    policy = ReduceOnPlateau(1.0, 0.5, patience, threshold, cooldown, min_rate=0.0)
    theirs = optax_scales(
        losses, factor=0.5, patience=patience + 1, rtol=threshold, cooldown=cooldown
    )
    np.testing.assert_allclose(follow(policy, losses)[:, 0], theirs, rtol=1e-6)
    assert theirs[-1] < 1.0


def test_the_rate_falls_at_the_first_decision_beyond_patience():
    """As PyTorch words it: with patience 2, the third decision without a gain lowers the rate."""
    rates = follow(ReduceOnPlateau(1.0, patience=2), jnp.ones(8))
    expected = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01]
    np.testing.assert_allclose(rates[:, 0], expected, rtol=1e-6)


def test_decisions_in_cooldown_are_not_counted():
    rates = follow(ReduceOnPlateau(1.0, patience=0, cooldown=2), jnp.ones(6))
    np.testing.assert_allclose(rates[:, 0], [1.0, 0.1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_a_gain_below_the_threshold_is_no_improvement():
    losses = jnp.array([1.0, 0.95, 0.91, 0.86])
    policy = ReduceOnPlateau(1.0, patience=1, threshold=0.1)
    np.testing.assert_allclose(follow(policy, losses)[:, 0], [1.0, 1.0, 0.1, 0.1], rtol=1e-6)


def test_a_falling_loss_keeps_the_initial_rate_of_every_layer():
    rates = follow(ReduceOnPlateau(), jnp.linspace(1.0, 0.1, 30))
    np.testing.assert_array_equal(rates, np.full((30, 2), 0.5, np.float32))


def test_a_constant_negative_loss_is_a_plateau():
    assert follow(ReduceOnPlateau(1.0, patience=0), -jnp.ones(3))[-1, 0] < 1.0


def test_a_loss_that_is_not_finite_is_no_improvement_and_does_not_spoil_the_memory():
    losses = jnp.array([1.0, jnp.nan, jnp.inf, 0.5, 0.4])
    rates = follow(ReduceOnPlateau(1.0, patience=1), losses)
    np.testing.assert_allclose(rates[:, 0], [1.0, 1.0, 0.1, 0.1, 0.1], rtol=1e-6)


def test_the_rate_stops_at_the_lowest_and_is_never_raised_to_it():
    policy = ReduceOnPlateau(1.0, patience=0, min_rate=0.05)
    np.testing.assert_allclose(follow(policy, jnp.ones(4))[:, 0], [1, 0.1, 0.05, 0.05], rtol=1e-6)
    small = ReduceOnPlateau(0.01, patience=0, min_rate=0.05)
    np.testing.assert_allclose(follow(small, jnp.ones(4))[:, 0], 0.01, rtol=1e-6)


def test_the_loss_before_the_first_inner_step_is_not_judged():
    policy = ReduceOnPlateau(1.0, patience=0)
    start = policy.init(observation(0.0, step=0))
    state, rates = policy.act(start, observation(0.0, step=0), KEY)
    np.testing.assert_array_equal(rates, np.ones(2))
    chex.assert_trees_all_equal(state, start)


def test_a_batch_of_policies_equals_each_alone():
    losses = jnp.ones(12)
    factors, patiences = jnp.array([0.1, 0.5]), jnp.array([1, 3])
    settings = (jnp.array([1.0, 2.0]), factors, patiences)
    batched = jax.vmap(lambda *lane: follow(ReduceOnPlateau(*lane), losses))(*settings)
    for lane in range(2):
        alone = ReduceOnPlateau([1.0, 2.0][lane], float(factors[lane]), int(patiences[lane]))
        np.testing.assert_allclose(batched[lane], follow(alone, losses), rtol=1e-6)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"`factor` must be in \(0, 1\).*got 1.5"):
        ReduceOnPlateau(factor=1.5)
    with pytest.raises(ValueError, match=r"`threshold` must not be negative; got -0.1"):
        ReduceOnPlateau(threshold=-0.1)
