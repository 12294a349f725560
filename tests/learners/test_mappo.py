"""Whole learner updates: several devices, chunks, truncated rollouts, weights that are not finite."""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from ganno_jax.env import make_mesh
from ganno_jax.env.mesh import AXIS
from ganno_jax.learners import train, train_some
from ganno_jax.learners.mappo.rollout import collect, start

from ..probes import quick_jit
from .small import (
    CONFIG,
    agents_of_two,
    learner,
    quick_train,
    shallow_env,
    short_rollouts,
)


@cache
def trained(num_devices, num_updates=2, seed=0):
    """A learner of two architectures after a few updates, on so many devices."""
    agents, mesh = agents_of_two(), make_mesh(jax.devices()[:num_devices])
    state, metrics = quick_train(agents, agents.init(jax.random.key(seed)), num_updates, mesh)
    return jax.device_get((state.params, state.normalizer, metrics))


def test_a_critic_that_is_no_baseline_is_not_there():
    config, mesh = CONFIG.replace(critic_baseline=False), make_mesh(jax.devices()[:1])
    agents = learner((shallow_env(),), config, recurrent=False)
    state = agents.init(jax.random.key(0))
    state, metrics = jax.eval_shape(lambda state: train(agents, state, 1, mesh), state)
    assert agents.critic is None
    assert set(state.params) == set(state.optimizer_state) == {"actor"}
    assert state.value_normalizer is None
    assert "value_loss" not in metrics


@pytest.mark.slow
def test_on_four_devices_training_gives_the_numbers_of_one_device():
    one, four = trained(1), trained(4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4), one, four)


def test_the_same_key_gives_the_same_agents_and_another_key_others():
    again = trained.__wrapped__(1)
    jax.tree.map(np.testing.assert_array_equal, trained(1), again)
    other = jax.tree.leaves(trained(1, seed=1)[0])
    assert not any(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(trained(1)[0]), other, strict=True)
    )


def test_the_compiled_rollout_has_no_collective():
    agents, mesh = learner((shallow_env(),)), make_mesh()
    assert mesh.size == 4
    state = agents.init(jax.random.key(0))

    def roll(state, keys):
        policy, env = agents.policy(state), agents.envs[0]
        baseline = agents.baseline(state)
        begin = start(env, policy, baseline, "vmap", keys)
        return collect(env, policy, baseline, "vmap", begin, 4, keys)[1].last_value

    over, whole = PartitionSpec(AXIS), PartitionSpec()
    program = jax.jit(
        jax.shard_map(roll, mesh=mesh, in_specs=(whole, over), out_specs=over, check_vma=False)
    )
    text = program.lower(state, jax.random.split(jax.random.key(0), 8)).compile().as_text()
    assert text is not None
    assert "while" in text
    collectives = r"all-reduce|all-gather|collective-permute|all-to-all|reduce-scatter"
    assert not re.search(collectives, text)
    # The pattern does find one.
    summed = jax.shard_map(
        lambda x: jax.lax.psum(x, AXIS), mesh=mesh, in_specs=over, out_specs=whole
    )
    assert re.search(collectives, jax.jit(summed).lower(jnp.ones(4)).compile().as_text())


def test_a_second_chunk_does_not_compile_again():
    agents, mesh = short_rollouts(), make_mesh(jax.devices()[:1])
    state, _ = quick_train(agents, agents.init(jax.random.key(0), mesh), 1, mesh)
    count = quick_train._cache_size()
    state, _ = quick_train(agents, state, 1, mesh)
    changed = agents.replace(config=agents.config.replace(learning_rate=0.5, clip=0.3))
    quick_train(changed, state, 1, mesh)
    assert quick_train._cache_size() == count


def test_truncated_rollouts_go_on_where_they_stopped():
    agents, mesh = short_rollouts(), make_mesh(jax.devices()[:1])
    state = agents.init(jax.random.key(0), mesh)
    seen = []
    for _ in range(3):
        state, _ = quick_train(agents, state, 1, mesh)
        (rollout,) = state.rollouts
        seen.append(
            (rollout.env.decision, np.abs(rollout.env.inner.params["layer1"]), rollout.alive)
        )
    decisions, weights, alive = (np.stack(x) for x in zip(*seen, strict=True))
    np.testing.assert_array_equal(decisions, np.repeat([[2], [4], [2]], 8, axis=1))
    assert (weights[1] < weights[0]).all()  # the same trainings, two steps on
    np.testing.assert_array_equal(alive, np.repeat([[True], [False], [True]], 8, axis=1))


def test_weights_or_losses_that_are_not_finite_are_said_in_their_update():
    agents, mesh = short_rollouts(), make_mesh(jax.devices()[:1])
    state = agents.init(jax.random.key(0), mesh)
    state, metrics = quick_train(agents, state, 1, mesh)
    assert metrics["finite"] == 1.0
    wild = agents.replace(config=agents.config.replace(learning_rate=1e30))
    state, _ = quick_train(wild, state, 1, mesh)
    state, metrics = quick_train(wild, state, 1, mesh)
    assert metrics["finite"] == 0.0


def test_chunks_of_any_length_make_the_same_updates():
    agents, mesh = short_rollouts(), make_mesh(jax.devices()[:1])
    some = partial(quick_jit, static_argnums=(3, 4))(train_some.__wrapped__)
    state, rows = agents.init(jax.random.key(0), mesh), []
    for _ in range(3):
        state, metrics = quick_train(agents, state, 1, mesh)
        rows.append(metrics["kl"])
    one_by_one = jax.device_get((state.params, state.update, np.concatenate(rows)))
    for chunks in ((3,), (1, 2)):
        state, rows = agents.init(jax.random.key(0), mesh), []
        for count in chunks:
            state, metrics = some(agents, state, np.int32(count), 4, mesh)
            rows.append(metrics["kl"][:count])
        found = jax.device_get((state.params, state.update, np.concatenate(rows)))
        jax.tree.map(np.testing.assert_array_equal, found, one_by_one)
    assert some._cache_size() == 1
