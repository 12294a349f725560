"""The multi-agent interface against the env itself."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import FEATURES
from ganno_jax.env.actions import DirectRate, RateMultipliers
from ganno_jax.env.multiagent import Box, Discrete, MultiAgentEnv

from ..probes import probe_env, quick_jit

LENGTH, NUM_ENVS = 9, 3


@cache
def wrapped(actions=None):
    return MultiAgentEnv(probe_env((1.0, 4.0)), actions or RateMultipliers())


@cache
def rollout():
    """Random agents through more than two episodes of four decisions, by scan under vmap under jit."""
    env = wrapped()

    def one(key):
        reset_key, run_key = jax.random.split(key)
        first, state = env.reset(reset_key)

        def decide(state, key):
            action_key, step_key = jax.random.split(key)
            keys = jax.random.split(action_key, env.num_agents)
            actions = {
                a: env.action_space(a).sample(k) for a, k in zip(env.agents, keys, strict=True)
            }
            obs, state, rewards, dones, infos = env.step(step_key, state, actions)
            return state, (obs, rewards, dones, infos, state.decision, actions)

        _, seen = jax.lax.scan(decide, state, jax.random.split(run_key, LENGTH))
        return first, seen

    return quick_jit(jax.vmap(one))(jax.random.split(jax.random.key(0), NUM_ENVS))


def test_agents_are_named_after_layers_and_key_every_dict():
    first, (obs, rewards, dones, *_) = rollout()
    assert wrapped().agents == ["layer0", "layer1"]
    assert set(first) == set(obs) == set(rewards) == {"layer0", "layer1"}
    assert set(dones) == {"layer0", "layer1", "__all__"}
    assert obs["layer1"].shape == (NUM_ENVS, LENGTH, len(FEATURES))
    assert rewards["layer0"].shape == dones["__all__"].shape == (NUM_ENVS, LENGTH)


def test_observations_lie_in_their_space_and_actions_in_theirs():
    _, (obs, _, _, _, _, actions) = rollout()
    env = wrapped()
    for agent in env.agents:
        assert env.observation_space(agent).contains(obs[agent])
        assert env.action_space(agent).contains(actions[agent]).all()
    assert env.observation_spaces["layer0"].shape == (len(FEATURES),)
    assert env.action_spaces["layer0"] == Discrete(9)


def test_an_episode_that_ends_is_followed_by_a_fresh_one():
    _, (obs, _, dones, infos, decisions, _) = rollout()
    done = np.asarray(dones["__all__"])
    assert done.sum() >= 2 * NUM_ENVS
    np.testing.assert_array_equal(np.asarray(decisions)[done], 0)
    progress = np.asarray(obs["layer0"])[..., FEATURES.index("progress")]
    np.testing.assert_array_equal(progress[done], 0.0)
    assert (progress[~done] > 0).all()
    np.testing.assert_array_equal(done, infos["terminated"] | infos["truncated"])
    np.testing.assert_array_equal(done, dones["layer1"])


def test_a_step_is_the_step_of_the_env_with_the_rates_of_the_actions(key):
    env = wrapped()
    _, state = quick_jit(env.reset)(key)
    actions = {"layer0": jnp.asarray(8), "layer1": jnp.asarray(0)}  # times 4, times 1/4
    obs, after, rewards, dones, infos = quick_jit(env.step)(key, state, actions)
    rates = state.observation.rates * jnp.asarray([4.0, 0.25])
    expected, timestep = quick_jit(env.env.step)(state, rates)
    assert not dones["__all__"]
    for i, agent in enumerate(env.agents):
        np.testing.assert_allclose(rewards[agent], timestep.reward[i], rtol=1e-5)
        np.testing.assert_allclose(
            obs[agent], expected.observation.features[i], rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(after.inner.params["layer0"], expected.inner.params["layer0"])
    np.testing.assert_allclose(infos["reward_loss"], expected.outcome.reward_loss)


def test_a_given_reset_state_is_used(key):
    env = wrapped()
    _, state = quick_jit(env.reset)(key)
    given = state.replace(decision=jnp.int32(1))
    dead = state.replace(decision=jnp.int32(3))  # its last decision
    actions = dict.fromkeys(env.agents, jnp.asarray(4))
    _, after, _, dones, _ = quick_jit(env.step)(key, dead, actions, given)
    assert dones["__all__"]
    assert after.decision == 1


def test_real_valued_agents_have_a_box_of_one_number(key):
    env = wrapped(DirectRate())
    space = env.action_space("layer0")
    assert isinstance(space, Box)
    assert space.sample(key).shape == (1,)
    assert space.contains(space.sample(key))
    _, state = quick_jit(env.reset)(key)
    actions = dict.fromkeys(env.agents, jnp.zeros(1))
    _, after, *_ = quick_jit(env.step)(key, state, actions)
    np.testing.assert_allclose(after.observation.rates, np.full(2, (3.0 * 1e-5) ** 0.5), rtol=1e-4)
    with pytest.raises(ValueError, match="no list of available"):
        env.get_avail_actions(state)


def test_all_action_numbers_are_available():
    available = wrapped().get_avail_actions(None)
    np.testing.assert_array_equal(available["layer1"], np.ones(9))


def test_an_unknown_agent_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="no agent 'layer7'; there are: layer0, layer1"):
        wrapped().action_space("layer7")
