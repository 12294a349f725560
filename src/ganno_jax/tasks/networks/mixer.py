"""An MLP-Mixer: a vision network without convolutions or attention."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ganno_jax.tasks.networks.layers import Dense, require_positive
from ganno_jax.tasks.networks.vit import image_patches


class MixerBlock(nn.Module):
    """A perceptron over the patches and one over the features, each on a normalized input and added to it."""

    patch_features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch patches features"]
    ) -> Float[Array, "batch patches features"]:
        patches, features = x.shape[1:]
        y = jnp.swapaxes(nn.LayerNorm(name="norm0")(x), 1, 2)
        y = jax.nn.gelu(Dense(self.patch_features, "he_normal", name="dense0")(y))
        y = Dense(patches, name="dense1")(y)
        x = x + jnp.swapaxes(y, 1, 2)
        y = nn.LayerNorm(name="norm2")(x)
        y = jax.nn.gelu(Dense(4 * features, "he_normal", name="dense2")(y))
        return x + Dense(features, name="dense3")(y)


class Mixer(nn.Module):
    """Patches as tokens: `embed`, `block0`, ..., a norm, their mean, `head`.

    Attributes:
      num_classes: logits.
      patch: height and width of a patch; must divide the image's.
      features: size of the patch vectors.
      patch_features: hidden units of the perceptrons over the patches.
      num_blocks: how many blocks.

    Raises:
      ValueError: a size below 1; when called, images that patches do not tile.

    References:
      Tolstikhin et al. 2021, "MLP-Mixer: an all-MLP architecture for vision", arXiv:2105.01601.
    """

    num_classes: int = 10
    patch: int = 4
    features: int = 64
    patch_features: int = 32
    num_blocks: int = 2

    def __post_init__(self) -> None:
        require_positive(
            num_classes=self.num_classes,
            patch=self.patch,
            features=self.features,
            patch_features=self.patch_features,
            num_blocks=self.num_blocks,
        )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"], *, train: bool = False
    ) -> Float[Array, "batch num_classes"]:
        """Logits of each image; nothing depends on `train`."""
        del train
        y = Dense(self.features, name="embed")(image_patches(x, self.patch))
        for i in range(self.num_blocks):
            y = MixerBlock(self.patch_features, name=f"block{i}")(y)
        y = nn.LayerNorm(name="last_norm")(y).mean(axis=1)
        return Dense(self.num_classes, name="head")(y)
