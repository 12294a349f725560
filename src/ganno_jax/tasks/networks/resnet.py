"""Residual networks with the stem for small images: ResNet-18, wide and small variants."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ganno_jax.tasks.networks.layers import Conv, Dense, require_positive
from ganno_jax.tasks.ops import resolve_route

Norm = Literal["batch", "group"]


class ResidualBlock(nn.Module):
    """Two normalized 3x3 convolutions and a shortcut (1x1 where the shape changes)."""

    channels: int
    strides: int = 1
    norm: Norm = "batch"
    groups: int = 8
    route: str = "auto"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width cin"], train: bool
    ) -> Float[Array, "batch out_height out_width channels"]:
        options = {"use_bias": False, "route": self.route, "dtype": self.dtype}
        y = Conv(self.channels, strides=self.strides, name="conv0", **options)(x)
        y = jax.nn.relu(_normalize(y, self, train, "norm0"))
        y = Conv(self.channels, name="conv1", **options)(y)
        y = _normalize(y, self, train, "norm1")
        if self.strides > 1 or x.shape[-1] != self.channels:
            x = Conv(self.channels, 1, strides=self.strides, name="shortcut", **options)(x)
            x = _normalize(x, self, train, "shortcut_norm")
        return jax.nn.relu(x + y)


class ResNet(nn.Module):
    """ResNet of basic blocks for small images: 3x3 stem, no pooling, stages of halving size.

    The layers are `stem`, `block0`, `block1`, ..., `head`. Batch norm keeps running statistics
    (momentum 0.9) in the `batch_stats` collection, which change only with `train=True`.

    Attributes:
      stage_sizes: blocks per stage; (2, 2, 2, 2) is ResNet-18.
      channels: filters of the first stage; each further stage has twice as many.
      widen: factor on the filters of every stage but the stem's (Wide ResNet).
      num_classes: logits.
      norm: "batch", or "group" (no state; examples do not influence each other).
      groups: of group norm; at most as many as there are channels.
      remat: recompute each block's activations in the backward pass: less memory, about a third
        more time.
      route: how convolutions are computed (`ops.conv`).
      dtype: of the computation; parameters and normalization statistics stay float32.

    Raises:
      ValueError: no stage, a size below 1, an unknown norm or route, channels that the groups do
        not divide.

    References:
      He et al. 2016, arXiv:1512.03385; Zagoruyko and Komodakis 2016, arXiv:1605.07146.
    """

    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    channels: int = 64
    widen: int = 1
    num_classes: int = 10
    norm: Norm = "batch"
    groups: int = 8
    remat: bool = False
    route: str = "auto"
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        if not self.stage_sizes:
            raise ValueError("`stage_sizes` needs at least one stage; got ().")
        require_positive(
            stage_sizes=self.stage_sizes,
            channels=self.channels,
            widen=self.widen,
            num_classes=self.num_classes,
            groups=self.groups,
        )
        if self.norm not in get_args(Norm):
            raise ValueError(f"no norm {self.norm!r}; there are: {', '.join(get_args(Norm))}.")
        if self.norm == "group" and self.channels % min(self.groups, self.channels):
            raise ValueError(
                f"`groups` must divide `channels`; got {self.groups} and {self.channels}."
            )
        resolve_route(self.route)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"], *, train: bool = False
    ) -> Float[Array, "batch num_classes"]:
        """Logits; with `train` batch norm uses the batch's statistics and updates its own."""
        make_block = nn.remat(ResidualBlock, static_argnums=(2,)) if self.remat else ResidualBlock
        options = {"route": self.route, "dtype": self.dtype}
        x = Conv(self.channels, use_bias=False, name="stem", **options)(x)
        x = jax.nn.relu(_normalize(x, self, train, "stem_norm"))
        number = 0
        for stage, size in enumerate(self.stage_sizes):
            for i in range(size):
                x = make_block(
                    channels=self.channels * self.widen * 2**stage,
                    strides=2 if stage > 0 and i == 0 else 1,
                    norm=self.norm,
                    groups=self.groups,
                    name=f"block{number}",
                    **options,
                )(x, train)
                number += 1
        x = x.astype(jnp.float32).mean(axis=(1, 2))
        return Dense(self.num_classes, name="head")(x)


def _normalize(x: Array, module: ResidualBlock | ResNet, train: bool, name: str) -> Array:
    if module.norm == "batch":
        norm = nn.BatchNorm(not train, momentum=0.9, dtype=module.dtype, name=name)
    else:
        groups = min(module.groups, x.shape[-1])
        norm = nn.GroupNorm(num_groups=groups, dtype=module.dtype, name=name)
    return norm(x)


def resnet18(**settings: Any) -> ResNet:
    """ResNet-18 for small images: 11,173,962 parameters with 3 input channels and 10 classes."""
    return ResNet(**settings)


def resnet8(channels: int = 16, **settings: Any) -> ResNet:
    """Three stages of one block, 16 to 64 filters: small enough for two CPU cores."""
    return ResNet(stage_sizes=(1, 1, 1), channels=channels, **settings)


def resnet14(channels: int = 16, **settings: Any) -> ResNet:
    """Three stages of two blocks, 16 to 64 filters."""
    return ResNet(stage_sizes=(2, 2, 2), channels=channels, **settings)


def wide_resnet(blocks: int = 2, widen: int = 4, channels: int = 16, **settings: Any) -> ResNet:
    """Wide ResNet of three stages: WRN-16-4 by its widths, normalized after the convolutions.

    Args:
      blocks: per stage.
      widen: factor on the filters.
      channels: filters of the stem.
      **settings: further fields of `ResNet`.
    """
    return ResNet(stage_sizes=(blocks,) * 3, channels=channels, widen=widen, **settings)
