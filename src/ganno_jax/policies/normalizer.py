"""Running mean and variance, stored with the policy and frozen with it."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

_NEVER_VARIED = 1e-8  # a variance up to this counts as none; features are of the order of 1


@struct.dataclass
class Normalizer:
    """Weighted moments of what was seen so far."""

    count: Float[Array, ""]
    mean: Float[Array, " feature"]
    second: Float[Array, " feature"]  # mean of squared differences from the mean

    def __call__(self, x: Float[Array, "*batch feature"]) -> Float[Array, "*batch feature"]:
        """Zero mean and unit variance, clipped to [-5, 5].

        A feature that never varied is zero whatever its value: weights that learned nothing must not act on it
        where it takes another one, such as the kind of a layer that no training network had.
        """
        normalized = jnp.clip((x - self.mean) / jnp.sqrt(self.second + 1e-4), -5.0, 5.0)
        return jnp.where(self.second > _NEVER_VARIED, normalized, 0.0)

    def invert(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """From normalized back to natural units (for one feature, `[..., 1]` or scalars)."""
        return x * jnp.sqrt(self.second[0] + 1e-4) + self.mean[0]

    def merged(
        self,
        weight: Float[Array, ""],
        total: Float[Array, " feature"],
        total_square: Float[Array, " feature"],
        largest_count: float,
    ) -> "Normalizer":
        """Merge a batch given by its sums of weights, of values and of squared differences from `self.mean`.

        Args:
          weight: sum of the weights, >= 0.
          total: weighted sum of differences from `self.mean`, which keeps float32 precise.
          total_square: weighted sum of squared differences from `self.mean`.
          largest_count: cap on the old count, so that old data are forgotten in the long run.
        """
        old = jnp.minimum(self.count, largest_count)
        count = old + weight
        share = weight / jnp.maximum(count, 1.0)
        delta = total / jnp.maximum(weight, 1.0)  # batch mean minus old mean
        batch_second = jnp.maximum(total_square / jnp.maximum(weight, 1.0) - jnp.square(delta), 0.0)
        second = (1 - share) * self.second + share * batch_second
        second = second + share * (1 - share) * jnp.square(delta)
        return Normalizer(count, self.mean + share * delta, second)


def empty_normalizer(num_features: int) -> Normalizer:
    """The identity, until something was seen."""
    return Normalizer(jnp.zeros(()), jnp.zeros(num_features), jnp.ones(num_features))


def deviation_sums(
    x: Float[Array, "*batch feature"],
    mean: Float[Array, " feature"],
    weight: Float[Array, "*batch"],
) -> tuple[Float[Array, ""], Float[Array, " feature"], Float[Array, " feature"]]:
    """Sum of weights, and weighted sums of differences from `mean` and of their squares.

    Args:
      x: values.
      mean: what differences are from.
      weight: of each, >= 0.
    """
    axes = tuple(range(x.ndim - 1))
    difference = (x - mean) * weight[..., None]
    square = jnp.square(x - mean) * weight[..., None]
    return jnp.sum(weight), jnp.sum(difference, axes), jnp.sum(square, axes)
