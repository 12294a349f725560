"""Train an Equinox network on the digits with a controller that sets each layer's learning rate, and without.

python examples/optax_equinox.py [--without]

Needs pip install '.[experiments]' equinox.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import ganno_jax


def main(controlled: bool = True, num_steps: int = 600, batch_size: int = 64) -> float:
    """Train, and return the held-out loss.

    Args:
      controlled: by a controller, or at a constant rate.
      num_steps: of the training.
      batch_size: examples of a step.
    """
    inputs, targets = map(jnp.asarray, load_digits(return_X_y=True))
    inputs = (inputs - inputs.mean()) / inputs.std()
    held_out = slice(1400, None)
    model = eqx.nn.MLP(64, 10, width_size=32, depth=1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    direction = optax.trace(decay=0.9)
    if controlled:
        optimizer = ganno_jax.control(direction, ganno_jax.load("broad"), total_steps=num_steps)
    else:
        optimizer = optax.chain(direction, optax.scale_by_learning_rate(0.05))

    def loss_fn(params, x, y):
        logits = jax.vmap(eqx.combine(params, static))(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(params, state, key):
        batch = jax.random.choice(key, 1400, (batch_size,), replace=False)
        loss, grads = jax.value_and_grad(loss_fn)(params, inputs[batch], targets[batch])
        # `value=` is what a controller needs besides the usual arguments; others ignore it.
        updates, state = optax.with_extra_args_support(optimizer).update(
            grads, state, params, value=loss
        )
        return eqx.apply_updates(params, updates), state

    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(1), num_steps):
        params, state = step(params, state, key)
    if controlled:
        for name, number in ganno_jax.metrics(state).items():
            print(f"{name:30} {number:.3g}")
    loss = float(loss_fn(params, inputs[held_out], targets[held_out]))
    print(f"held-out loss {loss:.3f}")
    return loss


if __name__ == "__main__":
    main(controlled="--without" not in sys.argv)
