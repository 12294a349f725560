"""The door against AdamW where trainings go wrong: scikit-learn's digits, an MLP 64-32-10, batches of 64."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

import ganno_jax
from ganno_jax.door.state import ControlState

pytestmark = pytest.mark.slow


def adamw(total_steps):
    del total_steps
    return optax.adamw(5e-3, weight_decay=1e-2)


def nadamw(total_steps, **settings):
    return ganno_jax.optimizer(total_steps, ganno_jax.load("nadamw"), **settings)


def broad(total_steps):
    return ganno_jax.control(optax.trace(0.9), ganno_jax.load("broad"), total_steps)


@cache
def digits():
    inputs, targets = load_digits(return_X_y=True)
    return np.float32((inputs - inputs.mean()) / inputs.std()), targets


def mlp(sizes=(64, 32, 10)):
    keys = jax.random.split(jax.random.key(0), len(sizes) - 1)
    return {
        f"dense{i}": {
            "kernel": jax.random.normal(k, (m, n)) / np.sqrt(m),
            "bias": jnp.zeros(n),
        }
        for i, (k, m, n) in enumerate(zip(keys, sizes[:-1], sizes[1:], strict=True))
    }


def mlp_loss(params, x, y):
    for i in range(len(params)):
        x = x @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"]
        x = jax.nn.relu(x) if i + 1 < len(params) else x
    return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()


def train(
    optimizer,
    num_steps,
    params=None,
    loss_fn=mlp_loss,
    *,
    batch=64,
    change=lambda g, v, step: (g, v),
):
    """Losses of every step, the trained parameters and the last state; `change` alters gradient and value."""
    optimizer = optax.with_extra_args_support(optimizer(num_steps))
    params = mlp() if params is None else params

    @jax.jit
    def run(params):
        def step(carry, inputs):
            (params, state), (key, number) = carry, inputs
            chosen = jax.random.choice(key, 1400, (batch,), replace=False)
            x, y = map(jnp.asarray, digits())
            loss, gradient = jax.value_and_grad(loss_fn)(params, x[chosen], y[chosen])
            gradient, value = change(gradient, loss, number)
            updates, state = optimizer.update(gradient, state, params, value=value)
            return (optax.apply_updates(params, updates), state), loss

        keys = jax.random.split(jax.random.key(1), num_steps)
        return jax.lax.scan(step, (params, optimizer.init(params)), (keys, jnp.arange(num_steps)))

    (params, state), losses = run(params)
    return losses, params, state


def final(losses):
    return float(jnp.mean(losses[-20:]))


def times(tree, factor):
    return jax.tree.map(lambda x: factor * x, tree)


@pytest.mark.parametrize("ours", [nadamw, broad])
def test_a_first_update_without_gradients_does_no_harm(ours):
    def change(gradient, value, step):
        return times(gradient, jnp.where(step == 0, 0.0, 1.0)), value

    losses, _, state = train(ours, 600, change=change)
    theirs, _, _ = train(adamw, 600, change=change)
    assert final(losses) < 2 * final(theirs)
    assert float(losses.max()) < 1.1 * float(losses[0])
    assert int(state.skipped) == 1


@pytest.mark.parametrize("ours", [nadamw, broad])
def test_layers_that_join_after_fifty_updates_do_no_harm(ours):
    def change(gradient, value, step):
        late = jnp.where(step < 50, 0.0, 1.0)
        return {n: g if n == "dense3" else times(g, late) for n, g in gradient.items()}, value

    losses, _, _ = train(ours, 300, mlp((64, 64, 64, 64, 10)), change=change)
    assert float(losses.max()) < 1.1 * float(losses[0])
    assert float(losses[50:].max()) < float(losses[0])
    assert final(losses) < 0.1


@pytest.mark.parametrize("ours", [nadamw, broad])
def test_a_layer_behind_stop_gradient_stays_as_it_is(ours):
    def loss_fn(params, x, y):
        return mlp_loss(params | {"dense0": jax.lax.stop_gradient(params["dense0"])}, x, y)

    losses, params, _ = train(ours, 300, loss_fn=loss_fn)
    jax.tree.map(np.testing.assert_array_equal, params["dense0"], mlp()["dense0"])
    assert final(losses) < final(train(adamw, 300, loss_fn=loss_fn)[0])


def zero_head():
    params = mlp((64, 32, 32, 10))
    return params | {"dense2": times(params["dense2"], 0.0)}, mlp_loss


def zero_gate_and_positions():
    def loss_fn(params, x, y):
        x = x + params["position"]
        h = jax.nn.relu(x @ params["dense0"]["kernel"] + params["dense0"]["bias"])
        inner = jax.nn.relu(h @ params["dense1"]["kernel"] + params["dense1"]["bias"])
        h = h + params["gate"] * inner
        logits = h @ params["dense2"]["kernel"] + params["dense2"]["bias"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return mlp((64, 32, 32, 10)) | {"gate": jnp.zeros(()), "position": jnp.zeros(64)}, loss_fn


@pytest.mark.parametrize("ours", [nadamw, broad])
@pytest.mark.parametrize("start", [zero_head, zero_gate_and_positions])
def test_what_starts_at_zero_trains_as_under_adamw(ours, start):
    params, loss_fn = start()
    losses, _, _ = train(ours, 600, params, loss_fn)
    assert final(losses) < 1.1 * final(train(adamw, 600, params, loss_fn)[0])
    assert float(losses.max()) < 1.1 * float(losses[0])


@pytest.mark.parametrize("ours", [nadamw, broad])
def test_a_gradient_a_million_times_too_large_costs_little(ours):
    def change(gradient, value, step):
        return times(gradient, jnp.where(step == 20, 1e6, 1.0)), value

    losses, _, state = train(ours, 600, change=change)
    assert int(state.limited) == 1
    assert final(losses) < 2 * final(train(ours, 600)[0])


@pytest.mark.parametrize("every, count", [(40, 30), (1, 10)], ids=["every 40", "the first ten"])
def test_overflows_cost_their_own_steps_only(every, count):
    def change(gradient, value, step):
        bad = (step % every == every - 1) & (step < every * count)
        return jax.tree.map(lambda g: jnp.where(bad, jnp.inf, g), gradient), value

    losses, _, state = train(nadamw, 1200, change=change)
    assert int(state.skipped) == count
    assert int(state.step) == 1200 - count
    assert float(state.backoff) == 1.0
    assert final(losses) < 2 * final(train(nadamw, 1200)[0])


def test_flipped_labels_and_a_batch_of_nan_are_survived():
    def change(gradient, value, step):
        gradient = times(gradient, jnp.where(step % 100 == 50, -20.0, 1.0))  # as wrong labels pull
        value = jnp.where(step % 100 == 50, 20 * value + 10, value)
        return times(gradient, jnp.where(step == 300, jnp.nan, 1.0)), value

    losses, _, state = train(nadamw, 600, change=change)
    assert int(state.skipped) == 1
    assert int(state.spikes) >= 3  # early on losses scatter as far
    assert final(losses) < 0.02


@pytest.mark.parametrize("ours", [nadamw, broad])
@pytest.mark.parametrize("batch, num_steps", [(16, 600), (32, 1500)])
def test_healthy_noise_of_small_batches_is_left_alone(ours, batch, num_steps):
    losses, _, state = train(ours, num_steps, batch=batch)
    assert int(state.spikes) + int(state.limited) < 0.01 * num_steps
    bare, _, _ = train(
        partial(ours, safety=False) if ours is nadamw else ours, num_steps, batch=batch
    )
    assert final(losses) < 2 * final(bare) + 1e-3


def test_a_flat_dict_trains_as_a_nested_one():
    nested = mlp()
    flat = {
        f"{letter}{i}": nested[f"dense{i}"][name]
        for i in range(2)
        for letter, name in (("w", "kernel"), ("b", "bias"))
    }

    def loss_fn(params, x, y):
        parts = {
            f"dense{i}": {"kernel": params[f"w{i}"], "bias": params[f"b{i}"]} for i in range(2)
        }
        return mlp_loss(parts, x, y)

    losses, _, _ = train(nadamw, 600, flat, loss_fn)
    wanted = train(nadamw, 600)[0]
    np.testing.assert_allclose(losses[:100], wanted[:100], rtol=1e-3)
    np.testing.assert_allclose(final(losses), final(wanted), rtol=0.2)


@pytest.mark.parametrize("ours", [nadamw, broad])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_unit_of_the_loss_does_not_matter(ours, scale):
    losses, _, _ = train(ours, 600, loss_fn=lambda p, x, y: scale * mlp_loss(p, x, y))
    assert final(losses) / scale < 0.02


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_trains_with_moments_in_full(dtype):
    half = jax.tree.map(lambda w: w.astype(dtype), mlp())
    losses, params, state = train(nadamw, 600, half)
    assert final(losses) < 0.02
    assert params["dense0"]["kernel"].dtype == dtype
    moments = jax.tree.leaves(state.by_policy.direction)
    assert {m.dtype for m in moments} <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}


def test_without_a_loss_training_goes_on_by_what_gradients_show():
    losses, _, state = train(nadamw, 600, change=lambda gradient, value, step: (gradient, None))
    assert isinstance(state, ControlState)
    assert final(losses) < 0.02
