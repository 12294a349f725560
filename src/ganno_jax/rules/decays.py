r"""Internal decays of the sign rules, and the learning-rate schedules of Neural Optimizer Search.

All are Optax schedules: functions of the number of steps already taken, so $t = 0$ at the first
step. Past `total_steps` they keep their last value.

References:
  Bello et al. 2017, arXiv:1709.07417. Formulas and defaults: TensorFlow 1.x,
  `contrib/opt/python/training/sign_decay.py` (the internal decays) and `train.linear_cosine_decay`,
  `train.noisy_linear_cosine_decay`.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

Count = Int[Array, ""] | int
Number = Float[Array, ""] | Int[Array, ""] | float | int


def _progress(count: Count, total_steps: Number) -> Float[Array, ""]:
    """$\\min(t, T) / T$."""
    return jnp.minimum(count, total_steps) / jnp.asarray(total_steps, jnp.float32)


def linear_factor(count: Count, total_steps: Number) -> Float[Array, ""]:
    r"""`ld`: $\max(0, (T - t) / T)$."""
    return 1.0 - _progress(count, total_steps)


def cosine_factor(count: Count, total_steps: Number, num_periods: Number = 0.5) -> Float[Array, ""]:
    r"""`cd`: $\tfrac12 (1 + \cos(2 \pi n t / T))$; half a period takes 1 to 0.

    Args:
      count: $t$, updates made.
      total_steps: $T$ of the training; later counts as that.
      num_periods: $n > 0$.
    """
    return 0.5 * (1.0 + jnp.cos(2.0 * jnp.pi * num_periods * _progress(count, total_steps)))


def restart_factor(
    count: Count, total_steps: Number, num_periods: Number = 2.0
) -> Float[Array, ""]:
    r"""`rd`: $\tfrac12 (1 + \cos(\pi\,((n t) \bmod T) / T))$; back to 1 at the start of each of $n$ periods.

    TensorFlow's default of one period never restarts and is `cosine_factor` of half a period; ours is two. At $t = T$
    the formula gives 1 for every whole $n$: the restart that would follow.

    Args:
      count: $t$, updates made.
      total_steps: $T$ of the training; later counts as that.
      num_periods: $n > 0$.
    """
    fraction = jnp.mod(num_periods * jnp.minimum(count, total_steps), total_steps) / total_steps
    return 0.5 * (1.0 + jnp.cos(jnp.pi * fraction))


def linear_decay(total_steps: Number) -> optax.Schedule:
    """`linear_factor` as a schedule."""
    return lambda count: linear_factor(count, total_steps)


def cosine_decay(
    total_steps: Number, num_periods: Number = 0.5, zero_after: Number | None = None
) -> optax.Schedule:
    """`cosine_factor` as a schedule, zero after `zero_after` periods where that is given.

    Args:
      total_steps: of the training.
      num_periods: in it, > 0.
      zero_after: in periods; None for never.
    """

    def schedule(count):
        factor = cosine_factor(count, total_steps, num_periods)
        return _cut(factor, num_periods * _progress(count, total_steps), zero_after)

    return schedule


def restart_decay(
    total_steps: Number, num_periods: Number = 2.0, zero_after: Number | None = None
) -> optax.Schedule:
    """`restart_factor` as a schedule, zero after `zero_after` periods where that is given.

    Args:
      total_steps: of the training.
      num_periods: in it, > 0.
      zero_after: in periods; None for never.
    """

    def schedule(count):
        factor = restart_factor(count, total_steps, num_periods)
        return _cut(factor, num_periods * _progress(count, total_steps), zero_after)

    return schedule


def _cut(factor, periods, zero_after):
    return factor if zero_after is None else jnp.where(periods >= zero_after, 0.0, factor)


def linear_cosine(
    learning_rate: Number,
    total_steps: Number,
    *,
    num_periods: Number = 0.5,
    alpha: Number = 0.0,
    beta: Number = 0.001,
) -> optax.Schedule:
    r"""The linear-cosine learning rate that the search found.

    $\eta_t = \eta_0 [(\alpha + (T - t)/T) \cdot \tfrac12 (1 + \cos(2 \pi n t / T)) + \beta]$

    Args:
      learning_rate: $\eta_0 > 0$.
      total_steps: $T$ of the training.
      num_periods: $n > 0$ of the cosine.
      alpha: $\alpha$, added to the linear decay.
      beta: $\beta$, added at the end, in units of the learning rate.
    """

    def schedule(count):
        cosine = cosine_factor(count, total_steps, num_periods)
        return learning_rate * ((alpha + linear_factor(count, total_steps)) * cosine + beta)

    return schedule


def noisy_linear_cosine(
    learning_rate: Number,
    total_steps: Number,
    *,
    seed: int,
    initial_variance: Number = 1.0,
    variance_decay: Number = 0.55,
    num_periods: Number = 0.5,
    alpha: Number = 0.0,
    beta: Number = 0.001,
) -> optax.Schedule:
    r"""`linear_cosine` with annealed Gaussian noise beside $\alpha$.

    $\eta_t = \eta_0 [(\alpha + \epsilon_t + (T - t)/T) \cdot \tfrac12 (1 + \cos(2 \pi n t / T)) +
    \beta]$,
    $\epsilon_t \sim N(0, \sigma_0^2 / (1 + t)^{0.55})$. The rate can be negative, as published; the
    noise of a step depends on `seed` and the step alone.

    Args:
      learning_rate: $\eta_0 > 0$.
      total_steps: $T$ of the training.
      seed: of the noise.
      initial_variance: $\sigma_0^2 \ge 0$ of the first step.
      variance_decay: the power with which the variance falls, >= 0; 0.55 in the formula.
      num_periods: $n > 0$ of the cosine.
      alpha: $\alpha$, added to the linear decay.
      beta: $\beta$, added at the end, in units of the learning rate.
    """

    def schedule(count):
        step = jnp.minimum(count, total_steps)
        key = jax.random.fold_in(jax.random.key(seed), step)
        deviation = jnp.sqrt(initial_variance / (1.0 + step) ** variance_decay)
        noisy = alpha + linear_factor(count, total_steps) + deviation * jax.random.normal(key)
        return learning_rate * (noisy * cosine_factor(count, total_steps, num_periods) + beta)

    return schedule
