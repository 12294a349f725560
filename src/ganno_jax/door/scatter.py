"""What is usual for a positive number that a training shows at every step, such as its loss."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_MEMORY = 0.98  # per step
_TINY = 1e-30


class Scatter(NamedTuple):
    """Running mean and variance of the logarithm."""

    num_seen: Float[Array, ""]
    mean: Float[Array, ""]
    variance: Float[Array, ""]


def empty_scatter() -> Scatter:
    """Nothing seen."""
    zero = jnp.zeros((), jnp.float32)
    return Scatter(zero, zero, zero)


def highest_usual(
    scatter: Scatter, deviations: float, factor: float, first_factor: float
) -> Float[Array, ""]:
    r"""The largest number that is no outlier: $\exp(\mu + k \sigma) f$; infinity before there is any.

    Args:
      scatter: $\mu$ and $\sigma^2$ of the logarithm so far.
      deviations: $k$.
      factor: $f$, how far even a training without scatter may jump.
      first_factor: of the second number, when nothing is known of the scatter; falls to `factor` as one over the count.
    """
    known = scatter.num_seen / jnp.maximum(scatter.num_seen, 1.0)
    share = 1.0 / jnp.maximum(scatter.num_seen, 1.0)
    log_factor = jnp.log(factor) + share * (jnp.log(first_factor) - jnp.log(factor))
    limit = scatter.mean + deviations * jnp.sqrt(scatter.variance) + log_factor
    return jnp.where(known > 0, jnp.exp(limit), jnp.inf)


def seen(scatter: Scatter, value: Float[Array, ""], highest: Float[Array, ""]) -> Scatter:
    """With one more number; one above `highest` counts as that, so that an outlier does not become the rule.

    Args:
      scatter: of the values before.
      value: the next one, > 0.
      highest: as what a larger value counts.
    """
    log = jnp.log(jnp.maximum(jnp.minimum(value, highest), _TINY))
    first = scatter.num_seen == 0
    count = scatter.num_seen + 1
    memory = jnp.minimum(_MEMORY, 1.0 - 1.0 / count)  # a plain mean at first
    change = jnp.where(first, 0.0, log - scatter.mean)
    mean = jnp.where(first, log, scatter.mean + (1 - memory) * change)
    variance = memory * (scatter.variance + (1 - memory) * jnp.square(change))
    return Scatter(count, mean, variance)


def is_known(scatter: Scatter, count: int) -> Bool[Array, ""]:
    """Whether so many numbers were seen."""
    return scatter.num_seen >= count
