"""Advantages and losses: identities that hold for any stream."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.learners.mappo.advantages import (
    divide_by_group_deviation,
    generalized_advantages,
    subtract_group_mean,
)
from ganno_jax.learners.mappo.losses import approximate_kl, clipped_policy_loss, clipped_value_loss

RANDOM = np.random.default_rng(0)
REWARDS = jnp.asarray(RANDOM.normal(size=6), jnp.float32)
VALUES = jnp.asarray(RANDOM.normal(size=7), jnp.float32)
DISCOUNTS = jnp.asarray([0.9, 0.9, 0.0, 0.9, 0.9, 0.9])  # an episode ends after the third step


def test_with_lambda_one_the_advantage_is_return_minus_value():
    returns, following = np.zeros(6), VALUES[-1]
    for t in reversed(range(6)):
        following = returns[t] = REWARDS[t] + DISCOUNTS[t] * following
    advantages = generalized_advantages(REWARDS, VALUES, DISCOUNTS, 1.0)
    np.testing.assert_allclose(advantages, returns - VALUES[:-1], rtol=1e-5, atol=1e-6)


def test_with_lambda_zero_the_advantage_is_the_td_error():
    errors = REWARDS + DISCOUNTS * VALUES[1:] - VALUES[:-1]
    advantages = generalized_advantages(REWARDS, VALUES, DISCOUNTS, 0.0)
    np.testing.assert_allclose(advantages, errors, rtol=1e-6)


def test_nothing_after_an_end_reaches_the_steps_before_it():
    changed = REWARDS.at[3:].set(100.0), VALUES.at[3:].set(-100.0)
    before = generalized_advantages(REWARDS, VALUES, DISCOUNTS, 0.95)
    after = generalized_advantages(*changed, DISCOUNTS, 0.95)
    np.testing.assert_array_equal(before[:3], after[:3])


def test_true_values_have_no_advantage_whatever_lambda():
    values = np.zeros(7)
    for t in reversed(range(6)):
        values[t] = REWARDS[t] + 0.9 * values[t + 1]
    for trace_decay in (0.0, 0.5, 1.0):
        advantages = generalized_advantages(
            REWARDS, jnp.asarray(values, jnp.float32), jnp.full(6, 0.9), trace_decay
        )
        np.testing.assert_allclose(advantages, np.zeros(6), atol=1e-5)


def test_each_group_loses_its_own_mean_over_those_that_count():
    x = RANDOM.normal(size=(2, 6, 3))
    weight = (RANDOM.uniform(size=(2, 6, 3)) < 0.7).astype(float)
    weight[0, :3] = 0.0  # a group of which nobody counts
    centered = subtract_group_mean(jnp.asarray(x), jnp.asarray(weight), 3)
    for t in range(2):
        for group in (slice(0, 3), slice(3, 6)):
            for layer in range(3):
                w, values = weight[t, group, layer], x[t, group, layer]
                mean = (w @ values) / max(w.sum(), 1.0)
                np.testing.assert_allclose(
                    centered[t, group, layer], values - mean, rtol=1e-5, atol=1e-6
                )


@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_at_ratio_one_the_clipped_loss_has_the_plain_policy_gradient(advantage):
    logits, action = jnp.asarray([0.3, -0.2, 0.9]), 1

    def log_prob(logits):
        return jax.nn.log_softmax(logits)[action]

    old = log_prob(logits)
    ours = jax.grad(lambda x: clipped_policy_loss(log_prob(x) - old, advantage, 0.2))(logits)
    plain = jax.grad(lambda x: -advantage * log_prob(x))(logits)
    np.testing.assert_allclose(ours, plain, rtol=1e-6)


@pytest.mark.parametrize(
    "ratio, advantage, expected",
    [(1.5, 1.0, 0.0), (0.5, 1.0, -0.5), (1.5, -1.0, 1.5), (0.5, -1.0, 0.0), (1.1, 1.0, -1.1)],
)
def test_the_clip_stops_the_gradient_only_where_the_ratio_went_too_far(ratio, advantage, expected):
    gradient = jax.grad(lambda x: clipped_policy_loss(x, advantage, 0.2))(jnp.log(ratio))
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_the_clipped_value_loss_is_the_larger_of_two_errors():
    np.testing.assert_allclose(clipped_value_loss(0.4, 0.0, 1.0, 0.5), 0.18, rtol=1e-6)
    np.testing.assert_allclose(clipped_value_loss(2.0, 0.0, 2.0, 0.5), 1.125, rtol=1e-6)


def test_the_kl_estimate_is_not_negative_and_right_on_average():
    old, new = np.asarray([0.5, 0.3, 0.2]), np.asarray([0.4, 0.4, 0.2])
    estimates = np.asarray(approximate_kl(jnp.log(new / old)))
    assert (estimates >= -1e-7).all()
    np.testing.assert_allclose(old @ estimates, np.sum(old * np.log(old / new)), rtol=1e-4)


def test_every_group_has_unit_deviation_where_it_counts_and_level_ones_stay_small():
    """Three groups of four: one wide, one narrow, one below the least deviation; the last entry does not count."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 12, 2)) * np.repeat([8.0, 0.05, 1e-5], 4)[None, :, None]
    counts = np.ones(x.shape, bool)
    counts[-1, :, 1] = False
    scaled = np.asarray(divide_by_group_deviation(jnp.asarray(x), jnp.asarray(counts), 4))
    wide, narrow, level = (scaled[:, k : k + 4][counts[:, k : k + 4]] for k in (0, 4, 8))
    np.testing.assert_allclose(np.mean(wide**2), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.mean(narrow**2), 1.0, rtol=1e-5)
    np.testing.assert_allclose(level, (x[:, 8:] / 1e-3)[counts[:, 8:]], rtol=1e-5)
