"""Train a Linen network on the digits through Flax's `TrainState`, without and with the loss handed over.

python examples/optax_train_state.py
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from sklearn.datasets import load_digits

import ganno_jax


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.relu(nn.Dense(32)(x)))


class TrainStateWithLoss(TrainState):
    """Hands the training loss on to the optimizer, which Flax's own `apply_gradients` does not."""

    def apply_gradients(self, *, grads, value, **kwargs):
        updates, opt_state = self.tx.update(grads, self.opt_state, self.params, value=value)
        params = optax.apply_updates(self.params, updates)
        return self.replace(step=self.step + 1, params=params, opt_state=opt_state, **kwargs)


def main(num_steps: int = 300, batch_size: int = 64) -> dict[str, float]:
    """Final loss on all training examples, of both."""
    inputs, targets = map(jnp.asarray, load_digits(return_X_y=True))
    inputs = (inputs - inputs.mean()) / inputs.std()
    model = MLP()
    params = model.init(jax.random.key(0), inputs[:1])["params"]
    optimizer = ganno_jax.optimizer(total_steps=num_steps, steps_per_epoch=len(inputs) / batch_size)

    def loss_fn(params, x, y):
        logits = model.apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(state, key):
        batch = jax.random.choice(key, len(inputs), (batch_size,), replace=False)
        loss, grads = jax.value_and_grad(loss_fn)(state.params, inputs[batch], targets[batch])
        if isinstance(state, TrainStateWithLoss):
            return state.apply_gradients(grads=grads, value=loss)
        return state.apply_gradients(grads=grads)

    losses = {}
    for name, kind in (("without", TrainState), ("with", TrainStateWithLoss)):
        state = kind.create(apply_fn=model.apply, params=params, tx=optimizer)
        for key in jax.random.split(jax.random.key(1), num_steps):
            state = step(state, key)
        for quantity, number in ganno_jax.metrics(state.opt_state).items():
            print(f"{name} loss: {quantity} {number:.4g}")
        losses[name] = float(loss_fn(state.params, inputs, targets))
    for name, loss in losses.items():
        print(f"final training loss {name} `value`: {loss:.4f}")
    return losses


if __name__ == "__main__":
    main()
