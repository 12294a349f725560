"""Exploration noise that persists from decision to decision; and who needs no distribution."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from ganno_jax.policies.distributions import categorical, gaussian, sample_correlated


def sequence(correlation, key, length=30):
    """Noise `[length, 20_000]` of one layer in many trainings."""
    distribution = gaussian(jnp.zeros(20_000), jnp.zeros(()))

    def step(noise, inputs):
        number, key = inputs
        current = jnp.where(number == 0, 0.0, correlation)
        action, noise = sample_correlated(distribution, noise, current, key)
        return noise, action

    inputs = jnp.arange(length), jax.random.split(key, length)
    return np.asarray(jax.lax.scan(step, jnp.zeros(20_000), inputs)[1])


def test_every_action_has_the_distributions_own_marginal(key):
    noise = sequence(0.9, key)
    np.testing.assert_allclose(noise.mean(1), 0.0, atol=0.03)  # 4 standard errors
    np.testing.assert_allclose(noise.std(1), 1.0, atol=0.02)


def test_noise_k_decisions_apart_correlates_to_the_power_k(key):
    noise = sequence(0.9, key)
    for lag in (1, 5, 20):
        measured = np.corrcoef(noise[0], noise[lag])[0, 1]
        np.testing.assert_allclose(measured, 0.9**lag, atol=0.03)


def test_mean_and_deviation_scale_the_noise(key):
    action, noise = sample_correlated(
        gaussian(jnp.array([2.0]), jnp.log(0.5)), jnp.array([1.0]), 0.6, key
    )
    np.testing.assert_allclose(action, 2.0 + 0.5 * noise, rtol=1e-6)


def test_categorical_actions_are_drawn_independently(key):
    distribution = categorical(jnp.zeros((4, 3)))
    action, noise = sample_correlated(distribution, jnp.ones(4), 0.9, key)
    np.testing.assert_array_equal(action, distribution.sample(seed=key))
    np.testing.assert_array_equal(noise, 1.0)


def test_shared_noise_correlates_between_layers_by_its_share_and_keeps_the_marginal(key):
    distribution = gaussian(jnp.zeros((3, 20_000)), jnp.zeros(()))
    for shared in (0.0, 0.6, 1.0):
        noise = sample_correlated(distribution, jnp.zeros((3, 20_000)), 0.0, key, shared)[0]
        np.testing.assert_allclose(noise.std(1), 1.0, atol=0.02)
        np.testing.assert_allclose(np.corrcoef(noise)[0, 1:], shared, atol=0.03)


def test_neither_the_import_nor_an_optimizer_of_agents_needs_distrax():
    """It takes most of the time of an import; a controller in a training loop acts without drawing."""
    program = (
        "import sys, jax, jax.numpy as jnp, ganno_jax\n"
        "optimizer = ganno_jax.optimizer(30)\n"
        "params = {'dense': {'kernel': jnp.ones((3, 2)), 'bias': jnp.ones(2)}}\n"
        "jax.eval_shape(lambda p: optimizer.update(p, optimizer.init(p), p, value=1.0), params)\n"
        "assert 'distrax' not in sys.modules and 'tensorflow_probability' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
