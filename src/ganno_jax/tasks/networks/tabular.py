"""A network for tables: embeddings of categories beside numeric columns, then residual dense blocks."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ganno_jax.tasks.networks.layers import Dense, require_positive


class TabularBlock(nn.Module):
    """A two-layer perceptron on a normalized input, added to it."""

    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch features"]:
        y = nn.LayerNorm(name="norm0")(x)
        y = jax.nn.relu(Dense(self.hidden, "he_normal", name="dense0")(y))
        return x + Dense(x.shape[-1], name="dense1")(y)


class Tabular(nn.Module):
    """`embed0`, ... for the category columns, `stem`, `block0`, ..., a last norm, `head`.

    Attributes:
      cardinalities: categories of each of the first columns, whose values are ids below them; the columns
        after these are numeric. () for a table of numbers.
      num_classes: logits, or numbers of a regression.
      embed_features: size of the vector of a category.
      features: size of the residual stream.
      num_blocks: how many blocks, each with twice as many hidden units.

    Raises:
      ValueError: a size below 1; when called, fewer columns than cardinalities.

    References:
      The ResNet of Gorishniy et al. 2021, "Revisiting deep learning models for tabular data", arXiv:2106.11959,
      with layer norm in the place of batch norm and without dropout.
    """

    cardinalities: tuple[int, ...] = ()
    num_classes: int = 2
    embed_features: int = 4
    features: int = 32
    num_blocks: int = 2

    def __post_init__(self) -> None:
        require_positive(
            cardinalities=self.cardinalities,
            num_classes=self.num_classes,
            embed_features=self.embed_features,
            features=self.features,
            num_blocks=self.num_blocks,
        )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch column"], *, train: bool = False
    ) -> Float[Array, "batch num_classes"]:
        """Logits of each row; nothing depends on `train`."""
        del train
        count = len(self.cardinalities)
        if x.ndim != 2 or x.shape[1] < count:
            raise ValueError(
                f"the table must have [row, column] with {count} columns of categories first; got {x.shape}."
            )
        ids = x[:, :count].astype(jnp.int32)
        parts = [
            nn.Embed(size, self.embed_features, name=f"embed{i}")(ids[:, i])
            for i, size in enumerate(self.cardinalities)
        ]
        y = jnp.concatenate([*parts, x[:, count:]], axis=1)
        y = Dense(self.features, name="stem")(y)
        for i in range(self.num_blocks):
            y = TabularBlock(2 * self.features, name=f"block{i}")(y)
        return Dense(self.num_classes, name="head")(nn.LayerNorm(name="last_norm")(y))
