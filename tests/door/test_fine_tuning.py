"""Trainings that begin at trained weights, and trainings in half precision, on real data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax

from .harm import CONTROLLED, adamw, digits, final, mlp, mlp_loss, muon, train

pytestmark = pytest.mark.learning

RANK = 4


def low_rank(pretrained):
    """Parameters of a change of rank `RANK` in every kernel, zero at the start, and the loss on mirrored digits."""
    keys = jax.random.split(jax.random.key(2), len(pretrained))
    params = {
        name: {
            "lora_a": jax.random.normal(key, (layer["kernel"].shape[0], RANK)) / 4,
            "lora_b": jnp.zeros((RANK, layer["kernel"].shape[1])),
        }
        for key, (name, layer) in zip(keys, pretrained.items(), strict=True)
    }

    def loss_fn(params, x, y):
        changed = {
            name: layer
            | {"kernel": layer["kernel"] + params[name]["lora_a"] @ params[name]["lora_b"]}
            for name, layer in pretrained.items()
        }
        return mlp_loss(changed, x.reshape(-1, 8, 8)[:, :, ::-1].reshape(x.shape), y)

    return params, loss_fn


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_a_low_rank_change_of_trained_weights_learns_another_task(ours):
    pretrained = train(muon, 300).params
    params, loss_fn = low_rank(pretrained)
    losses = train(ours, 300, params, loss_fn).losses
    theirs = train(adamw, 300, params, loss_fn).losses
    assert float(losses.max()) < 1.05 * float(theirs.max())
    assert final(losses) < min(0.05 * float(losses[0]), 1.5 * final(theirs))


def test_float16_with_a_scale_that_finds_itself_ends_as_float32_without_the_same_steps():
    """Forward and backward in float16; the scale begins far too high, halves at an overflow and rises otherwise."""
    x, y = map(jnp.asarray, digits())
    steps = 150

    def run(half, left_out):
        optimizer = ganno_jax.optimizer(steps)
        dtype = jnp.float16 if half else jnp.float32

        def scaled_loss(params, scale, chosen):
            cast = jax.tree.map(lambda w: w.astype(dtype), params)
            loss = mlp_loss(cast, x[chosen].astype(dtype), y[chosen])
            return loss * scale.astype(loss.dtype), loss

        def step(carry, inputs):
            params, state, scale = carry
            key, is_left_out = inputs
            chosen = jax.random.choice(key, 1400, (64,), replace=False)
            gradient, loss = jax.grad(scaled_loss, has_aux=True)(params, scale, chosen)
            unscaled = jax.tree.map(lambda g: g.astype(jnp.float32) / scale, gradient)
            unscaled = jax.tree.map(lambda g: jnp.where(is_left_out, jnp.nan, g), unscaled)
            healthy = jnp.isfinite(optax.tree.norm(unscaled))
            updates, state = optimizer.update(unscaled, state, params, value=loss)
            scale = jnp.where(healthy, jnp.minimum(scale * 1.01, 2.0**16), scale / 2)
            return (optax.apply_updates(params, updates), state, scale), (loss, healthy)

        params = mlp()
        begun = (params, optimizer.init(params), jnp.float32(2.0**24 if half else 1.0))
        carry, (losses, healthy) = jax.jit(jax.lax.scan, static_argnums=0)(
            step, begun, (jax.random.split(jax.random.key(1), steps), left_out)
        )
        return carry[1], losses.astype(jnp.float32), healthy

    state, losses, healthy = run(half=True, left_out=jnp.zeros(steps, bool))
    _, wanted, _ = run(half=False, left_out=~healthy)
    overflows = int((~healthy).sum())
    assert overflows >= 5
    assert int(state.skipped) == overflows
    assert int(state.spikes) == 0
    assert np.isfinite(losses[healthy]).all()
    np.testing.assert_allclose(np.log(final(losses)), np.log(final(wanted)), atol=0.3)
