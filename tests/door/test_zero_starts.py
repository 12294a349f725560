"""What starts at zero, heads, gates, positions and class tokens, against AdamW with the same start."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from .harm import (
    CONTROLLED,
    adamw,
    broad,
    broad_over_adam,
    final,
    mlp,
    mlp_loss,
    muon,
    nadamw,
    times,
    train,
)

pytestmark = pytest.mark.learning


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


def zero_class_token():
    """One block of attention over the rows of an image and a token, from which the class is read."""
    sizes = {"embed": (8, 32), "query": (32, 32), "key": (32, 32), "value": (32, 32)}
    sizes |= {"dense0": (32, 64), "dense1": (64, 32), "head": (32, 10)}
    keys = jax.random.split(jax.random.key(0), len(sizes))
    params = {
        name: {"kernel": jax.random.normal(k, size) / np.sqrt(size[0]), "bias": jnp.zeros(size[1])}
        for k, (name, size) in zip(keys, sizes.items(), strict=True)
    }
    params |= {"class_token": jnp.zeros(32), "position": jnp.zeros((9, 32))}

    def dense(params, name, x):
        return x @ params[name]["kernel"] + params[name]["bias"]

    def loss_fn(params, x, y):
        rows = dense(params, "embed", x.reshape(-1, 8, 8))
        token = jnp.broadcast_to(params["class_token"], (len(x), 1, 32))
        h = jnp.concatenate([token, rows], axis=1) + params["position"]
        query, key, value = (dense(params, name, h) for name in ("query", "key", "value"))
        weights = jax.nn.softmax(query @ key.mT / np.sqrt(32))
        h = h + weights @ value
        h = h + dense(params, "dense1", jax.nn.relu(dense(params, "dense0", h)))
        logits = dense(params, "head", h[:, 0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return params, loss_fn


@pytest.mark.slow
@pytest.mark.parametrize(
    "ours, start",
    [
        *itertools.product(CONTROLLED, [zero_head]),
        *itertools.product([muon, nadamw], [zero_gate_and_positions]),
        pytest.param(
            broad,
            zero_gate_and_positions,
            marks=pytest.mark.xfail(
                strict=True, reason="over momentum it ends at 0.0017, AdamW at 0.0011"
            ),
        ),
        # Attention under momentum is behind AdamW whatever its start.
        *itertools.product([muon, nadamw, broad_over_adam], [zero_class_token]),
    ],
)
def test_what_starts_at_zero_trains_as_under_adamw(ours, start):
    params, loss_fn = start()
    losses = train(ours, 600, params, loss_fn).losses
    assert final(losses) < 1.1 * final(train(adamw, 600, params, loss_fn).losses)
    assert float(losses.max()) < 1.1 * float(losses[0])
