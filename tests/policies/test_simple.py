"""Policies that look at nothing but the clock: fixed rates, the replay of a table."""

import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.policies.simple import FixedRates, OpenLoop, interpolate_log, mean_schedule

from .test_schedules import observation


def test_fixed_rates_are_the_same_at_every_decision(key):
    policy = FixedRates(jnp.array([0.1, 0.02]))
    for step in (0, 200):
        _, rates = policy.act(policy.init(observation()), observation(step=step), key)
        np.testing.assert_array_equal(rates, policy.rates)


def test_tables_and_fixed_rates_refuse_another_number_of_layers(key):
    for policy in (FixedRates(jnp.ones(3)), OpenLoop(jnp.ones((4, 3)))):
        with pytest.raises(ValueError, match=r"one column per layer of the training, 2; got 3"):
            policy.act((), observation(), key)


TABLE = jnp.array([[1.0, 0.5], [0.1, 0.0], [0.01, 0.3]])


def replay(table, total_steps, interval, key):
    policy = OpenLoop(table)
    seen = [observation(step, total_steps, interval) for step in range(0, total_steps, interval)]
    return np.stack([policy.act((), one, key)[1] for one in seen])


def test_a_replay_of_equal_length_is_the_table_bit_for_bit(key):
    np.testing.assert_array_equal(replay(TABLE, 60, 20, key), TABLE)


def test_a_replay_does_not_depend_on_the_length_of_a_decision(key):
    np.testing.assert_array_equal(replay(TABLE, 3000, 1000, key), TABLE)


def test_a_replay_of_another_length_interpolates_in_log_space(key):
    """Six decisions from three rows: positions -1/4 (held), 1/4, 3/4, 5/4, 7/4, 9/4 (held)."""
    column = replay(TABLE, 120, 20, key)[:, 0]
    exponents = [0.0, -0.25, -0.75, -1.25, -1.75, -2.0]
    np.testing.assert_allclose(column, 10.0 ** np.array(exponents), rtol=1e-5)


def test_a_shorter_replay_takes_the_middle_of_its_parts(key):
    """One decision from three rows: the middle row; three from six: geometric means of pairs."""
    np.testing.assert_array_equal(replay(TABLE, 20, 20, key), TABLE[1:2])
    six = 10.0 ** -jnp.arange(6.0)[:, None] * jnp.ones((1, 2))
    np.testing.assert_allclose(
        replay(six, 60, 20, key)[:, 0], 10.0 ** -np.array([0.5, 2.5, 4.5]), rtol=1e-5
    )


def test_interpolation_is_held_outside_the_table():
    for position, row in ((-3.0, 0), (0.0, 0), (2.0, 2), (9.0, 2)):
        np.testing.assert_array_equal(interpolate_log(TABLE, jnp.asarray(position)), TABLE[row])


def test_the_mean_schedule_is_geometric_and_leaves_out_what_is_not_included():
    rates = jnp.array([[[1.0], [0.01], [jnp.nan]]])  # one decision, three trainings, one layer
    mean = mean_schedule(rates, include=jnp.array([True, True, False]))
    np.testing.assert_allclose(mean, [[0.1]], rtol=1e-6)
    np.testing.assert_allclose(mean_schedule(rates[:, :2]), [[0.1]], rtol=1e-6)
