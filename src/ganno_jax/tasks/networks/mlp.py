"""Multilayer perceptrons; without hidden layers, softmax regression."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ganno_jax.tasks.networks.layers import (
    Dense,
    activation_fn,
    active_units,
    initializer_for,
    mask_units,
    require_positive,
)


class MLP(nn.Module):
    """Dense layers on flattened inputs: `dense0`, `dense1`, ..., the last gives the logits.

    Attributes:
      features: units of each hidden layer; `()` is softmax regression.
      num_classes: logits, or numbers of a regression.
      activation: one of `layers.ACTIVATIONS`.
      initializer: of the hidden layers; by default the one that suits the activation. The last
        layer is LeCun-normal.
      dtype: of the hidden layers' computation; parameters and the last layer stay float32.

    Raises:
      ValueError: a size below 1 or an unknown activation.
    """

    features: tuple[int, ...] = (32,)
    num_classes: int = 10
    activation: str = "relu"
    initializer: str | None = None
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        require_positive(features=self.features, num_classes=self.num_classes)
        activation_fn(self.activation)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch ..."],
        *,
        train: bool = False,
        width: Float[Array, "..."] | float | None = None,
    ) -> Float[Array, "batch num_classes"]:
        """Logits of each example.

        Args:
          x: inputs of any shape.
          train: nothing here depends on it.
          width: fraction of active hidden units in (0, 1], traced, one number or one per hidden
            layer. A masked network computes, learns and is initialized as one that is really
            narrower.
        """
        del train
        counts = active_units(width, self.features)
        initializer = self.initializer or initializer_for(self.activation)
        x = x.reshape(x.shape[0], -1)
        active_in = None
        for i, (size, count) in enumerate(zip(self.features, counts, strict=True)):
            x = Dense(size, initializer, self.dtype, name=f"dense{i}")(x, active_in, count)
            x = activation_fn(self.activation)(x)
            mask = mask_units(count, size)
            x = x if mask is None else x * mask.astype(x.dtype)
            active_in = count
        return Dense(self.num_classes, name=f"dense{len(self.features)}")(x, active_in)
