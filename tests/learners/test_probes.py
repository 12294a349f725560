"""Learning, on problems whose best behaviour is known."""

from functools import partial

import jax
import numpy as np
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import DirectRate
from ganno_jax.evaluation import evaluate
from ganno_jax.learners import MAPPO, MAPPOConfig, train

from ..probes import probe_env, quick_jit

ACTIONS = DirectRate(lowest=1e-2, highest=10.0)  # untrained agents: 0.3
KEYS = jax.random.split(jax.random.key(9), 8)
quick_train = partial(quick_jit, static_argnums=(2, 3))(train.__wrapped__)


def learn(env, num_updates, num_envs=64, **settings):
    """Returns the greedy agents' rates `[decision, layer]` and final loss, and the untrained agents' ones."""
    config = MAPPOConfig(
        num_updates=num_updates,
        num_envs=num_envs,
        rollout_decisions=env.num_decisions,
        learning_rate=1e-2,
        **settings,
    )
    learner, mesh = MAPPO.create((env,), ACTIONS, config, hidden=16), make_mesh(jax.devices()[:1])
    state = learner.init(jax.random.key(0), mesh)
    results = []
    for agents in (state, quick_train(learner, state, num_updates, mesh)[0]):
        curves = evaluate(env, learner.policy(agents), KEYS, mesh)
        results.append((curves.rates.mean(0), curves.final_loss.mean(), curves.diverged.any()))
    return results


def test_agents_improve_on_a_quadratic_with_one_good_rate_per_layer():
    before, after = learn(probe_env((0.3, 3.0), num_decisions=2), 40, 32)
    assert not after[2]
    assert after[1] < 0.2 * before[1]
    assert (after[0][:, 0] > 2 * after[0][:, 1]).all()  # the flat layer gets the larger rate


@pytest.mark.slow
def test_each_layer_finds_its_own_rate():
    (_, before, _), (rates, loss, diverged) = learn(probe_env((0.3, 3.0), num_decisions=3), 300)
    assert not diverged
    assert loss < 0.02 * before
    np.testing.assert_allclose(np.log10(rates[0] * np.asarray([0.3, 3.0])), 0.0, atol=0.2)


@pytest.mark.slow
def test_the_layer_that_matters_is_the_one_that_is_learned():
    (_, before, _), (rates, loss, diverged) = learn(probe_env((0.0, 0.4), num_decisions=3), 300)
    assert not diverged
    assert loss < 0.02 * before
    np.testing.assert_allclose(np.log10(rates[0, 1] * 0.4), 0.0, atol=0.2)


@pytest.mark.slow
def test_agents_stay_below_a_cliff():
    env = probe_env((8.0,), num_decisions=6)  # above a rate of 0.25 every training diverges
    (_, _, falls), (rates, loss, diverged) = learn(env, 300)
    assert falls  # untrained agents do
    assert not diverged
    assert (rates < 0.25).all()
    assert loss < 0.01
