"""Language models on token ids: recurrent networks and a small causal Transformer."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from ganno_jax.tasks.networks.layers import Dense, require_positive


class _Recurrent(nn.Module):
    """Recurrent layers over time between `embed` and `head`; the subclasses say of which cells.

    Attributes:
      vocab_size: token ids are below it.
      features: units of each recurrent layer.
      embed_features: size of the token vectors.

    Raises:
      ValueError: no recurrent layer or a size below 1.
    """

    vocab_size: int = 64
    features: tuple[int, ...] = (64,)
    embed_features: int = 32

    cell: ClassVar[type[nn.RNNCellBase]]
    layer: ClassVar[str]  # name of a recurrent layer, before its number

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("`features` needs at least one recurrent layer; got ().")
        require_positive(
            vocab_size=self.vocab_size, features=self.features, embed_features=self.embed_features
        )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Int[Array, "batch length"], *, train: bool = False
    ) -> Float[Array, "batch length vocab_size"]:
        """Logits of the token that follows each position; nothing depends on `train`."""
        del train
        y = nn.Embed(self.vocab_size, self.embed_features, name="embed")(x)
        for i, size in enumerate(self.features):
            y = nn.RNN(self.cell(size, name=f"{self.layer}{i}"), name=f"rnn{i}")(y)
        return Dense(self.vocab_size, name="head")(y)


class GRU(_Recurrent):
    """Gated recurrent units, `gru0`, `gru1`, ..., between `embed` and `head`; attributes as in `_Recurrent`."""

    cell, layer = nn.GRUCell, "gru"


class LSTM(_Recurrent):
    """Long short-term memory, `lstm0`, `lstm1`, ..., between `embed` and `head`; attributes as in `_Recurrent`.

    References:
      Hochreiter and Schmidhuber 1997, "Long short-term memory"; orthogonal recurrent kernels and zero biases
      as Flax draws them.
    """

    cell, layer = nn.OptimizedLSTMCell, "lstm"


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer perceptron, each on a normalized input and added to it."""

    heads: int
    causal: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch length features"]
    ) -> Float[Array, "batch length features"]:
        batch, length, features = x.shape
        y = nn.LayerNorm(name="norm0")(x)
        qkv = Dense(3 * features, name="attention_in")(y)
        query, key, value = jnp.moveaxis(
            qkv.reshape(batch, length, 3, self.heads, features // self.heads), 2, 0
        )
        y = jax.nn.dot_product_attention(query, key, value, is_causal=self.causal)
        x = x + Dense(features, name="attention_out")(y.reshape(batch, length, features))
        y = nn.LayerNorm(name="norm1")(x)
        y = jax.nn.gelu(Dense(4 * features, "he_normal", name="dense0")(y))
        return x + Dense(features, name="dense1")(y)


class Transformer(nn.Module):
    """A causal Transformer: `embed`, learned positions, `block0`, ..., a last norm, `head`.

    Attributes:
      vocab_size: token ids are below it.
      features: size of the token vectors.
      num_blocks: how many blocks.
      heads: attention heads; must divide `features`.
      max_length: longest sequence.

    Raises:
      ValueError: a size below 1, heads that do not divide the features; when called, a sequence
        that is too long.
    """

    vocab_size: int = 64
    features: int = 64
    num_blocks: int = 2
    heads: int = 4
    max_length: int = 128

    def __post_init__(self) -> None:
        require_positive(
            vocab_size=self.vocab_size,
            features=self.features,
            num_blocks=self.num_blocks,
            heads=self.heads,
            max_length=self.max_length,
        )
        require_divisible(self.features, self.heads)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, x: Int[Array, "batch length"], *, train: bool = False
    ) -> Float[Array, "batch length vocab_size"]:
        """Logits of the token that follows each position; nothing depends on `train`."""
        del train
        length = x.shape[1]
        if length > self.max_length:
            raise ValueError(f"sequences may have {self.max_length} tokens at most; got {length}.")
        y = nn.Embed(self.vocab_size, self.features, name="embed")(x)
        places = nn.Embed(self.max_length, self.features, name="embed_position")
        y = y + places(jnp.arange(length))
        for i in range(self.num_blocks):
            y = TransformerBlock(self.heads, causal=True, name=f"block{i}")(y)
        return Dense(self.vocab_size, name="head")(nn.LayerNorm(name="last_norm")(y))


def require_divisible(features: int, heads: int) -> None:
    """`ValueError` unless attention heads share the features evenly."""
    if features % heads:
        raise ValueError(f"`heads` must divide `features`; got {heads} heads, {features} features.")
