"""What only an accelerator can show: its programs give the numbers of a CPU. `JAX_PLATFORMS=cuda,cpu pytest -m gpu`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ganno_jax
from ganno_jax.platforms import made_for, platform
from ganno_jax.tasks import ops

from .test_platforms import env_step, learner_update

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _exact_products():
    """Products of float32 in float32, as on a CPU."""
    with jax.default_matmul_precision("highest"):
        yield


def on_cpu(function, *arguments):
    with made_for("cpu"), jax.default_device(jax.devices("cpu")[0]):
        return jax.device_get(jax.jit(function)(*jax.device_get(arguments)))


def test_there_is_an_accelerator():
    assert platform() != "cpu"


def test_an_env_step_gives_the_numbers_of_a_cpu():
    function, arguments = env_step()
    ours = jax.device_get(jax.jit(function)(*arguments))
    for here, there in zip(ours, on_cpu(function, *arguments), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-2, atol=1e-3)


def test_a_learner_update_is_finite():
    function, arguments = learner_update()
    assert np.isfinite(jax.jit(function)(*arguments)).all()


@pytest.mark.parametrize("route", ["native", "im2col", "batch_last", "shifted"])
def test_routes_agree(route):
    x, kernel = (
        jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(4, 9, 9, 3), (3, 3, 3, 8)])
    )
    ours = jax.jit(partial(ops.conv, route=route))(x, kernel)
    np.testing.assert_allclose(ours, on_cpu(ops.conv, x, kernel), rtol=1e-4, atol=1e-4)


def test_the_default_controller_trains_there():
    x = jax.random.normal(jax.random.key(0), (256, 8))
    params = {"hidden": 0.3 * x[:8, :8], "out": 0.3 * x[:8, :1]}
    optimizer = ganno_jax.optimizer(total_steps=60)

    def loss_fn(params):
        return jnp.mean((jnp.tanh(x @ params["hidden"]) @ params["out"] - x[:, :1]) ** 2)

    @jax.jit
    def step(params, state):
        loss, gradient = jax.value_and_grad(loss_fn)(params)
        updates, state = optimizer.update(gradient, state, params, value=loss)
        return jax.tree.map(jnp.add, params, updates), state, loss

    state, losses = optimizer.init(params), []
    for _ in range(60):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]
