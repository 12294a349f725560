"""Evolution strategies: the gradient, what it is compared with, persistence, and learning."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import DirectRate
from ganno_jax.evaluation import evaluate
from ganno_jax.learners import Evolution, EvolutionConfig, train
from ganno_jax.learners.evolution.estimate import (
    antithetic_gradient,
    centered_ranks,
    standardized,
)

from ..probes import probe_env, quick_jit

quick_train = partial(quick_jit, static_argnums=(2, 3))(train.__wrapped__)
ACTIONS = DirectRate(lowest=1e-2, highest=10.0)  # untrained agents: 0.3
CONFIG = EvolutionConfig(num_pairs=4, num_members=2, rollout_decisions=4)


def learner(config=CONFIG, envs=None, **settings):
    envs = envs or (probe_env((1.0, 4.0)), probe_env((0.5,)))
    return Evolution.create(envs, ACTIONS, config, hidden=4, **settings)


@cache
def trained(num_devices, num_updates=2):
    agents, mesh = learner(), make_mesh(jax.devices()[:num_devices])
    state = agents.init(jax.random.key(0), mesh)
    return jax.device_get(quick_train(agents, state, num_updates, mesh))


def test_the_gradient_of_a_linear_fitness_is_exact_along_orthogonal_perturbations():
    slope, sigma = np.asarray([1.0, -2.0, 0.5, 3.0], np.float32), 0.3
    noise = 2.0 * jnp.eye(4)  # E[e e^T] = I over the four pairs

    def fitness(weights):
        return weights @ slope + 7.0

    difference = jax.vmap(lambda e: fitness(1 + sigma * e) - fitness(1 - sigma * e))(noise)
    found = antithetic_gradient({"w": noise}, difference, sigma)
    np.testing.assert_allclose(found["w"], slope, rtol=1e-5)


def test_what_is_even_around_the_mean_has_no_gradient():
    noise = jax.random.normal(jax.random.key(0), (6, 3))
    even = jax.vmap(lambda e: jnp.sum(e**2) - jnp.sum((-e) ** 2))(noise)
    np.testing.assert_array_equal(antithetic_gradient(noise, even, 0.1), np.zeros(3))


def test_the_gradient_is_the_true_one_in_the_mean():
    noise = jax.random.normal(jax.random.key(0), (20_000, 3))
    slope = jnp.asarray([1.0, -2.0, 0.5])
    found = antithetic_gradient(noise, 2 * 0.1 * noise @ slope, 0.1)
    np.testing.assert_allclose(found, slope, atol=0.1)  # 20,000 draws: four deviations


@pytest.mark.parametrize("shape", [standardized, centered_ranks])
def test_how_members_differ_does_not_matter(shape):
    returns = jax.random.normal(jax.random.key(0), (8, 3))
    harder = returns * jnp.asarray([1.0, 10.0, 0.1]) + jnp.asarray([0.0, -50.0, 5.0])
    np.testing.assert_allclose(shape(harder), shape(returns), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(shape(returns).sum(0), 0.0, atol=1e-5)


def test_equal_returns_share_their_rank():
    ranks = centered_ranks(jnp.asarray([[3.0], [1.0], [3.0], [-2.0]]))
    np.testing.assert_allclose(ranks[:, 0], [1 / 3, -1 / 6, 1 / 3, -1 / 2])


def test_candidates_meet_the_same_trainings():
    # Without a perturbation all are alike, so that nothing tells them apart and nothing is learned.
    agents, mesh = learner(CONFIG.replace(by_rank=False)), make_mesh(jax.devices()[:1])
    still = agents.replace(config=agents.config.replace(deviation=1e-30))
    state = agents.init(jax.random.key(0), mesh)
    before = jax.device_get(state.params)
    after, metrics = quick_train(still, state, 1, mesh)
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(after.params))
    assert metrics["gradient_norm"] == 0.0


@pytest.mark.slow
def test_on_four_devices_the_numbers_are_those_of_one():
    for one, four in zip(*map(jax.tree.leaves, (trained(1), trained(4))), strict=True):
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(one, four, rtol=2e-3, atol=1e-4)


@pytest.mark.slow
def test_the_spread_of_sampled_actions_is_left_alone_and_all_else_moves():
    before, after = learner().init(jax.random.key(0)).params, trained(1)[0].params
    moved = jax.tree_util.tree_leaves_with_path(
        jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)
    )
    assert {path[-1].key for path, changed in moved if not changed} == {"log_std"}


def test_perturbations_add_up_over_an_episode():
    agents = learner(CONFIG.replace(rollout_decisions=2), (probe_env((1.0, 4.0)),))
    mesh, found = make_mesh(jax.devices()[:1]), []
    state = agents.init(jax.random.key(0), mesh)
    for _ in range(3):
        state, _ = quick_train(agents, state, 1, mesh)
        (unroll,) = jax.device_get(state.unrolls)
        found.append(np.concatenate([x.ravel() for x in jax.tree.leaves(unroll.perturbation)]))
        assert unroll.env.decision[0] == (2, 4, 2)[len(found) - 1]
    deviations = [x[x != 0].std() for x in found]
    np.testing.assert_allclose(deviations, [1.0, 2**0.5, 1.0], rtol=0.1)
    assert np.corrcoef(found[0], found[1])[0, 1] == pytest.approx(0.5**0.5, abs=0.1)
    assert abs(np.corrcoef(found[1], found[2])[0, 1]) < 0.1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_pairs": 0}, "`num_pairs` must be at least 1; got 0"),
        ({"deviation": 0.0}, "`deviation` must be above 0 and finite; got 0.0"),
        ({"rollout_decisions": 3}, "not a whole number of rollouts of 3"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        learner(CONFIG.replace(**change))


def test_pairs_that_do_not_divide_are_an_error_with_the_next_number_that_does():
    agents = learner(CONFIG.replace(num_pairs=6))
    with pytest.raises(ValueError, match=r"6 pairs .*next number that does is 8\."):
        agents.started(agents.init(jax.random.key(0)), make_mesh(jax.devices()[:4]))


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.parametrize("rollout", [2, 1], ids=["whole", "persistent"])
def test_agents_improve_on_a_quadratic_with_one_good_rate_per_layer(rollout):
    env, mesh = probe_env((0.3, 3.0), num_decisions=2), make_mesh(jax.devices()[:1])
    num_updates = 60 * env.num_decisions // rollout  # as many episodes either way
    config = EvolutionConfig(
        learning_rate=0.1,
        num_updates=num_updates,
        num_pairs=16,
        num_members=2,
        rollout_decisions=rollout,
    )
    agents = Evolution.create((env,), ACTIONS, config, hidden=8)
    fresh, results = agents.init(jax.random.key(0)), []
    start = agents.init(jax.random.key(0), mesh)
    for state in (fresh, quick_train(agents, start, num_updates, mesh)[0]):
        keys = jax.random.split(jax.random.key(9), 4)
        curves = evaluate(env, agents.policy(state), keys, mesh)
        results.append((curves.rates.mean(0), curves.final_loss.mean(), curves.diverged.any()))
    (_, before, _), (rates, after, diverged) = results
    assert not diverged
    assert after < 0.2 * before
    assert (rates[:, 0] > 2 * rates[:, 1]).all()  # the flat layer gets the larger rate
