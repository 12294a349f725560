"""Episodes: resets, steps, budgets, divergence."""

from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import Env, map_trainings
from ganno_jax.env.rewards import LogLossDecrease

from ..probes import (
    init,
    mlp_env,
    mlp_training,
    probe_env,
    quick_jit,
    reset,
    reset_batch,
    step,
    step_batch,
    window,
)

KEYS = jax.random.split(jax.random.key(1), 3)
RATES = jnp.asarray([[0.1, 0.3], [0.5, 0.05], [0.2, 0.2]])


def plain(tree):
    """Keys as numbers, so that NumPy can compare them."""

    def data(x):
        return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x

    return jax.tree.map(data, tree)


def member(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def assert_identical(left, right):
    jax.tree.map(np.testing.assert_array_equal, plain(left), plain(right))


def assert_close(left, right, rtol=1e-4, atol=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
        plain(left),
        plain(right),
    )


@pytest.fixture(scope="module")
def env():
    return mlp_env()


@pytest.fixture(scope="module")
def batch(env):
    return reset_batch(env, KEYS)


def test_a_reset_takes_no_step_and_pays_nothing(env, key):
    state, timestep = reset(env, key)
    assert state.inner.step == 0
    assert not timestep.terminated
    assert not timestep.truncated
    np.testing.assert_array_equal(timestep.reward, np.zeros(2))
    np.testing.assert_allclose(state.observation.rates, np.full(2, 0.1), rtol=1e-6)


def test_one_key_gives_one_training(env, key):
    assert_identical(reset(env, key), reset(env, key))


def test_an_env_step_is_its_window_of_inner_steps(env, key):
    state, _ = reset(env, key)
    after, _ = step(env, state, RATES[0])
    inner, summary = window(env.training, init(env.training, key), jnp.tile(RATES[0], (3, 1)), 2)
    assert_close(after.inner.params, inner.params)
    np.testing.assert_allclose(after.outcome.train_loss, summary.loss, rtol=1e-5)
    assert after.inner.step == 3


def test_rates_per_inner_step_are_followed(env, key):
    state, _ = reset(env, key)
    after, _ = step(env, state, jnp.stack([RATES[0], jnp.zeros(2), RATES[1]]))
    inner, _ = window(
        env.training,
        init(env.training, key),
        jnp.stack([RATES[0], jnp.zeros(2), RATES[1]]),
        2,
    )
    assert_close(after.inner.params, inner.params)
    np.testing.assert_array_equal(after.observation.rates, RATES[1])
    equal_rows, _ = step(env, state, jnp.tile(RATES[0], (3, 1)))
    one_row, _ = step(env, state, RATES[0])
    assert_close(equal_rows, one_row)


def test_a_batch_equals_a_loop_over_its_members(env, batch):
    states, _ = batch
    together = step_batch(env, states, RATES)
    for i, key in enumerate(KEYS):
        alone = step(env, reset(env, key)[0], RATES[i])
        assert_close(member(together, i), alone)  # another order of additions


def test_all_mappings_over_trainings_give_the_same_values(env, batch):
    inner = batch[0].inner

    @partial(quick_jit, static_argnums=0)
    def run(mapping, states, rates):
        return map_trainings(env.training.inner_step, mapping, states, rates)

    expected = run("vmap", inner, RATES)
    for mapping in ("map", 2):
        assert_close(run(mapping, inner, RATES), expected)


def test_permuting_the_trainings_permutes_what_comes_out(env, batch):
    states, _ = batch
    order = jnp.asarray([2, 0, 1])
    permuted = step_batch(env, member(states, order), RATES[order])
    assert_identical(permuted, member(step_batch(env, states, RATES), order))


def test_the_budget_ends_an_episode(env, key):
    state, _ = reset(env, key)
    ends = []
    for _ in range(4):
        state, timestep = step(env, state, RATES[0])
        ends.append((bool(timestep.terminated), bool(timestep.truncated)))
    assert ends == [(False, False)] * 3 + [(True, False)]
    assert state.observation.features[0, 0] == 1.0  # progress


def test_an_episode_cut_short_of_the_budget_is_truncated_not_terminated(key):
    env = mlp_env(episode_decisions=2)
    state, _ = reset(env, key)
    ends = []
    for _ in range(2):
        state, timestep = step(env, state, RATES[0])
        ends.append((bool(timestep.terminated), bool(timestep.truncated)))
    assert ends == [(False, False), (False, True)]
    assert state.observation.total_steps == 12


@cache
def divergence():
    """A batch of three without and with deadly rates for the second: states and time steps."""
    states, _ = reset_batch(mlp_env(), KEYS)
    good, bad = [(states, None)], [(states, None)]
    for rates in (RATES.at[1].set(1e9), RATES, RATES):
        good.append(step_batch(mlp_env(), good[-1][0], RATES))
        bad.append(step_batch(mlp_env(), bad[-1][0], rates))
    return states, good[1:], bad[1:]


def test_the_neighbours_of_a_diverged_training_stay_bit_identical():
    _, good, bad = divergence()
    for without, with_one in zip(good, bad, strict=True):
        for i in (0, 2):
            assert_identical(member(without, i), member(with_one, i))


def test_a_diverged_training_is_marked_and_terminated_for_good():
    for state, timestep in divergence()[2]:
        np.testing.assert_array_equal(state.outcome.diverged, [False, True, False])
        assert timestep.terminated[1]
        assert not timestep.truncated[1]


def test_a_diverged_training_is_penalized_once():
    rewards = np.stack([timestep.reward[1] for _, timestep in divergence()[2]])
    np.testing.assert_allclose(rewards, [[-np.log(20)] * 2, [0, 0], [0, 0]], rtol=1e-6)


def test_a_diverged_training_is_frozen_where_its_window_began():
    start, _, bad = divergence()
    for state, _ in bad:
        for part in ("inner", "memory", "observation"):
            assert_identical(member(getattr(state, part), 1), member(getattr(start, part), 1))
        assert all(np.isfinite(x[1]).all() for x in jax.tree.leaves(state.outcome))


def test_an_exploding_loss_is_divergence_before_it_is_infinite(key):
    env = probe_env((1.0,))
    state, _ = reset(env, key)
    state, _ = step(env, state, jnp.asarray([2.9]))  # loss times 1.9^2: allowed
    assert not state.outcome.diverged
    for _ in range(3):
        state, _ = step(env, state, jnp.asarray([2.9]))
    assert state.outcome.diverged
    assert np.isfinite(state.inner.params["layer0"]).all()


def test_a_last_step_after_which_the_loss_is_not_finite_is_divergence(key):
    # A window's losses are taken before its steps, so only the loss on reward examples shows what the last step did.
    env = probe_env((4.0,))
    state, _ = reset(env, key)
    state, timestep = step(
        env, state, jnp.asarray([3.75e18])
    )  # to -1.5e19: its square is finite, twice that is not
    assert state.outcome.diverged
    np.testing.assert_array_equal(timestep.reward, [-3.0])
    assert np.isfinite(state.outcome.reward_loss)


def test_the_second_call_does_not_trace_again(env):
    jitted = quick_jit(chex.assert_max_traces(lambda s, r: env.step(s, r), n=1))
    states = [reset(env, key)[0] for key in KEYS[:2]]
    for state, rates in zip(states, RATES[:2], strict=True):
        jitted(state, rates)
    chex.clear_trace_counter()


def test_initial_rates_can_be_given(env, key):
    state, _ = reset(env, key, jnp.float32(0.7))
    np.testing.assert_allclose(state.observation.rates, np.full(2, 0.7), rtol=1e-6)
    np.testing.assert_allclose(state.observation.initial_rate, 0.7, rtol=1e-6)


@pytest.mark.parametrize("name", ["num_decisions", "interval", "num_measured", "num_reward"])
def test_counts_below_one_are_refused(name):
    settings = {"num_decisions": 4, "interval": 3} | {name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        Env.create(mlp_training(), LogLossDecrease(), **settings)


def test_a_training_without_end_is_refused():
    with pytest.raises(
        ValueError, match=r"fewer than 2\*\*31 steps; 1000000 decisions of 1000000 "
    ):
        Env.create(mlp_training(), LogLossDecrease(), num_decisions=10**6, interval=10**6)


def test_numbers_of_64_bits_are_refused_in_one_line():
    with jax.enable_x64(True), pytest.raises(ValueError, match="trainings are made in float32"):
        Env.create(mlp_training(), LogLossDecrease(), num_decisions=4, interval=2)


def test_what_is_no_count_and_no_reward_is_refused():
    with pytest.raises(ValueError, match=r"`interval` must be a whole number; got 2\.5"):
        Env.create(mlp_training(), LogLossDecrease(), num_decisions=4, interval=2.5)  # pyright: ignore
    with pytest.raises(ValueError, match="`reward` must be an instance of a reward"):
        Env.create(mlp_training(), LogLossDecrease, num_decisions=4, interval=2)  # pyright: ignore


def test_an_episode_longer_than_its_training_is_refused():
    with pytest.raises(ValueError, match="episode of 5 decisions is longer than the training's 4"):
        mlp_env(episode_decisions=5)
