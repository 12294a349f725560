"""Actor and critic. Every layer's agent shares them; they see any number of layers."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

CriticKind = Literal["central", "local"]
_orthogonal = nn.initializers.orthogonal


class Torso(nn.Module):
    """Two hidden layers; with `recurrent` the second is a GRU with one memory per layer of the inner network."""

    hidden: int = 64
    recurrent: bool = False

    @nn.compact
    def __call__(
        self, memory: Float[Array, "*batch layer hidden"], x: Float[Array, "*batch layer feature"]
    ) -> tuple[Float[Array, "*batch layer hidden"], Float[Array, "*batch layer hidden"]]:
        x = jnp.tanh(nn.Dense(self.hidden, kernel_init=_orthogonal(2**0.5), name="dense0")(x))
        if self.recurrent:
            memory, x = nn.GRUCell(self.hidden, name="gru")(memory, x)
        else:
            x = jnp.tanh(nn.Dense(self.hidden, kernel_init=_orthogonal(2**0.5), name="dense1")(x))
        return memory, x


class Actor(nn.Module):
    """Features of a layer to the parameters of its agent's action distribution.

    Categorical agents get logits `[..., layer, action]`; real-valued ones (`num_actions=None`) a mean and a log
    standard deviation `[..., layer]`, or `[..., layer, number]` where an agent names several. The deviations are
    learned, one for each number, and shared by all layers.
    """

    num_actions: int | None
    hidden: int = 64
    recurrent: bool = False
    initial_log_std: float = -0.7
    num_numbers: int = 1  # real numbers of an agent; more than one have an axis of their own

    @nn.compact
    def __call__(
        self, memory: Float[Array, "*batch layer hidden"], features: Float[Array, "*batch layer f"]
    ) -> tuple[Float[Array, "*batch layer hidden"], tuple[Array, Array | None]]:
        memory, x = Torso(self.hidden, self.recurrent, name="torso")(memory, features)
        if self.num_actions is not None:
            logits = nn.Dense(self.num_actions, kernel_init=_orthogonal(0.01), name="logits")(x)
            return memory, (logits, None)
        mean = nn.Dense(self.num_numbers, kernel_init=_orthogonal(0.01), name="mean")(x)
        initial = nn.initializers.constant(self.initial_log_std)
        shape = (self.num_numbers,) if self.num_numbers > 1 else ()
        mean = mean if shape else mean[..., 0]
        log_std = self.param("log_std", initial, shape)
        return memory, (mean, jnp.broadcast_to(jnp.clip(log_std, -4.0, 1.0), mean.shape))


class Critic(nn.Module):
    """Values of the layers' agents, in normalized units.

    "central" (MAPPO) adds the mean of an embedding over the layers present; "local" (IPPO) sees each layer alone.
    """

    kind: CriticKind = "central"
    hidden: int = 64
    recurrent: bool = False

    @nn.compact
    def __call__(
        self,
        memory: Float[Array, "*batch layer hidden"],
        features: Float[Array, "*batch layer f"],
        mask: Bool[Array, "*batch layer"],
    ) -> tuple[Float[Array, "*batch layer hidden"], Float[Array, "*batch layer"]]:
        x = features
        if self.kind == "central":
            embedding = jnp.tanh(
                nn.Dense(self.hidden, kernel_init=_orthogonal(2**0.5), name="embed")(features)
            )
            x = jnp.concatenate([features, pool(embedding, mask)], axis=-1)
        memory, x = Torso(self.hidden, self.recurrent, name="torso")(memory, x)
        return memory, nn.Dense(1, kernel_init=_orthogonal(1.0), name="value")(x)[..., 0]


def pool(
    x: Float[Array, "*batch layer hidden"], mask: Bool[Array, "*batch layer"]
) -> Float[Array, "*batch layer hidden"]:
    """Mean over the layers present, given to each of them."""
    weight = mask.astype(x.dtype)[..., None]
    mean = jnp.sum(x * weight, -2, keepdims=True) / jnp.maximum(
        jnp.sum(weight, -2, keepdims=True), 1
    )
    return jnp.broadcast_to(mean, x.shape)


def empty_memory(module: Actor | Critic, *shape: int) -> Float[Array, "*shape hidden"]:
    """The memory at the start of an episode; one unused number for a feed-forward network, as checkpoints hold none."""
    return jnp.zeros((*shape, module.hidden if module.recurrent else 1), jnp.float32)


def unroll(module: Actor | Critic, params, memory, *inputs):
    """Apply a network along the leading time axis of `inputs`; outputs have a leading time axis.

    Args:
      module: actor or critic.
      params: its weights.
      memory: before the first time, `[..., hidden]`.
      *inputs: arrays `[time, ...]`, as the module takes them.
    """
    if not module.recurrent:
        time = jax.tree.leaves(inputs)[0].shape[0]
        memories = jnp.broadcast_to(memory, (time, *memory.shape))
        return module.apply(params, memories, *inputs)[1]

    def step(memory, inputs):
        return module.apply(params, memory, *inputs)

    return jax.lax.scan(step, memory, inputs)[1]
