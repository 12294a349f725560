"""A small vision Transformer."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ganno_jax.tasks.networks.layers import Dense, require_positive
from ganno_jax.tasks.networks.sequence import TransformerBlock, require_divisible


class ViT(nn.Module):
    """Patches as tokens: `embed`, learned positions, `block0`, ..., a norm, their mean, `head`.

    Attributes:
      num_classes: logits.
      patch: height and width of a patch; must divide the image's.
      features: size of the patch vectors.
      num_blocks: how many blocks.
      heads: attention heads; must divide `features`.

    Raises:
      ValueError: a size below 1, heads that do not divide the features; when called, images that
        patches do not tile.

    References:
      Dosovitskiy et al. 2021, arXiv:2010.11929; the mean instead of a class token: Beyer et al.
      2022,
      arXiv:2205.01580.
    """

    num_classes: int = 10
    patch: int = 4
    features: int = 64
    num_blocks: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        require_positive(
            num_classes=self.num_classes,
            patch=self.patch,
            features=self.features,
            num_blocks=self.num_blocks,
            heads=self.heads,
        )
        require_divisible(self.features, self.heads)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"], *, train: bool = False
    ) -> Float[Array, "batch num_classes"]:
        """Logits of each image; nothing depends on `train`."""
        del train
        y = Dense(self.features, name="embed")(image_patches(x, self.patch))
        y = y + nn.Embed(y.shape[1], self.features, name="embed_position")(jnp.arange(y.shape[1]))
        for i in range(self.num_blocks):
            y = TransformerBlock(self.heads, causal=False, name=f"block{i}")(y)
        y = nn.LayerNorm(name="last_norm")(y).mean(axis=1)
        return Dense(self.num_classes, name="head")(y)


def image_patches(
    x: Float[Array, "batch height width channel"], patch: int
) -> Float[Array, "batch patches pixels"]:
    """Images cut into squares of `patch` by `patch`, row by row; `ValueError` if these do not tile them."""
    batch, height, width, channels = x.shape
    if height % patch or width % patch:
        raise ValueError(f"patches of {patch}x{patch} do not tile {height}x{width} images.")
    x = x.reshape(batch, height // patch, patch, width // patch, patch, channels)
    return jnp.moveaxis(x, 2, 3).reshape(batch, -1, patch * patch * channels)
