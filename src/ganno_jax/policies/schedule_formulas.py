"""Formulas of handcrafted schedules: the rate as a function of the inner step, the same for every layer.

A schedule is `schedule(step, total_steps, peak, **numbers) -> rate`. Everything is traced: `step`
may be an array, every number may be batched. Three rules make the schedules comparable:

- `peak` is the largest rate that the schedule reaches, so tuning the peak tunes all of them alike;
- what depends on the horizon is a fraction of `total_steps`, rounded to whole steps, so that a
  restart or a peak falls on a step;
- `final_factor` is the rate at `step == total_steps`, one step after the last, as a share of the
  peak.

References: PyTorch, `torch.optim.lr_scheduler` (the forms); Optax, `optax.schedules` (where it has
the schedule, the tests compare with it). docs/schedules.md lists formulas, defaults and their
sources.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganno_jax.policies.schedule_parts import (
    Number,
    Rate,
    Steps,
    Total,
    half_cosine,
    progress,
    whole_steps,
)


def constant(step: Steps, total_steps: Total, peak: Number) -> Rate:
    """The same rate at every step.

    Args:
      step: the inner step, from 0.
      total_steps: $T$; not used.
      peak: the rate, > 0.
    """
    return jnp.broadcast_to(jnp.asarray(peak, float), jnp.shape(step))


def step_decay(
    step: Steps, total_steps: Total, peak: Number, decay: Number = 0.1, num_stages: Number = 3
) -> Rate:
    r"""$\eta_t = \eta\,\gamma^{\lfloor t/s \rfloor}$ with $s = T/n$: `num_stages` equal stages.

    PyTorch's `StepLR` (its default decay 0.1); three stages as in PyTorch's ImageNet example (every
    30 of 90 epochs).

    Args:
      step: $t$, the inner step, from 0.
      total_steps: $T$ of the training.
      peak: $\eta$, the first and largest rate, > 0.
      decay: $\gamma$ in (0, 1].
      num_stages: $n \ge 1$.
    """
    stage = jnp.asarray(step) // whole_steps(1.0 / num_stages, total_steps, at_least=1)
    return peak * decay ** jnp.minimum(stage, jnp.ceil(num_stages) - 1)


def multi_step(
    step: Steps,
    total_steps: Total,
    peak: Number,
    decay: Number = 0.1,
    milestones: Float[Array, " milestone"] | tuple[float, ...] = (0.5, 0.75),
) -> Rate:
    r"""$\eta_t = \eta\,\gamma^{\#\{m:\ m T \le t\}}$: the rate falls at each milestone.

    PyTorch's `MultiStepLR` (its default decay 0.1); half and three quarters of the training as for
    CIFAR-10 in He et al. 2016, arXiv:1512.03385.

    Args:
      step: $t$, the inner step, from 0.
      total_steps: $T$ of the training.
      peak: $\eta$, the first and largest rate, > 0.
      decay: $\gamma$ in (0, 1].
      milestones: $m$, shares of the training in [0, 1].
    """
    passed = jnp.asarray(step)[..., None] >= whole_steps(jnp.asarray(milestones), total_steps)
    return peak * decay ** jnp.sum(passed, axis=-1)


def exponential(step: Steps, total_steps: Total, peak: Number, final_factor: Number = 0.01) -> Rate:
    r"""$\eta_t = \eta\,f^{t/T}$. PyTorch's `ExponentialLR` with gamma $f^{1/T}$; down to 1%.

    Args:
      step: $t$, the inner step, from 0.
      total_steps: $T$ of the training.
      peak: $\eta$, the first and largest rate, > 0.
      final_factor: $f$ in (0, 1].
    """
    return peak * final_factor ** progress(step, total_steps)


def polynomial(step: Steps, total_steps: Total, peak: Number, power: Number = 2.0) -> Rate:
    r"""$\eta_t = \eta\,(1 - t/T)^p$.

    PyTorch's `PolynomialLR`. Its default power 1 is `linear`; power 2 is the policy of You et al.
    2017, arXiv:1708.03888.

    Args:
      step: $t$, the inner step, from 0.
      total_steps: $T$ of the training.
      peak: $\eta$, the first and largest rate, > 0.
      power: $p > 0$.
    """
    return peak * (1.0 - progress(step, total_steps)) ** power


def linear(step: Steps, total_steps: Total, peak: Number, final_factor: Number = 0.0) -> Rate:
    r"""$\eta_t = \eta\,(1 + (f - 1)\,t/T)$.

    PyTorch's `LinearLR` from factor 1, as a decay. Its own default (1/3 to 1) is a warm-up. Down to
    zero: Defazio et al. 2023, arXiv:2310.07831.

    Args:
      step: $t$, the inner step, from 0.
      total_steps: $T$ of the training.
      peak: $\eta$, the first and largest rate, > 0.
      final_factor: $f$ in [0, 1].
    """
    return peak * (1.0 + (final_factor - 1.0) * progress(step, total_steps))


def cosine(step: Steps, total_steps: Total, peak: Number, final_factor: Number = 0.0) -> Rate:
    r"""$\eta_t = \eta\,(f + (1 - f)\,\tfrac12(1 + \cos(\pi t/T)))$.

    PyTorch's `CosineAnnealingLR` (its default minimum 0); Loshchilov and Hutter 2017,
    arXiv:1608.03983.

    Args:
      step: $t$, the inner step, from 0.
      total_steps: $T$ of the training.
      peak: $\eta$, the first and largest rate, > 0.
      final_factor: $f$ in [0, 1].
    """
    return peak * half_cosine(1.0, final_factor, progress(step, total_steps))


def linear_cosine(
    step: Steps,
    total_steps: Total,
    peak: Number,
    num_periods: Number = 0.5,
    alpha: Number = 0.0,
    beta: Number = 0.001,
) -> Rate:
    r"""A linear decay times a cosine, and a little more.

    $\eta_t = \eta\,[(\alpha + 1 - t/T)\,c_t + \beta]/(1 + \alpha + \beta)$ with
    $c_t = \tfrac12(1 + \cos(2\pi n t/T))$.

    Bello et al. 2017, arXiv:1709.07417, with the defaults of TensorFlow's `linear_cosine_decay`.
    The denominator is ours: without it the first rate is above the peak.

    Args:
      step: $t$, the inner step, from 0.
      total_steps: $T$ of the training.
      peak: $\eta$, the first and largest rate, > 0.
      num_periods: $n$ of the cosine, > 0.
      alpha: $\alpha \ge 0$, added to the linear decay.
      beta: $\beta \ge 0$, added to the wave.
    """
    done = progress(step, total_steps)
    wave = 0.5 * (1.0 + jnp.cos(2.0 * jnp.pi * num_periods * done))
    return peak * ((alpha + 1.0 - done) * wave + beta) / (1.0 + alpha + beta)
