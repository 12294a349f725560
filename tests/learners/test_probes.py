"""Learning, on problems whose best behaviour is known."""

from functools import partial

import jax
import numpy as np
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import DirectRate
from ganno_jax.env.base_shapes import flat_shape
from ganno_jax.env.whole_update import RelativeUpdate
from ganno_jax.evaluation import evaluate
from ganno_jax.learners import MAPPO, MAPPOConfig, train

from ..probes import probe_env, quick_jit

pytestmark = pytest.mark.learning

ACTIONS = DirectRate(lowest=1e-2, highest=10.0)  # untrained agents: 0.3
KEYS = jax.random.split(jax.random.key(9), 8)
quick_train = partial(quick_jit, static_argnums=(2, 3))(train.__wrapped__)


def learn(
    envs, num_updates, num_envs=64, actions=ACTIONS, recurrent=False, hidden_features=(), **settings
):
    """Before and after, per env: the greedy agents' rates `[decision, layer]`, final loss, and any divergence."""
    envs = envs if isinstance(envs, tuple) else (envs,)
    config = MAPPOConfig(
        num_updates=num_updates,
        num_envs=num_envs,
        rollout_decisions=envs[0].num_decisions,
        learning_rate=1e-2,
    )
    learner = MAPPO.create(
        envs,
        actions,
        config.replace(**settings),
        hidden=16,
        recurrent=recurrent,
        hidden_features=hidden_features,
    )
    mesh = make_mesh(jax.devices()[:1])
    state = learner.init(jax.random.key(0), mesh)
    results = []
    for agents in (state, quick_train(learner, state, num_updates, mesh)[0]):
        for env in envs:
            curves = evaluate(env, learner.policy(agents), KEYS, mesh)
            row = curves.rates.mean(0), curves.final_loss.mean(), curves.diverged.any()
            results.append(row)
    return results


@pytest.mark.slow
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


AS_PRESETS = {
    "group_size": 8,
    "trace_decay": 1.0,
    "noise_correlation": 0.9,
    "critic_baseline": False,
}


def test_agents_learn_as_in_the_presets_on_two_architectures_together():
    # In units of a layer's own scale the best size of the update is 1, whatever the curvature; untrained it is 0.3.
    space = RelativeUpdate(flat_shape, relative_size=0.3, first_share=1.0)
    envs = (
        probe_env((0.3, 3.0), num_decisions=2, at_end=True),
        probe_env((1.0,), num_decisions=2, at_end=True),
    )
    *before, deep, shallow = learn(envs, 40, 32, space, **AS_PRESETS)
    curvatures = np.asarray([0.3, 3.0]), np.asarray([1.0])
    for (_, start, _), (rates, loss, diverged), h in zip(
        before, (deep, shallow), curvatures, strict=True
    ):
        assert not diverged
        assert loss < 0.1 * start
        # What is left of each weight; untrained, 0.49.
        assert (np.abs(np.prod(1 - rates * h, axis=0)) < 0.25).all()


@pytest.mark.slow
def test_agents_with_a_memory_learn_what_needs_one():
    # One layer of two weights, paid at once: the best rate of the second decision is three times that of the first.
    # Blind agents without a memory have one rate for both, of which none gets below a loss of 0.119.
    h = np.asarray([1.0, 4.0])
    weights, best = np.ones(2), []
    for _ in range(2):
        best.append(
            (h**2 * weights**2).sum() / (h**3 * weights**2).sum()
        )  # minimizes the loss after it
        weights = weights * (1 - best[-1] * h)
    one_rate = (0.5 * h * (1 - np.linspace(0, 1, 1000)[:, None] * h) ** 4).sum(1).min()

    settings = {"critic_baseline": False, "group_size": 8, "discount": 0.0, "noise_fall": 2.0}
    settings |= {"recurrent": True, "hidden_features": ("all",)}
    _, (rates, loss, _) = learn(probe_env(((1.0, 4.0),), num_decisions=2), 150, **settings)
    assert loss < 0.4 * one_rate
    np.testing.assert_allclose(np.log10(rates[:, 0]), np.log10(best), atol=0.1)


@pytest.mark.slow
def test_each_of_two_architectures_gets_its_own_rates():
    envs = probe_env((0.3, 3.0), num_decisions=2), probe_env((1.0,), num_decisions=2)
    *before, deep, shallow = learn(envs, 300)
    for (_, start, _), (_, loss, diverged) in zip(before, (deep, shallow), strict=True):
        assert not diverged
        assert loss < 0.02 * start
    best = np.asarray([0.3, 3.0])
    np.testing.assert_allclose(np.log10(deep[0][0] * best), 0.0, atol=0.2)
    np.testing.assert_allclose(np.log10(shallow[0][0]), 0.0, atol=0.2)
