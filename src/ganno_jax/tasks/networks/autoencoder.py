"""An autoencoder of dense layers; its output has the shape of its input."""

import math

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


class Autoencoder(nn.Module):
    """Dense layers down to a code and up again: `dense0`, `dense1`, ..., linear at the end.

    Attributes:
      features: units of the hidden layers, the code among them.
      activation: one of `layers.ACTIVATIONS`.

    Raises:
      ValueError: no hidden layer, a size below 1 or an unknown activation.
    """

    features: tuple[int, ...] = (64, 16, 64)
    activation: str = "relu"

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("`features` needs at least one hidden layer, the code; got ().")
        require_positive(features=self.features)
        activation_fn(self.activation)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch ..."],
        *,
        train: bool = False,
        width: Float[Array, "..."] | float | None = None,
    ) -> Float[Array, "batch ..."]:
        """Reconstructions; `width` as in `MLP`, nothing depends on `train`."""
        del train
        shape = x.shape
        counts = active_units(width, self.features)
        x = x.reshape(shape[0], -1)
        active_in = None
        for i, (size, count) in enumerate(zip(self.features, counts, strict=True)):
            x = Dense(size, initializer_for(self.activation), name=f"dense{i}")(x, active_in, count)
            x = activation_fn(self.activation)(x)
            mask = mask_units(count, size)
            x = x if mask is None else x * mask
            active_in = count
        x = Dense(math.prod(shape[1:]), name=f"dense{len(self.features)}")(x, active_in)
        return x.reshape(shape)
