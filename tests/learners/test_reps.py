"""REPS and its controls: the dual, the fit, the bound, known optima; the search on trainings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.sharding import NamedSharding, PartitionSpec

from ganno_jax.env import Env
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.learners import make_mesh
from ganno_jax.learners.search.black_box import CMAES, RandomSearch
from ganno_jax.learners.search.parameter_search import (
    ParameterSearch,
    log_decrease,
    relative_returns,
    search,
    task_loss,
)
from ganno_jax.learners.search.reps import (
    REPS,
    Gaussian,
    dual,
    gaussian_kl,
    isotropic,
    sample_kl,
    solve_dual,
    weighted_fit,
    within_bound,
)
from ganno_jax.policies.step_size import StepSizePolicy
from ganno_jax.tasks.distributions import Constant, Uniform

from ..probes import mlp_family, mlp_loss

RETURNS = np.random.default_rng(0).normal(size=64).astype(np.float32)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_duals_solution_has_zero_slope_and_the_divergence_asked_for(epsilon, scale):
    returns = jnp.asarray(scale * RETURNS + 7 * scale)
    eta = jax.jit(solve_dual)(returns, epsilon)
    weights = np.exp(np.asarray(returns - returns.max(), np.float64) / float(eta))
    weights /= weights.sum()
    # The returns' own rounding, relative to their differences.
    np.testing.assert_allclose(np.sum(weights * np.log(64 * weights)), epsilon, rtol=1e-4)
    slope = jax.grad(dual)(eta, returns - returns.max(), epsilon)
    np.testing.assert_allclose(slope, 0.0, atol=1e-4)
    values = [dual(eta * f, returns - returns.max(), epsilon) for f in (0.5, 1.0, 2.0)]
    assert values[1] == min(values)


def test_a_bound_beyond_what_samples_can_have_takes_the_best_alone():
    returns = jnp.asarray([1.0, 2.0, 5.0, 3.0])
    eta = solve_dual(returns, 2.0)  # log 4 = 1.386 at most
    np.testing.assert_allclose(sample_kl(eta, returns), np.log(4), rtol=1e-5)


def test_equal_returns_keep_equal_weights():
    strategy = REPS(mean=jnp.zeros(2))
    tell = jax.jit(strategy.tell)
    samples = jnp.asarray([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    state, metrics = tell(strategy.init(), samples, jnp.full(4, 0.3))
    np.testing.assert_allclose(metrics["effective_samples"], 4.0, rtol=1e-5)
    assert np.isfinite(state.covariance).all()


def test_the_weighted_fit_is_numpys_mean_and_covariance():
    generator = np.random.default_rng(1)
    samples, weights = generator.normal(size=(20, 3)), generator.dirichlet(np.ones(20))
    fitted = weighted_fit(jnp.asarray(samples), jnp.asarray(weights), jnp.eye(3), 0.0)
    np.testing.assert_allclose(fitted.mean, np.average(samples, 0, weights), rtol=1e-4, atol=1e-6)
    expected = np.cov(samples.T, aweights=weights, ddof=0)
    np.testing.assert_allclose(fitted.covariance, expected, rtol=1e-4, atol=1e-6)
    shrunk = weighted_fit(jnp.asarray(samples), jnp.asarray(weights), 2 * jnp.eye(3), 0.25)
    np.testing.assert_allclose(shrunk.covariance, 0.75 * expected + 0.5 * np.eye(3), rtol=1e-4)


def test_the_gaussian_divergence_is_the_textbook_formula():
    generator = np.random.default_rng(2)
    factors = generator.normal(size=(2, 3, 3))
    a, b = (f @ f.T + np.eye(3) for f in factors)
    means = generator.normal(size=(2, 3))
    new, old = (
        Gaussian(jnp.asarray(means[0]), jnp.asarray(a)),
        Gaussian(jnp.asarray(means[1]), jnp.asarray(b)),
    )
    inverse, shift = np.linalg.inv(b), means[0] - means[1]
    ratio = np.log(np.linalg.det(b) / np.linalg.det(a))
    expected = 0.5 * (np.trace(inverse @ a) + shift @ inverse @ shift - 3 + ratio)
    np.testing.assert_allclose(gaussian_kl(new, old), expected, rtol=1e-4)
    np.testing.assert_allclose(gaussian_kl(old, old), 0.0, atol=1e-5)


def test_a_fit_beyond_the_bound_is_brought_back_to_it():
    old = isotropic(jnp.zeros(3), 1.0)
    far = Gaussian(jnp.asarray([3.0, 0.0, 1.0]), 0.01 * jnp.eye(3))
    held, share = within_bound(far, old, 1.0)
    np.testing.assert_allclose(gaussian_kl(held, old), 1.0, rtol=1e-3)
    assert 0 < share < 1
    near = Gaussian(jnp.asarray([0.1, 0.0, 0.0]), 0.9 * jnp.eye(3))
    held, share = within_bound(near, old, 1.0)
    assert share == 1.0
    np.testing.assert_array_equal(held.mean, near.mean)


def test_the_divergence_of_an_update_never_exceeds_the_bound():
    strategy = REPS(mean=jnp.zeros(5), shrinkage=0.0)
    state = strategy.init()
    for seed in range(3):
        samples = strategy.ask(state, jax.random.key(seed), 16)  # few: the fit overshoots
        state, metrics = jax.jit(strategy.tell)(
            state, samples, -jnp.sum(jnp.square(samples - 3.0), 1)
        )
        assert metrics["fit_kl"] > 1.0
        assert metrics["kl"] <= 1.001


OPTIMUM = jnp.asarray([0.5, -1.0, 2.0])


@pytest.mark.parametrize("strategy, tolerance", [(REPS, 0.05), (CMAES, 0.05), (RandomSearch, 1.0)])
def test_strategies_find_the_optimum_of_a_quadratic(strategy, tolerance):
    strategy = strategy(mean=jnp.zeros(3), deviations=1.0)
    scales = jnp.asarray([1.0, 3.0, 0.5])

    def iterate(state, key):
        samples = strategy.ask(state, key, 64)
        returns = -jnp.sum(jnp.square((samples - OPTIMUM) * scales), 1)
        return strategy.tell(state, samples, returns)[0], None

    keys = jax.random.split(jax.random.key(0), 30)
    state, _ = jax.jit(lambda s: jax.lax.scan(iterate, s, keys))(strategy.init())
    assert np.abs(strategy.best(state) - OPTIMUM).max() < tolerance


def test_random_search_keeps_an_incumbent_that_nobody_beats():
    strategy = RandomSearch(mean=jnp.zeros(2))
    state = strategy.init().replace(best=jnp.asarray([4.0, 4.0]))
    samples = strategy.ask(state, jax.random.key(0), 8)
    np.testing.assert_array_equal(samples[0], [4.0, 4.0])
    after, _ = strategy.tell(state, samples, jnp.asarray([1.0] + [0.5] * 7))
    np.testing.assert_array_equal(after.best, state.best)
    after, _ = strategy.tell(state, samples, jnp.asarray([1.0, 0.0, 2.0] + [0.5] * 5))
    np.testing.assert_array_equal(after.best, samples[2])


def test_an_easy_task_favours_nobody():
    returns = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)
    easier = returns + np.asarray([10.0, 0.0, -5.0, 1.0], np.float32)
    np.testing.assert_allclose(relative_returns(returns), relative_returns(easier), atol=1e-5)
    np.testing.assert_allclose(relative_returns(returns).sum(), 0.0, atol=1e-5)


def test_a_lower_final_loss_has_the_higher_return_and_failures_have_none():
    no = jnp.asarray(False)

    def value(last, diverged=no):
        return log_decrease(jnp.float32(2.0), jnp.float32(last), jnp.int32(100), diverged)[0]

    np.testing.assert_allclose(value(0.5), np.log(4.0) / 100, rtol=1e-5)
    assert value(0.1) > value(0.5) > value(1.9) > 0
    assert value(3.0) == value(0.1, jnp.asarray(True)) == value(np.nan) == 0


@struct.dataclass
class Shown(REPS):
    """REPS that shows what it was told; its controllers are constant rates but for the first decision."""

    def tell(self, state, samples, returns):
        state, metrics = super().tell(state, samples, returns)
        return state, metrics | {"samples": samples, "returns": returns}


@pytest.fixture(scope="module")
def problem():
    family = mlp_family().replace(data_fraction=Uniform(0.3, 0.6))
    training = Training.create(family, named("momentum", Constant(0.05)), 8).with_example_features()
    env = Env.create(
        training,
        LogLossDecrease(),
        num_decisions=4,
        interval=2,
        num_measured=1,
        num_reward=1,
    )
    strategy = Shown(
        mean=jnp.asarray([0.0, 0.0, 0.0, 0.0, -2.5]), deviations=jnp.asarray([1e-6] * 4 + [1.0])
    )
    return ParameterSearch(
        env, strategy, StepSizePolicy, num_samples=4, num_tasks=2, fewest_decisions=2
    )


def test_the_task_loss_is_that_of_the_examples_in_use(problem):
    training = problem.env.training
    state = jax.jit(training.init)(jax.random.key(5))
    count = int(state.task.num_examples)
    assert count < 96
    used = jax.jit(lambda t: training.family.batch_indices(t, jnp.int32(0), 96))(state.task)
    used = np.unique(np.asarray(used)[:count])  # the first epoch
    assert len(used) == count
    batch = training.family.train_batch(state.task, jnp.asarray(used))
    expected = jnp.mean(mlp_loss(state.params, batch)[0])
    np.testing.assert_allclose(jax.jit(task_loss)(training, state), expected, rtol=1e-5)


def test_a_search_judges_by_the_trainings_and_goes_on_after_a_save_as_if_it_had_not_stopped(
    problem,
):
    mesh = make_mesh()
    start = jax.device_put(problem.init(jax.random.key(7)), NamedSharding(mesh, PartitionSpec()))
    first, metrics = search(problem, start, 1, mesh)
    second, _ = search(problem, first, 1, mesh)
    assert second.iteration == 2
    assert (metrics["kl"] <= 1.001).all()

    saved = jax.tree.map(np.asarray, first.replace(key=jax.random.key_data(first.key)))
    restored = saved.replace(key=jax.random.wrap_key_data(saved.key))
    restored = jax.device_put(restored, NamedSharding(mesh, PartitionSpec()))
    again, _ = search(problem, restored, 1, mesh)
    np.testing.assert_array_equal(again.strategy.mean, second.strategy.mean)

    # The first iteration's trainings one after another, without an env.
    training = problem.env.training
    window, loss = jax.jit(Training.window, static_argnums=3), jax.jit(task_loss)
    _, task_key = jax.random.split(jax.random.fold_in(jax.random.key(7), 0))
    returns = np.zeros((4, 2))
    for task, key in enumerate(jax.random.split(task_key, 2)):
        length = int(jax.random.randint(jax.random.fold_in(key, 2), (), 2, 5))
        begin = jax.jit(training.init)(jax.random.fold_in(key, 0))
        for sample, theta in enumerate(np.asarray(metrics["samples"][0])):
            state = begin
            for decision in range(length):
                rate = 0.05 if decision == 0 else np.exp(theta[-1])
                state, _ = window(training, state, jnp.full((2, 2), rate, jnp.float32), 1)
            decrease = np.log(loss(training, begin) / loss(training, state)) / (2 * length)
            returns[sample, task] = max(decrease, 0.0)
    expected = relative_returns(returns.astype(np.float32))
    # The other weights are not quite zero.
    np.testing.assert_allclose(metrics["returns"][0], expected, rtol=1e-3, atol=1e-5)


def test_counts_that_cannot_work_are_refused(problem):
    with pytest.raises(ValueError, match="`num_samples` must be at least 4; got 2"):
        ParameterSearch(problem.env, problem.strategy, StepSizePolicy, num_samples=2)
    with pytest.raises(ValueError, match="between 1 and the env's 4; got 9"):
        ParameterSearch(problem.env, problem.strategy, StepSizePolicy, fewest_decisions=9)
