r"""Episodic relative entropy policy search: a Gaussian over parameter vectors, moved within a KL bound.

Each iteration draws parameter vectors from the Gaussian $q$, weighs each by $w_j \propto \exp(R_j / \eta)$ of its
return, and fits a Gaussian to the weighted vectors. $\eta$ minimizes the dual
$g(\eta) = \eta \epsilon + \eta \log \frac1N \sum_j \exp(R_j / \eta)$.

References:
  Peters, Muelling and Altun, "Relative entropy policy search", AAAI 2010. For step-size controllers: Daniel, Taylor
  and Nowozin, AAAI 2016. Samples per iteration, iterations, initial covariance and shrinkage are ours.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

_NUM_BISECTIONS = 60
_TINY = 1e-12


@struct.dataclass
class Gaussian:
    """A search distribution."""

    mean: Float[Array, " weight"]
    covariance: Float[Array, "weight weight"]

    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "sample weight"]:
        """`count` independent draws."""
        noise = jax.random.normal(key, (count, *self.mean.shape))
        return self.mean + noise @ jnp.linalg.cholesky(self.covariance).T


def isotropic(
    mean: Float[Array, " weight"], deviations: Float[Array, " weight"] | float
) -> Gaussian:
    """Independent weights with these standard deviations."""
    deviations = jnp.broadcast_to(jnp.asarray(deviations, jnp.float32), mean.shape)
    return Gaussian(mean, jnp.diag(jnp.square(deviations)))


def dual(
    eta: Float[Array, ""], returns: Float[Array, " sample"], epsilon: Float[Array, ""] | float
) -> Float[Array, ""]:
    r"""$g(\eta) = \eta \epsilon + \eta \log \frac1N \sum_j \exp(R_j / \eta)$, convex in $\eta > 0$.

    Args:
      eta: $\eta$, the temperature, in units of a return.
      returns: $R_j$ of each sample, finite.
      epsilon: the bound on the KL divergence, > 0, in nats.
    """
    log_mean = jax.nn.logsumexp(returns / eta) - jnp.log(returns.shape[0])
    return eta * (epsilon + log_mean)


def sample_kl(eta: Float[Array, ""], returns: Float[Array, " sample"]) -> Float[Array, ""]:
    r"""KL divergence of the weights $w_j \propto \exp(R_j / \eta)$ from equal weights; falls with $\eta$.

    $g'(\eta) = \epsilon - \mathrm{KL}$, so the dual's minimum is where this equals $\epsilon$.
    """
    log_weights = jax.nn.log_softmax((returns - jnp.max(returns)) / eta)
    terms = log_weights + jnp.log(returns.shape[0])
    return jnp.sum(jnp.where(log_weights > -80.0, jnp.exp(log_weights) * terms, 0.0))


def solve_dual(
    returns: Float[Array, " sample"], epsilon: Float[Array, ""] | float
) -> Float[Array, ""]:
    r"""The temperature $\eta$ that minimizes the dual: bisection of $g'$ on $\log \eta$, to float precision.

    The search covers 1e-6 to 1e6 times the range of the returns. Where `epsilon` is more than the divergence that the
    samples can have (log N over the number of best ones) the lowest $\eta$ is returned, where equal returns leave
    nothing to choose, any.
    """
    spread = jnp.maximum(jnp.max(returns) - jnp.min(returns), _TINY)
    scaled = (returns - jnp.max(returns)) / spread

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        too_greedy = sample_kl(jnp.exp(middle), scaled) > epsilon
        return jnp.where(too_greedy, middle, low), jnp.where(too_greedy, high, middle)

    bracket = (jnp.log(1e-6), jnp.log(1e6))
    low, high = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, bracket)
    return spread * jnp.exp(0.5 * (low + high))


def weighted_fit(
    samples: Float[Array, "sample weight"],
    weights: Float[Array, " sample"],
    prior: Float[Array, "weight weight"],
    shrinkage: Float[Array, ""] | float,
) -> Gaussian:
    r"""Maximum-likelihood Gaussian of weighted samples, its covariance shrunk: $(1-s)\,\Sigma_{ML} + s\,\Sigma_0$.

    Args:
      samples: parameter vectors.
      weights: >= 0, adding up to 1.
      prior: $\Sigma_0$, positive definite; with $s > 0$ the result is, too, however few samples carry weight.
      shrinkage: $s$, in [0, 1].
    """
    mean = weights @ samples
    centered = samples - mean
    covariance = (centered * weights[:, None]).T @ centered
    return Gaussian(mean, (1 - shrinkage) * covariance + shrinkage * prior)


def gaussian_kl(new: Gaussian, old: Gaussian) -> Float[Array, ""]:
    """KL(new || old) of two Gaussians, in nats."""
    old_factor = jnp.linalg.cholesky(old.covariance)
    new_factor = jnp.linalg.cholesky(new.covariance)
    ratio = jax.scipy.linalg.solve_triangular(old_factor, new_factor, lower=True)
    shift = jax.scipy.linalg.solve_triangular(old_factor, new.mean - old.mean, lower=True)
    log_determinants = 2 * jnp.sum(jnp.log(jnp.diagonal(ratio)))
    trace, distance = jnp.sum(jnp.square(ratio)), jnp.sum(jnp.square(shift))
    return 0.5 * (trace + distance - new.mean.shape[0] - log_determinants)


def within_bound(
    new: Gaussian, old: Gaussian, epsilon: Float[Array, ""] | float
) -> tuple[Gaussian, Float[Array, ""]]:
    r"""The farthest point from `old` towards `new` with KL to `old` of at most `epsilon`, and its share of the way.

    Mean and covariance are interpolated linearly; along that line the divergence only grows, so `new` itself is
    returned where it is close enough, else bisection finds the point.

    Args:
      new: where the samples point.
      old: where they were drawn from.
      epsilon: the bound, > 0, in nats.
    """

    def at(share: Float[Array, ""]) -> Gaussian:
        return jax.tree.map(lambda a, b: a + share * (b - a), old, new)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        fits = gaussian_kl(at(middle), old) <= epsilon
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    low, _ = jax.lax.fori_loop(0, 30, halve, (jnp.zeros(()), jnp.ones(())))
    share = jnp.where(gaussian_kl(new, old) <= epsilon, 1.0, low)
    return at(share), share


@struct.dataclass
class REPS:
    """The strategy: `ask` for parameter vectors, `tell` their returns. Its state is a `Gaussian`."""

    mean: Float[Array, " weight"]  # where the search starts
    epsilon: float = 1.0  # bound on the KL divergence of one update, as published
    shrinkage: float = 1e-3  # towards the covariance before the update
    deviations: Float[Array, " weight"] | float = 1.0  # how far it looks at first

    def init(self) -> Gaussian:
        """The first search distribution."""
        return isotropic(jnp.asarray(self.mean, jnp.float32), self.deviations)

    def ask(self, state: Gaussian, key: PRNGKeyArray, count: int) -> Float[Array, "sample weight"]:
        """Parameter vectors to try.

        Args:
          state: mean and covariance.
          key: of the draw.
          count: how many, >= 1.
        """
        return state.sample(key, count)

    def tell(
        self,
        state: Gaussian,
        samples: Float[Array, "sample weight"],
        returns: Float[Array, " sample"],
    ) -> tuple[Gaussian, dict[str, Float[Array, ""]]]:
        """One update, and what it did: temperature, divergences, effective number of samples.

        Args:
          state: from which the samples were drawn.
          samples: as `ask` gave them.
          returns: of each sample; a larger one is better.
        """
        eta = solve_dual(returns, self.epsilon)
        weights = jax.nn.softmax((returns - jnp.max(returns)) / eta)
        fitted = weighted_fit(samples, weights, state.covariance, self.shrinkage)
        new, share = within_bound(fitted, state, self.epsilon)
        metrics = {
            "eta": eta,
            "sample_kl": sample_kl(eta, returns),
            "fit_kl": gaussian_kl(fitted, state),
            "kl": gaussian_kl(new, state),
            "share_of_fit": share,
            "effective_samples": 1.0 / jnp.sum(jnp.square(weights)),
        }
        return new, metrics

    def best(self, state: Gaussian) -> Float[Array, " weight"]:
        """The parameter vector to use: the mean."""
        return state.mean
