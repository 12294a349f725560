"""Losses of each example, with metrics: of classes, of numbers, of a reconstruction, of an episode."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ganno_jax.tasks.dataset import Batch


def cross_entropy(
    logits: Float[Array, "batch *time classes"], batch: Batch
) -> tuple[Float[Array, " batch"], dict[str, Array]]:
    """Cross-entropy in nats and accuracy of integer targets; sequences are averaged over time."""
    logits = logits.astype(jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
    correct = jnp.argmax(logits, -1) == batch.targets
    losses = losses.reshape(losses.shape[0], -1).mean(1)
    return losses, {"accuracy": jnp.mean(correct.astype(jnp.float32))}


def squared_error(
    outputs: Float[Array, "batch ..."], batch: Batch
) -> tuple[Float[Array, " batch"], dict[str, Array]]:
    """Mean squared error between outputs and float targets; `[batch, 1]` fits targets `[batch]`.

    Raises:
      ValueError: there are not as many outputs as targets.
    """
    if outputs.size != batch.targets.size:
        raise ValueError(
            f"the network must have as many outputs as there are targets, {batch.targets.shape}; "
            f"got {outputs.shape}."
        )
    errors = jnp.square(outputs.reshape(batch.targets.shape) - batch.targets)
    return errors.reshape(errors.shape[0], -1).mean(1), {}


def reconstruction_error(
    outputs: Float[Array, "batch ..."], batch: Batch
) -> tuple[Float[Array, " batch"], dict[str, Array]]:
    """Mean squared error between outputs and inputs."""
    errors = jnp.square(outputs - batch.inputs)
    return errors.reshape(errors.shape[0], -1).mean(1), {}


def episode_loss(
    outputs: Float[Array, "batch 2"], batch: Batch
) -> tuple[Float[Array, " batch"], dict[str, Array]]:
    """What a network that tries its policy says itself: a loss, and a share of success in the place of the accuracy."""
    del batch
    return outputs[:, 0], {"accuracy": outputs[:, 1].mean()}
