"""Every learning-rate-free method passes the same tests."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.baselines.free import LEARNING_RATE_FREE, cosine, warmup

from .problem import problem, quick_jit, train

NUM_STEPS = 150


@pytest.mark.parametrize("name", LEARNING_RATE_FREE)
def test_trains_a_batch_of_regressions(name, key):
    method = LEARNING_RATE_FREE[name]

    @quick_jit
    @jax.vmap
    def run(key, total_steps):
        losses, params, state = train(lambda: method.make(total_steps), NUM_STEPS, key)
        return losses, problem(key)[1](method.evaluation_params(state, params))

    losses, final = run(jax.random.split(key, 2), jnp.asarray([NUM_STEPS, 2 * NUM_STEPS]))
    assert np.isfinite(losses).all()
    assert (final < 0.75 * losses[:, 0]).all(), final / losses[:, 0]


@pytest.mark.parametrize("name", LEARNING_RATE_FREE)
def test_keeps_every_dtype(name, key):
    """A scan refuses a carry whose dtype changes; tracing it is enough to know."""
    method = LEARNING_RATE_FREE[name]
    kinds = {"w": jnp.bfloat16, "b": jnp.float32}

    def run(key):
        _, params, state = train(lambda: method.make(10), 3, key, kinds)
        return params, method.evaluation_params(state, params), state

    params, evaluated, state = jax.eval_shape(run, key)
    assert {name: leaf.dtype for name, leaf in params.items()} == kinds
    assert {name: leaf.dtype for name, leaf in evaluated.items()} == kinds
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {
        jnp.dtype(kind) for kind in (jnp.float32, jnp.int32, jnp.bool_)
    }


@pytest.mark.parametrize("name", LEARNING_RATE_FREE)
def test_the_loss_is_asked_for_only_where_it_is_used(name):
    method = LEARNING_RATE_FREE[name]
    params = jnp.ones(2)
    optimizer = method.make(10)
    state = jax.eval_shape(optimizer.init, params)

    def update(state):
        return optimizer.update(params, state, params)

    if method.needs_value:
        with pytest.raises(ValueError, match=f"`{name}` needs the training loss"):
            jax.eval_shape(update, state)
    else:
        jax.eval_shape(update, state)


def test_missing_parameters_are_named():
    optimizer = LEARNING_RATE_FREE["dog"].make(10)
    state = optimizer.init(jnp.ones(2))
    with pytest.raises(ValueError, match="`dog` needs the parameters"):
        optimizer.update(jnp.ones(2), state)


def test_schedule_free_evaluates_the_average_of_its_base_iterates():
    """With constant gradient g and warm-up over one step, z_t = -t g and x_t = mean of z_1..z_t."""
    method = LEARNING_RATE_FREE["schedule_free_sgd"]
    optimizer = method.make(1)
    params, gradient = jnp.zeros(2), jnp.asarray([1.0, -2.0])
    state = optimizer.init(params)
    for step in range(1, 5):
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        mean = -gradient * (step + 1) / 2
        np.testing.assert_allclose(method.evaluation_params(state, params), mean, rtol=1e-5)
        np.testing.assert_allclose(params, 0.9 * mean - 0.1 * step * gradient, rtol=1e-5)


def test_schedules_have_their_ends_where_they_should():
    assert cosine(8)(0) == 1.0
    np.testing.assert_allclose(cosine(8)(4), 0.5, atol=1e-6)
    np.testing.assert_allclose(cosine(8)(12), 0.0, atol=1e-6)
    np.testing.assert_allclose([warmup(2.0, 100)(c) for c in (1, 5, 50)], [0.4, 2.0, 2.0])
