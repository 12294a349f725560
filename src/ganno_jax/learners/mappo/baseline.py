"""What returns are compared with besides the mean of the group: the values of a critic, or nothing."""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from ganno_jax.policies.networks import Critic, empty_memory, unroll
from ganno_jax.policies.normalizer import Normalizer


@struct.dataclass
class Baseline:
    """A critic with its weights and the scale of its values; without one every value is 0."""

    critic: Critic | None = struct.field(pytree_node=False)
    params: Any = None
    normalizer: Normalizer | None = None

    def init(self, *shape: int) -> Float[Array, "*shape hidden"]:
        """Empty memories."""
        return jnp.zeros((*shape, 1)) if self.critic is None else empty_memory(self.critic, *shape)

    def __call__(
        self,
        memory: Float[Array, "*batch layer hidden"],
        features: Float[Array, "*batch layer f"],
        mask: Bool[Array, "*batch layer"],
    ) -> tuple[Float[Array, "*batch layer hidden"], Float[Array, "*batch layer"]]:
        """New memories and values, in normalized units."""
        if self.critic is None:
            return memory, jnp.zeros(mask.shape)
        return self.critic.apply(self.params, memory, features, mask)

    def unroll(
        self,
        memory: Float[Array, "env layer hidden"],
        features: Float[Array, "time env layer f"],
        mask: Bool[Array, "time env layer"],
    ) -> Float[Array, "time env layer"]:
        """Values along the time axis, in normalized units; there must be a critic.

        Args:
          memory: of the critic, before the first decision.
          features: prepared as for the agents (`AgentPolicy.prepare`).
          mask: which layers there are.
        """
        assert self.critic is not None
        return unroll(self.critic, self.params, memory, features, mask)

    def normalized(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """From natural units."""
        return x if self.normalizer is None else self.normalizer(x[..., None])[..., 0]

    def natural(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """From normalized units."""
        return x if self.normalizer is None else self.normalizer.invert(x)
