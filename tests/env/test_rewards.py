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
    TerminalAccuracy(stability=0.3),
    TerminalLogLoss(),
    DifferenceReward(),
    DifferenceReward(on="train", team_share=0.0),
)


def outcome(loss, diverged=False, instability=0.0):
    loss = jnp.asarray(loss, jnp.float32)
    return Outcome(loss, loss, jnp.exp(-loss), jnp.asarray(instability), jnp.asarray(diverged))


def context(before, after, remaining=1, first=None):
    return RewardContext(
        first=before if first is None else first,
        before=before,
        after=after,
        remaining=jnp.asarray(remaining),
        rates_before=RATES / 2,
        rates=jnp.tile(RATES, (3, 1)),
        explosion=20.0,
    )


def total_return(reward, losses, num_decisions=None, replayed=None, instability=0.0):
    """Of an episode with these losses, None for divergence; without a layer's action the loss would have stayed."""
    num_decisions = num_decisions or len(losses) - 1
    total = 0.0
    for t, (before, after) in enumerate(pairwise(losses)):
        reached = outcome(before, True) if after is None else outcome(after, False, instability)
        c = context(outcome(before), reached, num_decisions - t, outcome(losses[0]))
        alone = before if replayed is None else replayed
        total += reward(c, lambda rates, loss=alone: outcome(loss))
    return np.asarray(total)


@pytest.mark.parametrize("on", ["reward", "train"])
def test_decreases_of_the_log_loss_add_up_to_the_log_of_first_over_last(on):
    losses = [2.3, 1.1, 1.9, 0.4, 0.05]
    total = total_return(LogLossDecrease(on=on), losses)
    np.testing.assert_allclose(total, np.full(2, np.log(2.3 / 0.05)), rtol=1e-5)


def test_the_rewards_of_an_env_add_up_to_the_log_of_first_over_last(key):
    env = mlp_env()
    state, _ = reset(env, key)
    first, total = state, 0.0
    for _ in range(env.num_decisions):
        state, timestep = step(env, state, RATES)
        total += timestep.reward
    expected = np.log(first.outcome.reward_loss / state.outcome.reward_loss)
    np.testing.assert_allclose(total, np.full(2, expected), rtol=1e-4)


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
def test_a_lower_final_loss_gives_a_higher_return(reward):
    better, worse = (total_return(reward, [2.0, 1.0, final]) for final in (0.3, 0.6))
    assert (better > worse).all()


@pytest.mark.parametrize("reward", REWARDS, ids=repr)
def test_divergence_never_pays_more_than_any_finite_end(reward):
    # The worst that can happen otherwise: losses that end at 50 after 2.3, all spikes, agents whose
    # actions made things worse in every window.
    worst = {"replayed": 1e-3, "instability": np.log(3.0)}
    for going_on in ([50.0] * 3, [1.0, 0.1, 50.0], [1e4, 1e6, 1e8]):
        finished = total_return(reward, [2.3, 0.5, *going_on], **worst)
        broken = total_return(reward, [2.3, 0.5, None], num_decisions=4, **worst)
        assert (broken <= finished + 1e-5).all()


@pytest.mark.parametrize(
    "reward, expected",
    [
        (LogLossDecrease(), -np.log(20 * 3.0 / 1.0)),
        (LogLossDecrease(penalty=9.0), -9.0),
        (LogLossDecrease(stability=0.1), -np.log(20 * 3.0) - 0.1 * 4 * np.log(3)),
        (TerminalAccuracy(), -1.0),
        (TerminalAccuracy(stability=0.1), -1.0 - 0.1 * 4 * np.log(3)),
        (TerminalLogLoss(), -np.log(20 * 3.0)),
        (TerminalLogLoss(penalty=9.0), -9.0),
        (DifferenceReward(penalty=0.2, team_share=0.5), -0.2 * 4 - 0.5 * np.log(20 * 3.0)),
    ],
)
def test_what_a_diverged_training_is_paid(reward, expected):
    c = context(outcome(1.0), outcome(1.0, True), remaining=4, first=outcome(3.0))
    values = reward(c, lambda rates: outcome(jnp.nan, True))
    np.testing.assert_allclose(values, np.full(2, expected), rtol=1e-6)


def test_spikes_cost_what_stability_says():
    calm, spike = (context(outcome(1.0), outcome(0.5, instability=x)) for x in (0.0, 0.7))
    for reward in (LogLossDecrease(stability=0.2), TerminalAccuracy(stability=0.2)):
        cost = reward(calm, None) - reward(spike, None)
        np.testing.assert_allclose(cost, np.full(2, 0.14), rtol=1e-5)


@pytest.mark.parametrize("reward", [TerminalAccuracy(), TerminalLogLoss()])
def test_terminal_rewards_are_zero_before_the_end(reward):
    values = reward(context(outcome(1.0), outcome(0.5), remaining=2), None)
    np.testing.assert_array_equal(values, np.zeros(2))


def test_a_reward_of_accuracy_needs_one():
    family = from_functions(mlp_init, lambda params, batch: mlp_loss(params, batch)[0], blobs())
    training = Training.create(family, named("sgd", Constant(0.1)), 8)
    with pytest.raises(ValueError, match="needs an accuracy, which task does not have"):
        Env.create(training, TerminalAccuracy(), num_decisions=2, interval=2)
    assert Env.create(training, TerminalLogLoss(), num_decisions=2, interval=2).num_layers == 2
    assert mlp_env(reward=TerminalAccuracy()).training.family.has_accuracy


@pytest.mark.parametrize("reward", [TerminalAccuracy(), TerminalLogLoss()], ids=repr)
def test_a_reward_at_the_end_needs_episodes_that_reach_it(reward):
    name = type(reward).__name__
    message = f"`{name}` is paid at the end of a training, which an episode of 3 of 4 decisions"
    with pytest.raises(ValueError, match=message):
        mlp_env(reward=reward, episode_decisions=3)
    assert mlp_env(reward=LogLossDecrease(), episode_decisions=3).episode_decisions == 3


def test_the_difference_reward_is_the_hand_made_counterfactual(key):
    reward = DifferenceReward(team_share=0.25)
    env, plain = mlp_env(reward=reward), mlp_env()
    state, _ = reset(env, key)
    before, _ = reset(plain, key)
    gains = []
    for rates in (RATES, RATES.at[0].set(0.1), RATES.at[1].set(0.1)):  # 0.1: the rate before
        after, _ = step(plain, before, rates)
        gains.append(np.log(before.outcome.reward_loss / after.outcome.reward_loss))
    _, timestep = step(env, state, RATES)
    team, *without = gains
    expected = team - np.asarray(without) + 0.25 * team
    np.testing.assert_allclose(timestep.reward, expected, rtol=1e-4, atol=1e-5)


def test_the_difference_reward_works_under_jit_and_vmap():
    reward = DifferenceReward()
    team = jnp.asarray([0.5, 0.9])

    def value(after):
        return reward(context(outcome(1.0), outcome(after)), lambda rates: outcome(1.0))

    together = quick_jit(jax.vmap(value))(team)
    np.testing.assert_allclose(together[:, 0], -1.5 * np.log(team), rtol=1e-5)
    np.testing.assert_allclose(value(0.1)[0], 1.0 - 0.5 * np.log(0.1), rtol=1e-5)  # bounded


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="'reward' or 'train'; got 'test'"):
        LogLossDecrease(on="test")
