"""Controls for REPS with the same budget: CMA-ES and random search. Both `ask` and `tell` as it does.

Our own CMA-ES, because five numbers need forty lines and no further dependency.

References:
  Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772, with its default constants.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray


@struct.dataclass
class CMAState:
    """The search distribution N(mean, step^2 covariance) and its two paths."""

    mean: Float[Array, " weight"]
    step: Float[Array, ""]
    covariance: Float[Array, "weight weight"]
    covariance_path: Float[Array, " weight"]
    step_path: Float[Array, " weight"]
    generation: Int[Array, ""]


@struct.dataclass
class CMAES:
    """Covariance matrix adaptation with rank-one and rank-mu updates; the larger return is the better."""

    mean: Float[Array, " weight"]  # where the search starts
    deviations: Float[Array, " weight"] | float = 1.0

    def init(self) -> CMAState:
        """Before the first generation."""
        mean = jnp.asarray(self.mean, jnp.float32)
        deviations = jnp.broadcast_to(jnp.asarray(self.deviations, jnp.float32), mean.shape)
        zeros = jnp.zeros_like(mean)
        covariance = jnp.diag(jnp.square(deviations))
        return CMAState(mean, jnp.ones(()), covariance, zeros, zeros, jnp.zeros((), jnp.int32))

    def ask(self, state: CMAState, key: PRNGKeyArray, count: int) -> Float[Array, "sample weight"]:
        """Parameter vectors to try.

        Args:
          state: mean, step and covariance.
          key: of the draw.
          count: how many, >= 1.
        """
        noise = jax.random.normal(key, (count, *state.mean.shape))
        return state.mean + state.step * noise @ jnp.linalg.cholesky(state.covariance).T

    def tell(
        self,
        state: CMAState,
        samples: Float[Array, "sample weight"],
        returns: Float[Array, " sample"],
    ) -> tuple[CMAState, dict[str, Float[Array, ""]]]:
        """One generation.

        Args:
          state: from which the samples were drawn.
          samples: as `ask` gave them, at least 2.
          returns: of each sample; the larger is the better, only their order counts.

        Returns:
          The state of the next generation, and its step.
        """
        size, n = samples.shape
        parents = size // 2
        recombination = math.log((size + 1) / 2) - np.log(np.arange(1, parents + 1))
        recombination = recombination / recombination.sum()
        mass = 1.0 / np.square(recombination).sum()
        step_rate = (mass + 2) / (n + mass + 5)
        damping = 1 + 2 * max(0.0, math.sqrt((mass - 1) / (n + 1)) - 1) + step_rate
        path_rate = (4 + mass / n) / (n + 4 + 2 * mass / n)
        rank_one = 2 / ((n + 1.3) ** 2 + mass)
        rank_mu = min(1 - rank_one, 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
        usual_norm = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))

        best = samples[jnp.argsort(-returns)[:parents]]
        steps = (best - state.mean) / state.step
        move = recombination @ steps
        values, vectors = jnp.linalg.eigh(state.covariance)
        whitened = vectors @ ((vectors.T @ move) / jnp.sqrt(jnp.maximum(values, 1e-20)))
        step_path = (1 - step_rate) * state.step_path
        step_path += math.sqrt(step_rate * (2 - step_rate) * mass) * whitened
        length = jnp.linalg.norm(step_path)
        generation = state.generation + 1
        settled = jnp.sqrt(1 - (1 - step_rate) ** (2.0 * generation))
        moving = (length / settled < (1.4 + 2 / (n + 1)) * usual_norm).astype(jnp.float32)
        path = (1 - path_rate) * state.covariance_path
        path += moving * math.sqrt(path_rate * (2 - path_rate) * mass) * move
        kept = 1 - rank_one - rank_mu + (1 - moving) * rank_one * path_rate * (2 - path_rate)
        covariance = (
            kept * state.covariance
            + rank_one * jnp.outer(path, path)
            + rank_mu * (steps * recombination[:, None]).T @ steps
        )
        step = state.step * jnp.exp(step_rate / damping * (length / usual_norm - 1))
        state = CMAState(
            state.mean + state.step * move, step, covariance, path, step_path, generation
        )
        return state, {"step": step}

    def best(self, state: CMAState) -> Float[Array, " weight"]:
        """The parameter vector to use: the mean."""
        return state.mean


@struct.dataclass
class Incumbent:
    """The best parameter vector so far."""

    best: Float[Array, " weight"]


@struct.dataclass
class RandomSearch:
    """Draws from one Gaussian for ever; keeps what beats the incumbent, which is tried again every time.

    Challengers meet the incumbent on the same tasks, so a lucky draw of tasks does not win by itself.
    """

    mean: Float[Array, " weight"]  # where the search starts
    deviations: Float[Array, " weight"] | float = 1.0

    def init(self) -> Incumbent:
        """The mean is the first incumbent."""
        return Incumbent(jnp.asarray(self.mean, jnp.float32))

    def ask(self, state: Incumbent, key: PRNGKeyArray, count: int) -> Float[Array, "sample weight"]:
        """The incumbent, and `count - 1` new parameter vectors.

        Args:
          state: the incumbent.
          key: of the draw.
          count: how many together, >= 1.
        """
        mean = jnp.asarray(self.mean, jnp.float32)
        noise = jax.random.normal(key, (count - 1, *mean.shape))
        return jnp.concatenate([state.best[None], mean + noise * jnp.asarray(self.deviations)])

    def tell(
        self,
        state: Incumbent,
        samples: Float[Array, "sample weight"],
        returns: Float[Array, " sample"],
    ) -> tuple[Incumbent, dict[str, Float[Array, ""]]]:
        """The best of this round.

        Args:
          state: not used; the incumbent is the first of the samples.
          samples: as `ask` gave them.
          returns: of each sample on the same tasks; the larger is the better.

        Returns:
          The best as the new incumbent, and whether it is another one.
        """
        del state
        winner = jnp.argmax(returns)
        return Incumbent(samples[winner]), {"replaced": (winner > 0).astype(jnp.float32)}

    def best(self, state: Incumbent) -> Float[Array, " weight"]:
        """The parameter vector to use: the incumbent."""
        return state.best
