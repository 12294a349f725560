"""Action distributions. The only module that imports distrax, and only once a distribution is made: it takes 0.7 s."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

if TYPE_CHECKING:
    from distrax import Distribution
else:
    Distribution = Any


def categorical(logits: Float[Array, "*batch action"]) -> Distribution:
    """Over action numbers."""
    import distrax

    return distrax.Categorical(logits=logits)


def gaussian(mean: Float[Array, "*batch"], log_std: Float[Array, "*batch"]) -> Distribution:
    """Over one real number per agent."""
    import distrax

    return distrax.Normal(mean, jnp.exp(log_std))


def gaussians(
    mean: Float[Array, "*batch number"], log_std: Float[Array, "*batch number"]
) -> Distribution:
    """Over several independent real numbers per agent; probabilities are of all of them together."""
    import distrax

    return distrax.MultivariateNormalDiag(mean, jnp.exp(log_std))


def sample_correlated(
    distribution: Distribution,
    noise: Float[Array, "*batch"],
    correlation: Float[Array, ""] | float,
    key: PRNGKeyArray,
    shared: Float[Array, ""] | float = 0.0,
) -> tuple[Array, Float[Array, "*batch"]]:
    r"""Sample an action whose noise resembles that of the decision before.

    $\epsilon_t = \rho\,\epsilon_{t-1} + \sqrt{1 - \rho^2}\,\xi_t,\quad a_t = \mu_t + \sigma\,\epsilon_t$

    Every action has the distribution's own marginal. Categorical actions are drawn independently. With `shared` noise
    $\xi_t = \sqrt{1 - c}\,\zeta_t + \sqrt{c}\,\bar\zeta_t$, where all agents have the same $\bar\zeta_t$: what all
    layers should do together is tried together, and does not drown in what each of them tries.

    Args:
      distribution: of one decision.
      noise: $\epsilon_{t-1}$, standard normal.
      correlation: $\rho$ in [0, 1).
      key: of $\xi_t$.
      shared: $c$ in [0, 1], the share of the variance that all agents, the first axis, have in common.

    Returns:
      The action and $\epsilon_t$.

    References:
      Time-correlated noise in PPO: Hollenstein et al. 2024, arXiv:2312.11091 (there with coloured noise).
    """
    import distrax

    if isinstance(distribution, distrax.Categorical):
        return distribution.sample(seed=key), noise
    common = jax.random.normal(jax.random.fold_in(key, 1), noise.shape[1:])
    fresh = jnp.sqrt(1 - shared) * jax.random.normal(key, noise.shape) + jnp.sqrt(shared) * common
    noise = correlation * noise + jnp.sqrt(1 - jnp.square(correlation)) * fresh
    return distribution.mean() + distribution.stddev() * noise, noise
