"""`ganno_jax.TrainState` is Flax's, with the loss for the optimizer."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training import train_state

import ganno_jax

from .test_control import PARAMS, make_controller, toy_loss

BATCH = jnp.linspace(-1, 1, 10).reshape(5, 2)


def test_a_train_state_hands_the_loss_to_the_optimizer():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
    state = ganno_jax.TrainState.create(apply_fn=toy_loss, params=PARAMS, tx=optimizer)

    traces = []

    @jax.jit
    def step(state):
        traces.append(state)
        loss, grads = jax.value_and_grad(state.apply_fn)(state.params, BATCH)
        return state.apply_gradients(grads=grads, value=loss)

    params, opt_state = PARAMS, optimizer.init(PARAMS)
    for _ in range(4):
        loss, grads = jax.value_and_grad(toy_loss)(params, BATCH)
        updates, opt_state = optimizer.update(grads, opt_state, params, value=loss)
        params = optax.apply_updates(params, updates)
        state = step(state)
    assert (int(state.step), state.tx) == (4, optimizer)
    assert len(traces) == 1
    for wanted, found in ((params, state.params), (opt_state.features, state.opt_state.features)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), wanted, found)


def test_an_optimizer_without_a_view_of_the_loss_steps_as_under_flax():
    class WithMeans(ganno_jax.TrainState):
        means: float

    grads, fields = PARAMS, {"apply_fn": toy_loss, "params": PARAMS, "tx": optax.sgd(0.1)}
    ours = WithMeans.create(**fields, means=0.0).apply_gradients(grads=grads, value=1.0, means=2.0)
    theirs = train_state.TrainState.create(**fields).apply_gradients(grads=grads)
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
    assert (ours.means, type(ours)) == (2.0, WithMeans)
    with pytest.raises(TypeError, match="value"):
        ours.apply_gradients(grads=grads)


def test_a_train_state_is_imported_where_it_is_used_first():
    program = (
        "import ganno_jax, sys; assert 'ganno_jax.train_state' not in sys.modules\n"
        "from ganno_jax import TrainState; assert 'TrainState' in dir(ganno_jax)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
