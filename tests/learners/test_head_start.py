"""Agents fitted to trainings under constant actions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import DirectRate, RateMultipliers
from ganno_jax.env.observation import FEATURES
from ganno_jax.evaluation import evaluate
from ganno_jax.learners import MAPPO, MAPPOConfig, head_start
from ganno_jax.policies import FixedRates

from ..probes import mlp_env, probe_env, reset, step

SPACE = DirectRate(0.01, 10.0, gain=1.0)
ACTIONS = tuple(np.linspace(-1.5, 1.5, 13).tolist())
CONTRASTS = (-0.4, 0.0, 0.4)
ENVS = probe_env((0.3,)), probe_env((3.0,))


@pytest.fixture(scope="module")
def sweeps():
    keys, mesh = jax.random.split(jax.random.key(0), 5), make_mesh(jax.devices()[:2])
    return [head_start.sweep(env, SPACE, ACTIONS, CONTRASTS, keys, mesh) for env in ENVS]


def learner(**settings):
    config = MAPPOConfig(num_envs=8, rollout_decisions=4)
    return MAPPO.create(ENVS, SPACE, config, hidden=16, **settings)


def best_action(found):
    return ACTIONS[int(found.returns[..., 1].mean(axis=0).argmax())]


def rate(action):
    return float(SPACE.apply(None, jnp.asarray([action]))[0])


def test_a_sweep_runs_every_training_at_every_action(sweeps):
    (env, _), (found, _) = ENVS, sweeps
    assert found.features.shape[:5] == (5, len(ACTIONS), 3, env.num_decisions, 1)
    keys = jax.random.split(jax.random.key(0), 5)
    runs = 6
    curves = evaluate(env, FixedRates(jnp.asarray([rate(ACTIONS[runs])])), keys, make_mesh())
    # The reward of these envs is the decrease of the log loss: all of it, from the first look to the end.
    expected = np.log(curves.validation_loss[:, 0] / curves.validation_loss[:, -1])
    np.testing.assert_allclose(found.returns[:, runs, 1], expected, rtol=1e-4)
    np.testing.assert_array_equal(found.returns[..., 0], found.returns[..., 2])  # a single layer


def test_a_contrast_is_the_first_layers_action_minus_the_last_ones():
    env = mlp_env()
    keys, mesh = jax.random.split(jax.random.key(0), 2), make_mesh()
    found = head_start.sweep(env, SPACE, (0.0, 0.5), (-0.4, 0.4), keys, mesh)
    rates = SPACE.apply(None, jnp.asarray([0.5 + 0.2, 0.5 - 0.2]))
    state, timestep = reset(env, keys[1])
    total = 0.0
    for decision in range(env.num_decisions):
        np.testing.assert_allclose(
            found.features[1, 1, 1, decision], timestep.observation.features, atol=1e-4
        )
        state, timestep = step(env, state, rates)
        total += float(timestep.reward.mean())
    np.testing.assert_allclose(found.returns[1, 1, 1], total, rtol=1e-4)
    np.testing.assert_allclose(head_start.positions(3), [0.5, 0.0, -0.5])


def test_level_and_contrast_are_those_of_a_straight_line():
    means = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    position, mask = np.zeros((6, 4), np.float32), np.zeros((6, 4), np.float32)
    for row, count in enumerate((1, 2, 3, 3, 4, 4)):
        position[row, :count], mask[row, :count] = head_start.positions(count), 1
    level, contrast, rest = head_start.straight_line(means, position, mask)
    for row, count in enumerate((1, 2, 3, 3, 4, 4)):
        x, y = position[row, :count], means[row, :count]
        slope, middle = np.polyfit(x, y, 1) if count > 1 else (0.0, y[0])
        np.testing.assert_allclose([level[row], contrast[row]], [middle, slope], atol=1e-5)
        np.testing.assert_allclose(rest[row], np.mean((y - middle - slope * x) ** 2), atol=1e-5)


def test_fitted_agents_take_the_best_contrast_of_each_kind():
    generator = np.random.default_rng(0)
    num_features = len(FEATURES)
    grid = np.asarray(ACTIONS)[:, None], np.asarray(CONTRASTS)
    bests, found = ((0.5, 0.4, 2), (-0.5, -0.4, 3)), []
    for kind, (action, contrast, layers) in enumerate(bests):
        returns = -((grid[0] - action) ** 2) - (grid[1] - contrast) ** 2
        features = generator.normal(size=(4, len(ACTIONS), 3, 4, layers, num_features))
        features[..., FEATURES.index("depth")] = np.linspace(0, 1, layers)
        features[..., FEATURES.index("loss_level")] = kind
        alive = np.ones((4, len(ACTIONS), 3, 4), np.float32)
        returns = np.broadcast_to(returns, (4, *returns.shape)).astype(np.float32)
        found.append(head_start.Sweep(features.astype(np.float32), alive, returns))
    agents = learner()
    start = agents.init(jax.random.key(1))
    fitted = head_start.fit(agents, start, found, ACTIONS, CONTRASTS, jax.random.key(2))
    policy = agents.policy(fitted)
    for sweep, (action, contrast, layers) in zip(found, bests, strict=True):
        seen = policy.prepare(sweep.features.reshape(-1, num_features))
        _, (means, _) = policy.actor.apply(policy.params, None, seen)
        means = np.asarray(means).reshape(-1, layers).mean(axis=0)
        np.testing.assert_allclose(
            means, action + contrast * head_start.positions(layers), atol=0.1
        )


def test_a_training_that_ends_early_counts_until_then(sweeps):
    found = sweeps[1]
    lost = rate(ACTIONS[-1]) > 2 / 3.0
    assert lost
    assert (found.alive[:, -1].sum(axis=-1) < 4).all()
    np.testing.assert_array_equal(found.alive[:, 0], 1.0)


def test_fitted_agents_tell_problems_apart_and_act_as_is_best_in_each(sweeps):
    agents = learner()
    start = agents.init(jax.random.key(1))
    fitted = head_start.fit(
        agents, start, sweeps, ACTIONS, CONTRASTS, jax.random.key(2), num_steps=400
    )
    policy = agents.policy(fitted)
    for found in sweeps:
        best = best_action(found)
        seen = found.features[:, ACTIONS.index(best), 1, 1]
        _, (means, _) = policy.actor.apply(policy.params, None, policy.prepare(seen))
        np.testing.assert_allclose(means, best, atol=0.25)
    bests = [best_action(found) for found in sweeps]
    assert bests[0] > bests[1] + 0.5
    spread = [state.params["actor"]["params"]["log_std"] for state in (start, fitted)]
    assert spread[0] == spread[1]


def test_agents_with_memories_or_choices_are_refused(sweeps):
    for agents in (
        learner(recurrent=True),
        MAPPO.create(ENVS, RateMultipliers(), MAPPOConfig(num_envs=8, rollout_decisions=4)),
    ):
        with pytest.raises(ValueError, match="one real-valued action and without memory"):
            head_start.fit(
                agents,
                agents.init(jax.random.key(0)),
                sweeps,
                ACTIONS,
                CONTRASTS,
                jax.random.key(0),
            )
