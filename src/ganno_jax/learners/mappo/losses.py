"""Policy and value losses, elementwise; the caller takes the weighted mean."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def clipped_policy_loss(
    log_ratio: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    clip: Float[Array, ""] | float,
) -> Float[Array, "*batch"]:
    r"""PPO's clipped surrogate, negated: $-\min(\rho A,\ \mathrm{clip}(\rho, 1-\epsilon, 1+\epsilon) A)$.

    Args:
      log_ratio: $\log\rho$, new minus old log probability of the action taken, one per agent.
      advantage: $A$.
      clip: $\epsilon > 0$.

    References:
      Schulman et al. 2017, arXiv:1707.06347, equation 7.
    """
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    return -jnp.minimum(ratio * advantage, clipped * advantage)


def clipped_value_loss(
    value: Float[Array, "*batch"],
    old_value: Float[Array, "*batch"],
    target: Float[Array, "*batch"],
    clip: Float[Array, ""] | float,
) -> Float[Array, "*batch"]:
    """Half the squared error, or that of a value within `clip` of the old one where this is larger.

    Args:
      value: of the critic, in any unit.
      old_value: of the critic that collected the experience, in the same unit.
      target: in the same unit.
      clip: > 0, in the same unit.
    """
    limited = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(limited - target))


def approximate_kl(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""Estimate of $KL(\text{old} \| \text{new})$ from old samples: $\rho - 1 - \log\rho \ge 0$ (Schulman 2020)."""
    return jnp.exp(log_ratio) - 1 - log_ratio
