"""Action distributions. The only module that imports distrax."""

import distrax
import jax.numpy as jnp
from jaxtyping import Array, Float

Distribution = distrax.Distribution


def categorical(logits: Float[Array, "*batch action"]) -> Distribution:
    """Over action numbers."""
    return distrax.Categorical(logits=logits)


def gaussian(mean: Float[Array, "*batch"], log_std: Float[Array, "*batch"]) -> Distribution:
    """Over one real action per agent."""
    return distrax.Normal(mean, jnp.exp(log_std))
