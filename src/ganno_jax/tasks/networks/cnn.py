"""Convolutional networks without shortcuts: two layers, deeper, and a family of random widths."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ganno_jax.tasks.networks.layers import (
    Conv,
    Dense,
    activation_fn,
    active_units,
    initializer_for,
    mask_units,
    require_positive,
)
from ganno_jax.tasks.ops import resolve_route


class CNN(nn.Module):
    """Convolution, max-pooling, bias and activation per entry of `channels`; then a dense layer.

    The layers are `conv0`, `conv1`, ..., `dense0`. With a monotone activation the order equals the
    usual bias, activation, pooling.

    Attributes:
      channels: filters of each convolution.
      num_classes: logits.
      kernel_size: height and width of the filters.
      pools: pooling window after each convolution, 1 for none; one number for all, or one per
        convolution.
      activation: one of `layers.ACTIVATIONS` for all, or one per convolution.
      initializer: of the convolutions; by default the one that suits each activation. The dense
        layer is LeCun-normal unless an initializer is given.
      route: how convolutions are computed (`ops.conv`).
      dtype: of the convolutions' computation; parameters and the dense layer stay float32.

    Raises:
      ValueError: a size below 1, a tuple of the wrong length, an unknown activation or route.
    """

    channels: tuple[int, ...] = (16, 32)
    num_classes: int = 10
    kernel_size: int = 3
    pools: int | tuple[int, ...] = 2
    activation: str | tuple[str, ...] = "relu"
    initializer: str | None = None
    route: str = "auto"
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        require_positive(
            channels=self.channels,
            num_classes=self.num_classes,
            kernel_size=self.kernel_size,
            pools=self.pools,
        )
        for name, given in (("pools", self.pools), ("activation", self.activation)):
            if isinstance(given, tuple) and len(given) != len(self.channels):
                raise ValueError(
                    f"`{name}` needs one entry per convolution, {len(self.channels)}; got {given}."
                )
        for activation in self._per_layer(self.activation):
            activation_fn(activation)
        resolve_route(self.route)
        super().__post_init__()

    def _per_layer(self, value):
        return value if isinstance(value, tuple | list) else (value,) * len(self.channels)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width channel"],
        *,
        train: bool = False,
        width: Float[Array, "..."] | float | None = None,
    ) -> Float[Array, "batch num_classes"]:
        """Logits; `width` as in `MLP` with filters as units, nothing depends on `train`."""
        del train
        counts = active_units(width, self.channels)
        settings = zip(
            self.channels,
            counts,
            self._per_layer(self.pools),
            self._per_layer(self.activation),
            strict=True,
        )
        active_in = None
        for i, (channels, count, pool, activation) in enumerate(settings):
            x = Conv(
                channels,
                self.kernel_size,
                pool=pool,
                initializer=self.initializer or initializer_for(activation),
                route=self.route,
                dtype=self.dtype,
                name=f"conv{i}",
            )(x, active_in, count)
            x = activation_fn(activation)(x)
            mask = mask_units(count, channels)
            x = x if mask is None else x * mask.astype(x.dtype)
            active_in = count
        positions = x.shape[1] * x.shape[2]
        dense = Dense(self.num_classes, self.initializer or "lecun_normal", name="dense0")
        return dense(x.reshape(x.shape[0], -1), active_in, None, positions)


def random_cnn(
    channels: tuple[int, int, int] = (9, 24, 249), num_classes: int = 10, **settings: Any
) -> CNN:
    """The largest member of the random CNNs of Daniel et al.; a `width` vector selects the others.

    Convolution, pooling, convolution, pooling, convolution, ReLU, dense, with Xavier-normal
    weights. The family has 2-9, 5-24 and 50-249 filters: `width = [c1 / 9, c2 / 24, c3 / 249]`.

    Args:
      channels: filters of the three convolutions.
      num_classes: outputs.
      **settings: further fields of `CNN`.

    References:
      Daniel, Taylor, Nowozin 2016, "Learning step size controllers for robust neural network
      training"; the ranges from the re-implementation in DACBench.
    """
    return CNN(
        channels=channels,
        num_classes=num_classes,
        pools=(2, 2, 1),
        activation=("linear", "linear", "relu"),
        initializer="xavier_normal",
        **settings,
    )
