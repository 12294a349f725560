"""What one update is made of: masks, advantages, weights of trainings, memories, normalizers."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.learners.mappo.baseline import Baseline
from ganno_jax.learners.mappo.epochs import Learned, gradient_step, loss_sums
from ganno_jax.learners.mappo.experience import (
    experience_metrics,
    join,
    judge,
    normalize_advantages,
    with_features,
    with_targets,
)
from ganno_jax.learners.mappo.rollout import collect, start
from ganno_jax.policies.agents import to_distribution
from ganno_jax.policies.networks import empty_memory, unroll

from ..probes import quick_jit
from .small import CONFIG, experience, one_device


@cache
def stepper():
    agents, _, _ = experience()

    def step(state, rollouts):
        config, policy, baseline = agents.config, agents.policy(state), agents.baseline(state)
        batch = join([normalize_advantages(judge(config, baseline, r)) for r in rollouts])
        learned = Learned(state.params, state.optimizer_state, jnp.zeros((), bool))
        learned, metrics = gradient_step(
            config, policy, baseline, learned, batch, jnp.float32(0.01)
        )
        normalizers = (
            with_features(state.normalizer, batch),
            with_targets(state.value_normalizer, batch),
        )
        return learned.params, metrics, normalizers

    return one_device(step)


def test_what_stands_in_padded_layers_does_not_matter():
    _, state, rollouts = experience()
    t = rollouts[0].trajectory
    assert not t.mask[..., 2].any()
    assert t.mask[..., :2].all()
    noise = {n: getattr(t, n).at[:, :, 2].set(3) for n in ("features", "action", "value", "reward")}
    filled = rollouts[0].replace(
        trajectory=t.replace(**noise, log_prob=t.log_prob.at[:, :, 2].set(-3.0)),
        last_value=rollouts[0].last_value.at[:, 2].set(5.0),
        actor_memory=rollouts[0].actor_memory.at[:, 2].set(0.5),
        critic_memory=rollouts[0].critic_memory.at[:, 2].set(0.5),
    )
    results = [stepper()(state, [first, rollouts[1]]) for first in (rollouts[0], filled)]
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_without_a_critic_advantages_are_returns_to_go_minus_the_mean_of_the_group():
    _, _, rollouts = experience()
    config = CONFIG.replace(critic_baseline=False, trace_decay=1.0, discount=1.0)
    t = rollouts[1].trajectory
    silent = rollouts[1].replace(
        trajectory=t.replace(value=jnp.zeros_like(t.value)),
        last_value=jnp.zeros_like(rollouts[1].last_value),
    )
    batch = judge(config, Baseline(None), silent)
    assert t.terminated[-1].all()
    assert t.alive.all()
    returns = np.cumsum(np.asarray(t.reward)[::-1], axis=0)[::-1]
    grouped = returns.reshape(4, 2, 2, 3)
    expected = (grouped - grouped.mean(2, keepdims=True)).reshape(returns.shape)
    np.testing.assert_allclose(batch.advantage, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch.target, returns, rtol=1e-4, atol=1e-5)


def test_the_agents_step_does_not_depend_on_the_critic():
    agents, state, rollouts = experience()
    params, _, _ = stepper()(state, rollouts)

    def alone(state, rollouts):
        config, policy, baseline = agents.config, agents.policy(state), agents.baseline(state)
        batch = join([normalize_advantages(judge(config, baseline, r)) for r in rollouts])
        kept = [{"actor": x["actor"]} for x in (state.params, state.optimizer_state)]
        learned = Learned(*kept, jnp.zeros((), bool))
        return gradient_step(config, policy, baseline, learned, batch, jnp.float32(0.01))[0].params

    found = one_device(alone)(state, rollouts)
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)  # fused differently
    jax.tree.map(close, found["actor"], params["actor"])


def test_a_training_weighs_as_much_as_another_however_many_layers_it_has():
    agents, state, rollouts = experience()
    batches = [judge(agents.config, agents.baseline(state), rollout) for rollout in rollouts]
    shallow, deep = (np.asarray(batch.weight) for batch in batches)
    np.testing.assert_allclose(shallow, np.broadcast_to([1 / 2, 1 / 2, 0], shallow.shape))
    np.testing.assert_allclose(deep, 1 / 3, rtol=1e-6)

    # At ratio 1 the loss is -A: by hand, where each of four trainings of each depth decides four times.
    batch = join(
        [
            b.replace(advantage=jnp.full_like(b.advantage, x))
            for b, x in zip(batches, (1.0, 5.0), strict=True)
        ]
    )

    def sums(state, batch):
        policy, baseline = agents.policy(state), agents.baseline(state)
        return loss_sums(agents.config, policy, baseline, batch, state.params)[1]

    found = one_device(sums)(state, batch)
    assert float(found["count"]) == pytest.approx(2 * 4 * 4)
    assert float(found["policy_loss"]) == pytest.approx(-(4 * 4 * 1.0 + 4 * 4 * 5.0), rel=1e-4)


def test_a_divergence_counts_in_whichever_decision_it_happens():
    agents, state, rollouts = experience()
    diverged = jnp.zeros((4, 4), bool).at[3, 0].set(True).at[1:, 2].set(True)
    t = rollouts[0].trajectory.replace(diverged=diverged)
    count = one_device(
        lambda state, rollout: experience_metrics(
            judge(agents.config, agents.baseline(state), rollout)
        )
    )
    metrics = count(state, rollouts[0].replace(trajectory=t))
    assert metrics["share_diverged"] == 0.5


def test_a_gradient_step_changes_actor_and_critic():
    _, state, rollouts = experience()
    params, metrics, _ = stepper()(state, rollouts)
    for old, new in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True):
        assert not np.array_equal(old, new)
    np.testing.assert_allclose(metrics["kl"], 0.0, atol=1e-5)  # the policy that acted
    np.testing.assert_allclose(metrics["clipped"], 0.0)


def test_the_normalizer_is_the_mean_and_variance_of_all_that_counts():
    _, state, rollouts = experience()
    dead = rollouts[1].trajectory.alive.at[2:, 1].set(False)
    wild = rollouts[1].trajectory.features.at[2:, 1].set(3.0)
    trajectory = rollouts[1].trajectory.replace(alive=dead, features=wild)
    rollouts = [rollouts[0], rollouts[1].replace(trajectory=trajectory)]
    _, _, (features, _) = stepper()(state, rollouts)
    seen = np.concatenate(
        [
            np.asarray(r.trajectory.features)[
                np.asarray(r.trajectory.alive[..., None] & r.trajectory.mask)
            ]
            for r in rollouts
        ]
    )
    assert features.count == len(seen) == 4 * 4 * 2 + (4 * 4 - 2) * 3
    np.testing.assert_allclose(features.mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.second, seen.var(0), rtol=1e-3, atol=1e-5)


def test_recomputed_log_probabilities_and_values_are_those_of_the_rollout():
    agents, state, rollouts = experience()
    t = rollouts[1].trajectory
    features = agents.policy(state).prepare(t.features)
    outputs = unroll(agents.actor, state.params["actor"], rollouts[1].actor_memory, features)
    value = unroll(
        agents.critic, state.params["critic"], rollouts[1].critic_memory, features, t.mask
    )
    log_prob = to_distribution(agents.actor, outputs).log_prob(t.action)
    np.testing.assert_allclose(log_prob, t.log_prob, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value, t.value, rtol=1e-4, atol=1e-5)


def test_an_end_in_one_training_does_not_touch_the_memories_of_others():
    agents, _, _ = experience()
    state = agents.init(jax.random.key(0))
    env = agents.envs[0]

    def roll(rate):
        policy, baseline = agents.policy(state), agents.baseline(state)
        begin = start(env, policy, baseline, "vmap", jax.random.split(jax.random.key(2), 3))
        observation = begin.env.observation
        rates = observation.rates.at[1].set(rate)  # its next rate is a multiple of this one
        begin = begin.replace(env=begin.env.replace(observation=observation.replace(rates=rates)))
        keys = jax.random.split(jax.random.key(3), 3)
        return collect(env, policy, baseline, "vmap", begin, 4, keys)

    roll = quick_jit(roll)
    (calm, _), (ended, rollout) = roll(0.01), roll(1000.0)
    np.testing.assert_array_equal(rollout.trajectory.terminated[1], [False, True, False])
    for name in ("actor_memory", "critic_memory"):
        for i in (0, 2):
            np.testing.assert_array_equal(getattr(calm, name)[i], getattr(ended, name)[i])
    np.testing.assert_array_equal(rollout.trajectory.alive[:, 1], [True, True, False, False])


def test_a_fresh_start_has_empty_memories_of_actor_and_critic():
    agents, state, _ = experience()
    keys = jax.random.split(state.key, 2)
    begin = quick_jit(
        lambda keys: start(
            agents.envs[0], agents.policy(state), agents.baseline(state), "vmap", keys
        )
    )(keys)
    for module, memory in (
        (agents.actor, begin.actor_memory),
        (agents.critic, begin.critic_memory),
    ):
        np.testing.assert_array_equal(memory, empty_memory(module, 2, 2))
