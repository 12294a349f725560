"""Train on the digits over several devices, with parameters, moments and data split over them.

XLA_FLAGS=--xla_force_host_platform_device_count=2 JAX_PLATFORMS=cpu python examples/optax_devices.py

Needs pip install '.[experiments]'.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.datasets import load_digits

import ganno_jax


def main(num_steps: int = 300, batch_size: int = 64, num_devices: int | None = None) -> float:
    """Train, and return the last training loss.

    Args:
      num_steps: of the training.
      batch_size: examples of a step, a multiple of the devices.
      num_devices: all that there are by default.
    """
    mesh = jax.make_mesh(
        (num_devices or len(jax.devices()),), ("data",), devices=jax.devices()[:num_devices]
    )
    whole, split = (NamedSharding(mesh, PartitionSpec(name)) for name in (None, "data"))
    inputs, targets = load_digits(return_X_y=True)
    inputs = np.float32((inputs - inputs.mean()) / inputs.std())
    first, second = jax.random.split(jax.random.key(0))
    params = {
        "hidden": {"kernel": jax.random.normal(first, (64, 32)) / 8, "bias": jnp.zeros(32)},
        "out": {"kernel": jax.random.normal(second, (32, 10)) / 6, "bias": jnp.zeros(10)},
    }
    # Kernels by their rows, biases whole on each device.
    params = jax.tree.map(lambda w: jax.device_put(w, split if w.ndim == 2 else whole), params)
    optimizer = ganno_jax.optimizer(num_steps, steps_per_epoch=1400 / batch_size)

    def loss_fn(params, x, y):
        hidden, out = (
            {name: jax.sharding.reshard(w, whole) for name, w in params[layer].items()}
            for layer in ("hidden", "out")
        )
        logits = jax.nn.relu(x @ hidden["kernel"] + hidden["bias"]) @ out["kernel"] + out["bias"]
        labels = jax.nn.one_hot(y, 10)
        return optax.softmax_cross_entropy(logits, labels).mean()

    @jax.jit
    def step(params, state, x, y):
        loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
        updates, state = optimizer.update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), state, loss

    rng, losses = np.random.default_rng(0), []
    state = optimizer.init(params)
    with jax.set_mesh(mesh):
        for _ in range(num_steps):
            batch = rng.choice(1400, batch_size, replace=False)
            x, y = (jax.device_put(part[batch], split) for part in (inputs, targets))
            params, state, loss = step(params, state, x, y)
            losses.append(float(loss))
    for name, number in ganno_jax.metrics(state).items():
        print(f"{name:30} {number:.3g}")
    print(f"last training loss {losses[-1]:.3f}")
    return losses[-1]


if __name__ == "__main__":
    main()
