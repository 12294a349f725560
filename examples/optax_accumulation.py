"""Train on the digits with gradients of several small batches added up, and a controller over the whole batches.

python examples/optax_accumulation.py

Needs pip install '.[experiments]'.
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import ganno_jax

MODEL = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(10)])


def main(num_updates: int = 300, num_parts: int = 4, part_size: int = 16) -> float:
    """Train, and return the held-out loss.

    Args:
      num_updates: of the parameters.
      num_parts: batches of an update.
      part_size: examples of such a batch.
    """
    inputs, targets = map(jnp.asarray, load_digits(return_X_y=True))
    inputs = (inputs - inputs.mean()) / inputs.std()
    held_out = slice(1400, None)
    params = MODEL.init(jax.random.key(0), inputs[:1])
    # Only whole updates count, in both arguments.
    steps_per_epoch = 1400 / (num_parts * part_size)
    optimizer = optax.MultiSteps(
        ganno_jax.optimizer(num_updates, steps_per_epoch=steps_per_epoch), num_parts
    )

    def loss_fn(params, x, y):
        logits = MODEL.apply(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(params, state, key):
        batch = jax.random.choice(key, 1400, (part_size,), replace=False)
        loss, grads = jax.value_and_grad(loss_fn)(params, inputs[batch], targets[batch])
        updates, state = optimizer.update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(1), num_updates * num_parts):
        params, state = step(params, state, key)
    for name, number in ganno_jax.metrics(state).items():
        print(f"{name:30} {number:.3g}")
    loss = float(loss_fn(params, inputs[held_out], targets[held_out]))
    print(f"held-out loss {loss:.3f}")
    return loss


if __name__ == "__main__":
    main()
