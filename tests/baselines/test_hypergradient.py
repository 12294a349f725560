"""Hypergradient descent against hand-computed steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.baselines.hypergradient import (
    hypergradient,
    hypergradient_adam,
    hypergradient_momentum,
    hypergradient_sgd,
    multiplicative,
)

from .problem import quick_jit, train


def walk(optimizer, gradients):
    """Parameters and rates after each of the given gradients, from zero."""
    params = jnp.zeros(2)
    state = optimizer.init(params)
    path = []
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        path.append((np.asarray(params), float(state.rate)))
    return path


def test_sgd_follows_the_hand_computed_path():
    """Rates 0.1; 0.1 + 0.01 (2 + 2) = 0.14; 0.14 + 0.01 (-2 + 1) = 0.13."""
    path = walk(hypergradient_sgd(0.1, 0.01), [[1.0, 2.0], [2.0, 1.0], [-1.0, 1.0]])
    np.testing.assert_allclose([rate for _, rate in path], [0.1, 0.14, 0.13], rtol=1e-6)
    np.testing.assert_allclose(
        [params for params, _ in path],
        [[-0.1, -0.2], [-0.38, -0.34], [-0.25, -0.47]],
        rtol=1e-6,
    )


def test_nesterov_momentum_follows_the_hand_computed_path():
    """Momentum 0.5: v = 1, 2.5, 0.25; d = g + v/2 = 1.5, 3.25, -0.875; rate += 0.01 g d_before."""
    path = walk(hypergradient_momentum(0.1, 0.01, 0.5), [[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    rates = [0.1, 0.1 + 0.01 * 2 * 1.5, 0.13 - 0.01 * 3.25]
    np.testing.assert_allclose([rate for _, rate in path], rates, rtol=1e-6)
    steps = -np.asarray(rates) * [1.5, 3.25, -0.875]
    np.testing.assert_allclose([params[0] for params, _ in path], np.cumsum(steps), rtol=1e-6)


def test_adam_follows_the_hand_computed_path():
    """The first direction is the sign of the gradient, so the second rate grows by 0.01 (3 - 4)."""
    path = walk(hypergradient_adam(0.1, 0.01), [[1.0, -2.0], [3.0, 4.0]])
    np.testing.assert_allclose(path[0][0], [-0.1, 0.1], rtol=1e-5)
    assert path[1][1] == pytest.approx(0.1 - 0.01, rel=1e-5)
    mean = (0.9 * 0.1 * np.asarray([1.0, -2.0]) + 0.1 * np.asarray([3.0, 4.0])) / (1 - 0.9**2)
    square = (0.999 * 0.001 * np.asarray([1.0, 4.0]) + 0.001 * np.asarray([9.0, 16.0])) / (
        1 - 0.999**2
    )
    # 1 - 0.999^2 in float32 is good to 3e-5.
    step = -0.09 * mean / np.sqrt(square)
    np.testing.assert_allclose(path[1][0], path[0][0] + step, rtol=1e-4)


def test_hyper_rate_zero_is_the_base_optimizer(key):
    adam = optax.with_extra_args_support(optax.adam(0.05))

    @quick_jit
    def run(key):
        return (
            train(lambda: hypergradient_adam(0.05, 0.0), 20, key)[0],
            train(lambda: adam, 20, key)[0],
        )

    losses, expected = run(key)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_the_multiplicative_rule_is_blind_to_the_scale_of_the_loss():
    gradients = np.asarray([[1.0, 2.0], [2.0, 1.0], [-1.0, 1.0]])
    small, large = (
        walk(hypergradient_sgd(0.1, 0.5, multiplicative), scale * gradients)
        for scale in (1.0, 1000.0)
    )
    cosines = [4 / 5, -1 / np.sqrt(10)]
    rates = 0.1 * np.cumprod([1.0, 1 + 0.5 * cosines[0], 1 + 0.5 * cosines[1]])
    np.testing.assert_allclose([rate for _, rate in small], rates, rtol=1e-5)
    np.testing.assert_allclose([rate for _, rate in large], rates, rtol=1e-5)


def test_the_hypergradient_is_the_slope_of_the_next_loss_in_the_rate(key):
    """-g_t . d_{t-1} equals the derivative of f(p - rate d) by the rate."""
    matrix = jax.random.normal(key, (2, 2))

    def loss(params):
        return jnp.sum(jnp.cosh(matrix @ params))

    start = jnp.asarray([0.3, -0.2])
    optimizer = hypergradient(optax.scale_by_adam(), 0.1, 1.0)
    updates, state = optimizer.update(jax.grad(loss)(start), optimizer.init(start), start)
    after = optax.apply_updates(start, updates)
    _, state_after = optimizer.update(jax.grad(loss)(after), state, after)
    slope = jax.grad(lambda rate: loss(start - rate * state.direction))(0.1)
    np.testing.assert_allclose(state.rate - state_after.rate, slope, rtol=1e-4)


def test_rates_and_hyper_rates_can_be_batched(key):
    @quick_jit
    @jax.vmap
    def run(rate, hyper_rate):
        losses, _, state = train(lambda: hypergradient_sgd(rate, hyper_rate), 40, key)
        return losses[-1], state.rate

    losses, rates = run(jnp.asarray([0.01, 0.01]), jnp.asarray([0.0, 0.01]))
    assert rates[0] == pytest.approx(0.01)
    assert rates[1] > 0.05
    assert losses[1] < losses[0]


def test_layers_get_rates_of_their_own_through_partition():
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    optimizer = optax.partition(
        {name: hypergradient_sgd(0.1, 0.1) for name in params}, {name: name for name in params}
    )
    state = optimizer.init(params)
    first = {"a": jnp.ones(1), "b": jnp.ones(1)}
    _, state = optimizer.update(first, state, params)
    updates, _ = optimizer.update({"a": jnp.ones(1), "b": -jnp.ones(1)}, state, params)
    np.testing.assert_allclose(updates["a"], -0.2, rtol=1e-6)
    np.testing.assert_allclose(updates["b"], 0.0, atol=1e-7)
