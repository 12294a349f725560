"""Train a network of plain arrays on the digits with the default controller, and draw the rate of each layer.

python examples/optax_plain.py [FIGURE.png]

Needs pip install '.[experiments]'.
"""

import sys

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import ganno_jax
from ganno_jax import plots


def main(figure: str | None = None, num_steps: int = 600, batch_size: int = 64) -> float:
    """Train, and return the held-out loss.

    Args:
      figure: file for the rates; none is drawn by default.
      num_steps: of the training.
      batch_size: examples of a step.
    """
    inputs, targets = map(jnp.asarray, load_digits(return_X_y=True))
    inputs = (inputs - inputs.mean()) / inputs.std()
    held_out = slice(1400, None)
    first, second = jax.random.split(jax.random.key(0))
    params = {
        "hidden": {"w": jax.random.normal(first, (64, 32)) / 8, "b": jnp.zeros(32)},
        "out": {"w": jax.random.normal(second, (32, 10)) / 6, "b": jnp.zeros(10)},
    }
    optimizer = ganno_jax.optimizer(num_steps, steps_per_epoch=1400 / batch_size)

    def loss_fn(params, x, y):
        hidden = jax.nn.relu(x @ params["hidden"]["w"] + params["hidden"]["b"])
        logits = hidden @ params["out"]["w"] + params["out"]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(params, state, key):
        batch = jax.random.choice(key, 1400, (batch_size,), replace=False)
        loss, grads = jax.value_and_grad(loss_fn)(params, inputs[batch], targets[batch])
        updates, state = optimizer.update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    print(ganno_jax.describe(params))
    state, history = optimizer.init(params), []
    for number, key in enumerate(jax.random.split(jax.random.key(1), num_steps)):
        params, state = step(params, state, key)
        if number % 10 == 9:
            history.append(ganno_jax.metrics(state))
    for name, number in history[-1].items():
        print(f"{name:30} {number:.3g}")
    if figure:
        print(plots.save(plots.rates(history), figure))
    loss = float(loss_fn(params, inputs[held_out], targets[held_out]))
    print(f"held-out loss {loss:.3f}")
    return loss


if __name__ == "__main__":
    main(*sys.argv[1:2])
