"""What candidates are worth beside each other, and the gradient that follows."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def standardized(returns: Float[Array, "candidate member"]) -> Float[Array, "candidate member"]:
    """Zero mean and unit variance over the candidates, in each member."""
    centered = returns - jnp.mean(returns, axis=0)
    return centered / (jnp.sqrt(jnp.mean(jnp.square(centered), axis=0)) + 1e-8)


def centered_ranks(returns: Float[Array, "candidate member"]) -> Float[Array, "candidate member"]:
    """From -1/2 for the lowest to 1/2 for the highest candidate of each member; equal ones share their mean rank."""
    lower = jnp.sum(returns[:, None] > returns[None], axis=1)
    higher = jnp.sum(returns[:, None] < returns[None], axis=1)
    return (lower - higher) / (2.0 * max(returns.shape[0] - 1, 1))


def antithetic_gradient(
    perturbation: Any, difference: Float[Array, " pair"], deviation: Float[Array, ""] | float
) -> Any:
    r"""$\frac{1}{2 P \sigma} \sum_p \xi_p\,(f^+_p - f^-_p)$ for a pytree of $\xi$ `[pair, ...]`.

    Args:
      perturbation: $\xi$, leaves `[pair, ...]`, standard normal.
      difference: $f^+_p - f^-_p$, what the pair's two candidates were worth.
      deviation: $\sigma > 0$, by which $\xi$ was multiplied.

    Returns:
      A tree like the perturbation without its first axis; along it what candidates are worth rises.
    """
    share = difference / (2.0 * deviation * difference.shape[0])
    return jax.tree.map(lambda x: jnp.tensordot(share, x, axes=1), perturbation)
