"""Agents fitted to trainings under constant actions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import DirectRate, RateMultipliers
from ganno_jax.evaluation import evaluate
from ganno_jax.learners import MAPPO, MAPPOConfig, head_start
from ganno_jax.policies import FixedRates

from ..probes import probe_env

SPACE = DirectRate(0.01, 10.0, gain=1.0)
ACTIONS = tuple(np.linspace(-1.5, 1.5, 13).tolist())
ENVS = probe_env((0.3,)), probe_env((3.0,))


@pytest.fixture(scope="module")
def sweeps():
    keys, mesh = jax.random.split(jax.random.key(0), 5), make_mesh(jax.devices()[:2])
    return [head_start.sweep(env, SPACE, ACTIONS, keys, mesh) for env in ENVS]


def learner(**settings):
    config = MAPPOConfig(num_envs=8, rollout_decisions=4)
    return MAPPO.create(ENVS, SPACE, config, hidden=16, **settings)


def rate(action):
    return float(SPACE.apply(None, jnp.asarray([action]))[0])


def test_a_sweep_runs_every_training_at_every_action(sweeps):
    (env, _), (found, _) = ENVS, sweeps
    assert found.features.shape[:4] == (5, len(ACTIONS), env.num_decisions, 1)
    keys = jax.random.split(jax.random.key(0), 5)
    runs = 6
    curves = evaluate(env, FixedRates(jnp.asarray([rate(ACTIONS[runs])])), keys, make_mesh())
    # The reward of these envs is the decrease of the log loss: all of it, from the first look to the end.
    expected = np.log(curves.report_loss[:, 0] / curves.report_loss[:, -1])
    np.testing.assert_allclose(found.returns[:, runs], expected, rtol=1e-4)


def test_a_training_that_ends_early_counts_until_then(sweeps):
    found = sweeps[1]
    lost = rate(ACTIONS[-1]) > 2 / 3.0
    assert lost
    assert (found.alive[:, -1].sum(axis=-1) < 4).all()
    np.testing.assert_array_equal(found.alive[:, 0], 1.0)


@pytest.mark.learning
@pytest.mark.slow
def test_fitted_agents_tell_problems_apart_and_act_as_is_best_in_each(sweeps):
    agents = learner()
    start = agents.init(jax.random.key(1))
    fitted = head_start.fit(agents, start, sweeps, ACTIONS, jax.random.key(2), num_steps=400)
    policy = agents.policy(fitted)
    for found in sweeps:
        best = ACTIONS[int(found.returns.mean(axis=0).argmax())]
        seen = found.features[:, ACTIONS.index(best), 1]
        _, (means, _) = policy.actor.apply(policy.params, None, policy.prepare(seen))
        np.testing.assert_allclose(means, best, atol=0.25)
    bests = [ACTIONS[int(found.returns.mean(axis=0).argmax())] for found in sweeps]
    assert bests[0] > bests[1] + 0.5
    spread = [state.params["actor"]["params"]["log_std"] for state in (start, fitted)]
    assert spread[0] == spread[1]


def test_fitted_agents_stay_among_the_actions_that_were_run(sweeps):
    rising = [
        found.replace(returns=np.broadcast_to(ACTIONS, found.returns.shape)) for found in sweeps
    ]
    agents = learner()
    start = agents.init(jax.random.key(1))
    fitted = head_start.fit(agents, start, rising, ACTIONS, jax.random.key(2), num_steps=400)
    policy = agents.policy(fitted)
    for found in rising:
        seen = found.features[:, -1][found.alive[:, -1] > 0]  # under the last action, the best one
        _, (means, _) = policy.actor.apply(policy.params, None, policy.prepare(seen))
        np.testing.assert_allclose(means, ACTIONS[-1], atol=0.2)


def test_agents_with_memories_or_choices_are_refused(sweeps):
    for agents in (
        learner(recurrent=True),
        MAPPO.create(ENVS, RateMultipliers(), MAPPOConfig(num_envs=8, rollout_decisions=4)),
    ):
        with pytest.raises(ValueError, match="one real-valued action and without memory"):
            head_start.fit(
                agents, agents.init(jax.random.key(0)), sweeps, ACTIONS, jax.random.key(0)
            )
