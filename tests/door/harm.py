"""Trainings on scikit-learn's digits through the door and under AdamW: an MLP 64-32-10, batches of 64."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import ganno_jax
from ganno_jax.door.state import ControlState


def adamw(total_steps):
    del total_steps
    return optax.adamw(5e-3, weight_decay=1e-2)


def muon(total_steps, **settings):
    """The default controller."""
    return ganno_jax.optimizer(total_steps, **settings)


def nadamw(total_steps, **settings):
    return ganno_jax.optimizer(total_steps, ganno_jax.load("nadamw"), **settings)


def broad(total_steps, **settings):
    return ganno_jax.control(optax.trace(0.9), ganno_jax.load("broad"), total_steps, **settings)


def broad_over_adam(total_steps, **settings):
    return ganno_jax.control(
        optax.scale_by_adam(), ganno_jax.load("broad"), total_steps, weight_decay=1e-2, **settings
    )


CONTROLLED = [muon, nadamw, broad]


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


class Trained(NamedTuple):
    """What a training came to."""

    losses: jax.Array  # of every step
    params: Any
    state: Any
    guards: Any  # `guards_of` every step; None under an optimizer of another library


def train(
    optimizer,
    num_steps,
    params=None,
    loss_fn=mlp_loss,
    *,
    batch=64,
    change=lambda gradient, value, step: (gradient, value),
    relabel=lambda y, step: y,
):
    """A training in which `change` alters gradient and value of a step, and `relabel` its labels."""
    optimizer = optax.with_extra_args_support(optimizer(num_steps))
    params = mlp() if params is None else params

    @jax.jit
    def run(params):
        def step(carry, inputs):
            (params, state), (key, number) = carry, inputs
            chosen = jax.random.choice(key, 1400, (batch,), replace=False)
            x, y = map(jnp.asarray, digits())
            y = relabel(y[chosen], number)
            loss, gradient = jax.value_and_grad(loss_fn)(params, x[chosen], y)
            gradient, value = change(gradient, loss, number)
            updates, state = optimizer.update(gradient, state, params, value=value)
            guards = guards_of(state) if isinstance(state, ControlState) else None
            return (optax.apply_updates(params, updates), state), (loss, guards)

        keys = jax.random.split(jax.random.key(1), num_steps)
        return jax.lax.scan(step, (params, optimizer.init(params)), (keys, jnp.arange(num_steps)))

    (params, state), (losses, guards) = run(params)
    return Trained(losses, params, state, guards)


def guards_of(state):
    """What the guards did in the last step."""
    held = jnp.any(state.by_policy.rates_in_force < state.rates)
    return {"held": held, "limited": state.limited}


def share_cut(guards):
    """Of steps with a rate below what was decided, after a spike or in a late layer, or with a shortened gradient."""
    limited = np.diff(np.asarray(guards["limited"], np.int64), prepend=0).astype(bool)
    return float(np.mean(np.asarray(guards["held"]) | limited))


def final(losses):
    return float(jnp.mean(losses[-20:]))


def times(tree, factor):
    return jax.tree.map(lambda x: factor * x, tree)
