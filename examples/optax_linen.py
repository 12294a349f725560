"""Train a Linen network on the digits with a controller as the whole optimizer, and without.

python examples/optax_linen.py [--without]

Needs pip install '.[experiments]'.
"""

import sys

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import ganno_jax


class MLP(nn.Module):
    """A network 64-32-10."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.relu(nn.Dense(32)(x)))


def main(controlled: bool = True, num_steps: int = 600, batch_size: int = 64) -> float:
    """Train, and return the held-out loss.

    Args:
      controlled: by a controller, or NAdamW at a constant rate.
      num_steps: of the training.
      batch_size: examples of a step.
    """
    inputs, targets = map(jnp.asarray, load_digits(return_X_y=True))
    inputs = (inputs - inputs.mean()) / inputs.std()
    held_out = slice(1400, None)
    model = MLP()
    params = model.init(jax.random.key(0), inputs[:1])
    optimizer = ganno_jax.optimizer(total_steps=num_steps) if controlled else optax.nadamw(0.01)

    def loss_fn(params, x, y):
        logits = model.apply(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(params, state, key):
        batch = jax.random.choice(key, 1400, (batch_size,), replace=False)
        loss, grads = jax.value_and_grad(loss_fn)(params, inputs[batch], targets[batch])
        # `value=` is what a controller needs besides the usual arguments; others ignore it.
        updates, state = optax.with_extra_args_support(optimizer).update(
            grads, state, params, value=loss
        )
        return optax.apply_updates(params, updates), state

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
