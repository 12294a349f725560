"""Forgetting against its equation."""

import jax
import jax.numpy as jnp
import numpy as np

from ganno_jax.inner.hyperparameters import (
    LayerHyperparameters,
    as_hyperparameters,
    by_inner_step,
    forget,
)
from ganno_jax.inner.layers import by_module

PARAMS = {
    "dense0": {"kernel": jnp.full((3, 2), 2.0), "bias": jnp.full(2, 5.0)},
    "dense1": {"kernel": jnp.full((2, 2), 4.0)},
}
LAYERS = by_module(PARAMS)


def test_without_gradients_weights_shrink_by_the_forgetting_over_a_training_of_any_length():
    for steps in (1, 7, 300):
        params = PARAMS
        for _ in range(steps):
            change = forget(params, LAYERS, jnp.asarray([1.5, 0.25]), steps)
            params = jax.tree.map(jnp.add, params, change)
        np.testing.assert_allclose(
            params["dense0"]["kernel"], 2.0 * np.exp(-1.5), rtol=2e-5, err_msg=str(steps)
        )
        np.testing.assert_allclose(params["dense1"]["kernel"], 4.0 * np.exp(-0.25), rtol=2e-5)


def test_vectors_are_not_forgotten():
    change = forget(PARAMS, LAYERS, jnp.asarray([3.0, 3.0]), 10)
    np.testing.assert_array_equal(change["dense0"]["bias"], 0.0)


def test_rates_alone_forget_nothing():
    chosen = as_hyperparameters(jnp.asarray([0.1, 0.2]))
    assert chosen.forgetting is None
    np.testing.assert_array_equal(chosen.rates, jnp.asarray([0.1, 0.2]))


def test_one_row_holds_for_every_inner_step():
    chosen = LayerHyperparameters(jnp.asarray([0.1, 0.2]), jnp.asarray([1.0, 0.0]))
    rows = by_inner_step(chosen, 3, 2)
    np.testing.assert_array_equal(rows.rates, np.tile(np.float32([0.1, 0.2]), (3, 1)))
    np.testing.assert_array_equal(rows.forgetting, np.tile([1.0, 0.0], (3, 1)))
