"""Train a Linen network on the digits through a `TrainState`: Flax's own without the loss, and ours with it.

python examples/optax_train_state.py [CONTROLLER [NUM_SEEDS]]

Needs pip install '.[experiments]'.
"""

import sys

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits

import ganno_jax


class MLP(nn.Module):
    """A network 64-32-10."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.relu(nn.Dense(32)(x)))


def make_optimizer(name: str, num_steps: int, steps_per_epoch: float):
    """Of a shipped controller; one that brings no direction is put over momentum.

    Args:
      name: of the controller.
      num_steps: of the training.
      steps_per_epoch: for a whole optimizer.
    """
    controller = ganno_jax.load(name)
    if controller.direction is None:
        return ganno_jax.control(optax.trace(0.9), controller, num_steps)
    return ganno_jax.optimizer(num_steps, controller, steps_per_epoch=steps_per_epoch)


def main(
    controller: str = "muon", num_seeds: int = 1, num_steps: int = 600, batch_size: int = 64
) -> dict[str, list[float]]:
    """Final losses of each seed, on the examples that were trained on and on others, of both.

    Args:
      controller: name of a shipped one.
      num_seeds: trainings of each kind.
      num_steps: of a training.
      batch_size: examples of a step.
    """
    inputs, targets = map(jnp.asarray, load_digits(return_X_y=True))
    inputs = (inputs - inputs.mean()) / inputs.std()
    parts = {"training": slice(1400), "held-out": slice(1400, None)}
    model = MLP()
    optimizer = make_optimizer(controller, num_steps, 1400 / batch_size)

    def loss_fn(params, x, y):
        logits = model.apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(state, key):
        batch = jax.random.choice(key, 1400, (batch_size,), replace=False)
        loss, grads = jax.value_and_grad(loss_fn)(state.params, inputs[batch], targets[batch])
        if isinstance(state, ganno_jax.TrainState):
            return state.apply_gradients(grads=grads, value=loss)
        return state.apply_gradients(grads=grads)

    losses = {}
    for name, kind in (("without", TrainState), ("with", ganno_jax.TrainState)):
        for seed in range(num_seeds):
            first, batches = jax.random.split(jax.random.key(seed))
            params = model.init(first, inputs[:1])["params"]
            state = kind.create(apply_fn=model.apply, params=params, tx=optimizer)
            for key in jax.random.split(batches, num_steps):
                state = step(state, key)
            for part, chosen in parts.items():
                loss = float(loss_fn(state.params, inputs[chosen], targets[chosen]))
                losses.setdefault(f"{part} loss {name} `value`", []).append(loss)
            if seed == num_seeds - 1:
                for quantity, number in ganno_jax.metrics(state.opt_state).items():
                    print(f"{name} `value`: {quantity} {number:.4g}")
    for name, found in losses.items():
        print(f"{name}:", *(f"{loss:.4f}" for loss in found), f"mean {sum(found) / num_seeds:.4f}")
    return losses


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
