"""A rule gives the direction, agents the rates: in the env and through the Optax door."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax
from ganno_jax import rules
from ganno_jax.controllers import Controller
from ganno_jax.env import Env
from ganno_jax.env.actions import DirectRate
from ganno_jax.env.features import FEATURES
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner import InnerOptimizer, Training
from ganno_jax.policies.agents import AgentPolicy, init_actor
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import empty_normalizer
from ganno_jax.tasks.distributions import Constant

from ..probes import mlp_family, quick_jit

STEPS = 6
RULE = "power_sign_ld"  # reads an average and decays with the training


def agents() -> AgentPolicy:
    """With random weights, so that layers differ."""
    actions = DirectRate(1e-3, 0.1)
    actor = Actor(actions.num_actions, hidden=8)
    params = init_actor(actor, len(FEATURES), jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [w + 0.3 * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    return AgentPolicy(
        actor=actor,
        params=jax.tree.unflatten(structure, leaves),
        normalizer=empty_normalizer(len(FEATURES)),
        feature_mask=jnp.ones(len(FEATURES)),
        actions=actions,
    )


@pytest.fixture(scope="module")
def env():
    optimizer = InnerOptimizer(lambda h: rules.compile(RULE, total_steps=STEPS), Constant(0.05))
    training = Training.create(mlp_family(), optimizer, 8)
    return Env.create(training, LogLossDecrease(), num_decisions=3, interval=2)


def test_agents_set_a_rate_per_layer_for_the_direction_of_a_rule(env):
    policy, training = agents(), env.training

    @quick_jit
    def episode(key):
        state, _ = env.reset(key)
        start, memory = state.inner, policy.init(state.observation)
        chosen = []
        for _ in range(3):
            memory, rates = policy.act(memory, state.observation, key)
            chosen.append(rates)
            state, _ = env.step(state, rates)
        return start, state.inner.params, jnp.stack(chosen)

    start, after, chosen = episode(jax.random.key(2))
    assert np.all(chosen[1:, 0] != chosen[1:, 1])

    # The same by Optax: the rule as an optimizer of rate 1, its updates scaled leaf by leaf.
    @quick_jit
    def by_hand(start, chosen):
        params, optimizer = start.params, rules.optimizer(RULE, 1.0, total_steps=STEPS)
        memory = optimizer.init(params)
        for step in range(STEPS):
            state = start.replace(params=params, step=jnp.int32(step))
            indices = training.family.batch_indices(start.task, jnp.int32(step), 8)
            _, _, gradient = training.gradient(state, indices)
            updates, memory = optimizer.update(gradient, memory, params)
            rates = dict(zip(training.layers.names, chosen[step // 2], strict=True))
            scaled = {
                name: jax.tree.map(lambda u, r=rates[name]: r * u, part)
                for name, part in updates.items()
            }
            params = optax.apply_updates(params, scaled)
        return params

    chex.assert_trees_all_close(after, by_hand(start, chosen), rtol=1e-4, atol=1e-6)


def test_the_door_scales_the_direction_of_a_rule_by_the_rate_of_each_layer():
    params = {"a": jnp.ones(3), "b": {"w": jnp.full((2, 2), 0.5)}}
    gradient = jax.tree.map(lambda w: 0.1 * w - 0.3, params)
    direction = rules.compile("g * exp(sign(g) * sign(m))")
    optimizer = ganno_jax.control(direction, Controller(agents(), 2), 4)
    state, memory = optimizer.init(params), direction.init(params)
    for _ in range(3):
        updates, state = optimizer.update(gradient, state, params, value=jnp.ones(()))
        bare, memory = direction.update(gradient, memory, params)
        first, second = state.rates
        assert first != second
        chex.assert_trees_all_close(updates["a"], -first * bare["a"])
        chex.assert_trees_all_close(updates["b"]["w"], -second * bare["b"]["w"])
