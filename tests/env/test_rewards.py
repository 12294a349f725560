"""Rewards: sums, signs, and the counterfactual of the difference reward."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import Env, Outcome
from ganno_jax.env.rewards import (
    DifferenceReward,
    LogLossDecrease,
    RewardContext,
    TerminalAccuracy,
    TerminalLogLoss,
)
from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.tasks import from_functions
from ganno_jax.tasks.distributions import Constant

from ..probes import blobs, mlp_env, mlp_init, mlp_loss, quick_jit, reset, step

RATES = jnp.asarray([0.2, 0.4])
REWARDS = (
    LogLossDecrease(),
    LogLossDecrease(on="train"),
    LogLossDecrease(stability=0.1),
    TerminalAccuracy(),
    TerminalLogLoss(),
    DifferenceReward(),
    DifferenceReward(on="train", team_share=0.0),
)


def outcome(loss, diverged=False, instability=0.0):
    loss = jnp.asarray(loss, jnp.float32)
    return Outcome(loss, loss, jnp.exp(-loss), jnp.asarray(instability), jnp.asarray(diverged))


def context(before, after, is_last=True):
    return RewardContext(before, after, jnp.asarray(is_last), RATES / 2, jnp.tile(RATES, (3, 1)))


def total_return(reward, losses):
    """Of an episode with these losses; without a layer's action the loss would have stayed."""
    total = 0.0
    pairs = list(pairwise(losses))
    for t, (before, after) in enumerate(pairs):
        c = context(outcome(before), outcome(after), t + 1 == len(pairs))
        total += reward(c, lambda rates, b=before: outcome(b))
    return np.asarray(total)


@pytest.mark.parametrize("on", ["validation", "train"])
def test_decreases_of_the_log_loss_add_up_to_the_log_of_first_over_last(on):
    losses = [2.3, 1.1, 1.9, 0.4, 0.05]
    total = total_return(LogLossDecrease(on=on), losses)
    np.testing.assert_allclose(total, np.full(2, np.log(2.3 / 0.05)), rtol=1e-5)


def test_the_rewards_of_an_env_add_up_to_the_log_of_first_over_last(key):
    env = mlp_env()
    state, first = reset(env, key)
    total = 0.0
    for _ in range(env.num_decisions):
        state, timestep = step(env, state, RATES)
        total += timestep.reward
    expected = np.log(first.outcome.validation_loss / state.outcome.validation_loss)
    np.testing.assert_allclose(total, np.full(2, expected), rtol=1e-4)


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
def test_a_lower_final_loss_gives_a_higher_return(reward):
    better, worse = (total_return(reward, [2.0, 1.0, final]) for final in (0.3, 0.6))
    assert (better > worse).all()


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
def test_a_diverged_training_gets_minus_the_penalty(reward):
    values = reward(context(outcome(1.0), outcome(1.0, True)), lambda rates: outcome(jnp.nan, True))
    np.testing.assert_array_equal(values, np.full(2, -reward.penalty))


def test_spikes_cost_what_stability_says():
    calm, spike = (context(outcome(1.0), outcome(0.5, instability=x)) for x in (0.0, 0.7))
    for reward in (LogLossDecrease(stability=0.2), TerminalAccuracy(stability=0.2)):
        cost = reward(calm, None) - reward(spike, None)
        np.testing.assert_allclose(cost, np.full(2, 0.14), rtol=1e-5)


@pytest.mark.parametrize("reward", [TerminalAccuracy(), TerminalLogLoss()])
def test_terminal_rewards_are_zero_before_the_end(reward):
    values = reward(context(outcome(1.0), outcome(0.5), is_last=False), None)
    np.testing.assert_array_equal(values, np.zeros(2))


def test_a_reward_of_accuracy_needs_one():
    family = from_functions(mlp_init, lambda params, batch: mlp_loss(params, batch)[0], blobs())
    training = Training.create(family, named("sgd", Constant(0.1)), 8)
    with pytest.raises(ValueError, match="needs an accuracy, which task does not have"):
        Env.create(training, TerminalAccuracy(), num_decisions=2, interval=2)
    assert Env.create(training, TerminalLogLoss(), num_decisions=2, interval=2).num_layers == 2
    assert mlp_env(reward=TerminalAccuracy()).training.has_accuracy


def test_the_difference_reward_is_the_hand_made_counterfactual(key):
    reward = DifferenceReward(team_share=0.25)
    env, plain = mlp_env(reward=reward), mlp_env()
    state, before = reset(env, key)
    plain_state, _ = reset(plain, key)
    gains = []
    for rates in (RATES, RATES.at[0].set(0.1), RATES.at[1].set(0.1)):  # 0.1: the rate before
        _, after = step(plain, plain_state, rates)
        gains.append(np.log(before.outcome.validation_loss / after.outcome.validation_loss))
    _, timestep = step(env, state, RATES)
    team, *without = gains
    expected = team - np.asarray(without) + 0.25 * team
    np.testing.assert_allclose(timestep.reward, expected, rtol=1e-4, atol=1e-5)


def test_the_difference_reward_works_under_jit_and_vmap():
    reward = DifferenceReward()
    team = jnp.asarray([0.5, 0.25])

    def value(after):
        return reward(context(outcome(1.0), outcome(after)), lambda rates: outcome(1.0))

    together = quick_jit(jax.vmap(value))(team)
    np.testing.assert_allclose(together[:, 0], -1.5 * np.log(team), rtol=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="'validation' or 'train'; got 'test'"):
        LogLossDecrease(on="test")
