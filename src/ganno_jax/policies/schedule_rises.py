"""Formulas of schedules that rise on the way: restarts, cycles, warm-up. The rules of `schedule_formulas` hold."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from ganno_jax.policies.schedule_parts import (
    Number,
    Rate,
    Steps,
    Total,
    half_cosine,
    warmup_share,
    whole_steps,
)


def cosine_warm_restarts(
    step: Steps,
    total_steps: Total,
    peak: Number,
    first_period: Number = 1 / 7,
    growth: Number = 2.0,
    final_factor: Number = 0.0,
) -> Rate:
    r"""A cosine that starts again: period $i$ lasts $T_0 g^i$ steps.

    PyTorch's `CosineAnnealingWarmRestarts` ($T_0$, its $T_{mult} = g \ge 1$). Growth 2 as in the
    paper; the first period is a seventh of the training, so that three periods (1 + 2 + 4) end with
    it.

    Args:
      step: the inner step, from 0.
      total_steps: of the training.
      peak: the rate at the start of each period, > 0.
      first_period: $T_0$ as a share of the training, in (0, 1].
      growth: $g \ge 1$.
      final_factor: share of the peak at the end of each period, in [0, 1].

    References:
      Loshchilov and Hutter 2017, arXiv:1608.03983.
    """
    step = jnp.asarray(step)
    period = whole_steps(first_period, total_steps, at_least=1)
    grows = growth > 1.0 + 1e-4
    safe_growth = jnp.where(grows, growth, 2.0)

    def start(index: Int[Array, "*step"]) -> Int[Array, "*step"]:
        geometric = jnp.round(period * (safe_growth**index - 1.0) / (safe_growth - 1.0))
        return jnp.where(grows, geometric, period * index).astype(int)

    # Logarithms round: take the nearest index, then step back if that period has not begun.
    periods_done = jnp.log1p(step * (safe_growth - 1.0) / period) / jnp.log(safe_growth)
    nearest = jnp.where(grows, jnp.round(periods_done), step // period).astype(int)
    index = nearest - (start(nearest) > step)
    within = (step - start(index)) / jnp.maximum(start(index + 1) - start(index), 1)
    return peak * half_cosine(1.0, final_factor, within)


def cyclic(
    step: Steps,
    total_steps: Total,
    peak: Number,
    base_factor: Number = 0.1,
    num_cycles: Number = 3,
    shrink: Number = 0.5,
) -> Rate:
    r"""Triangles between $b\eta$ and a top that halves its distance to $b\eta$ with each cycle.

    PyTorch's `CyclicLR` in mode "triangular2" with equal rise and fall; base a tenth of the top as
    in its documentation's example, three cycles over the training.

    Args:
      step: the inner step, from 0.
      total_steps: of the training.
      peak: $\eta$, the top of the first triangle, > 0.
      base_factor: $b$ in [0, 1].
      num_cycles: over the training, > 0.
      shrink: by which the height of a triangle is multiplied with each cycle, in (0, 1].

    References:
      Smith 2017, arXiv:1506.01186, section 3.
    """
    step = jnp.asarray(step)
    rise = whole_steps(0.5 / num_cycles, total_steps, at_least=1)
    cycle = step // (2 * rise)
    height = 1.0 - jnp.abs((step - 2 * rise * cycle) / rise - 1.0)
    return peak * (base_factor + (1.0 - base_factor) * height * shrink**cycle)


def one_cycle(
    step: Steps,
    total_steps: Total,
    peak: Number,
    pct_start: Number = 0.3,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
) -> Rate:
    r"""Cosine from $\eta/d$ up to $\eta$, then cosine down to $\eta/(d\,d_f)$ at the last step.

    PyTorch's `OneCycleLR` with its defaults (two phases), its peak at step `pct_start * total_steps
    - 1`. It sets rates only: PyTorch's counter-cycle of the momentum is left out.

    Args:
      step: the inner step, from 0.
      total_steps: of the training.
      peak: $\eta$, the largest rate, > 0.
      pct_start: share of the training in which the rate rises, in (0, 1).
      div_factor: $d \ge 1$.
      final_div_factor: $d_f \ge 1$.

    References:
      Smith and Topin 2018, arXiv:1708.07120.
    """
    step = jnp.asarray(step)
    top = jnp.maximum(whole_steps(pct_start, total_steps) - 1, 0)
    last = jnp.asarray(total_steps) - 1
    rise = half_cosine(1.0 / div_factor, 1.0, step / jnp.maximum(top, 1))
    lowest = 1.0 / (div_factor * final_div_factor)
    fall = half_cosine(1.0, lowest, (step - top) / jnp.maximum(last - top, 1))
    return peak * jnp.where(step < top, rise, fall)


def warmup_cosine(
    step: Steps,
    total_steps: Total,
    peak: Number,
    warmup: Number = 0.1,
    initial_factor: Number = 0.01,
    final_factor: Number = 0.0,
) -> Rate:
    """Linear warm-up, then a cosine down.

    Optax's `warmup_cosine_decay_schedule`; PyTorch's `SequentialLR` of `LinearLR` and
    `CosineAnnealingLR`. A tenth of the training as in BERT (arXiv:1810.04805, its published code),
    from 1% of the peak as in torchvision's reference training.

    Args:
      step: the inner step, from 0.
      total_steps: of the training.
      peak: the rate at the end of the warm-up, > 0.
      warmup: share of the training, in [0, 1).
      initial_factor: share of the peak at step 0, in [0, 1].
      final_factor: share of the peak at the end, in [0, 1].
    """
    step = jnp.asarray(step)
    top = whole_steps(warmup, total_steps)
    fall = half_cosine(1.0, final_factor, (step - top) / jnp.maximum(total_steps - top, 1))
    return peak * jnp.where(step < top, warmup_share(step, top, initial_factor), fall)


def warmup_stable_decay(
    step: Steps,
    total_steps: Total,
    peak: Number,
    warmup: Number = 0.1,
    cooldown: Number = 0.2,
    initial_factor: Number = 0.01,
    final_factor: Number = 0.0,
) -> Rate:
    """Linear warm-up, a plateau at the peak, then a linear cooldown.

    Hu et al. 2024, arXiv:2404.06395; a linear cooldown over a fifth: Hägele et al. 2024,
    arXiv:2405.18392. Warm-up as in `warmup_cosine`. Needs `warmup + cooldown <= 1`.

    Args:
      step: the inner step, from 0.
      total_steps: of the training.
      peak: the rate of the plateau, > 0.
      warmup: share of the training, in [0, 1).
      cooldown: share of the training, in [0, 1].
      initial_factor: share of the peak at step 0, in [0, 1].
      final_factor: share of the peak at the end, in [0, 1].
    """
    step = jnp.asarray(step)
    top = whole_steps(warmup, total_steps)
    length = whole_steps(cooldown, total_steps)
    cooled = jnp.clip((step - (total_steps - length)) / jnp.maximum(length, 1), 0.0, 1.0)
    fall = 1.0 + (final_factor - 1.0) * cooled
    return peak * jnp.where(step < top, warmup_share(step, top, initial_factor), fall)


def inverse_sqrt(step: Steps, total_steps: Total, peak: Number, warmup: Number = 0.1) -> Rate:
    r"""$\eta_t = \eta\,\min(n/w,\ \sqrt{w/n})$, where $n = t + 1$ and $w$ warm-up steps.

    Vaswani et al. 2017, arXiv:1706.03762, equation 3, with the peak in place of the model's width.

    Args:
      step: $t$, the inner step, from 0.
      total_steps: of the training, of which `warmup` is a share.
      peak: $\eta$, the rate at the end of the warm-up, > 0.
      warmup: $w$ as a share of the training, in [0, 1]; at least one step.
    """
    count = jnp.asarray(step) + 1
    top = whole_steps(warmup, total_steps, at_least=1)
    return peak * jnp.minimum(count / top, jnp.sqrt(top / count))
