"""Formulas of handcrafted schedules: the rate as a function of the inner step, the same for every layer.

A schedule is `schedule(step, total_steps, peak, **numbers) -> rate`. Everything is traced: `step`
may be an array, every number may be batched. Three rules make the schedules comparable:

- `peak` is the largest rate that the schedule reaches, so tuning the peak tunes all of them alike;
- what depends on the horizon is a fraction of `total_steps`, rounded to whole steps, so that a
  restart or a peak falls on a step;
- `final_factor` is the rate at `step == total_steps`, one step after the last, as a share of the
  peak.

References: PyTorch, `torch.optim.lr_scheduler` (the forms); Optax, `optax.schedules` (where it has
the schedule, the tests compare with it). docs/baselines.md lists formulas, defaults and their
sources.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

Steps = Int[Array, "*step"] | int
Total = Int[Array, ""] | int
Number = Num[Array, ""] | float | int
Rate = Float[Array, "*step"]
Schedule = Callable[..., Rate]
"""`(step, total_steps, peak, **numbers) -> rate`: two counts of inner steps, peak > 0."""


def constant(step: Steps, total_steps: Total, peak: Number) -> Rate:
    """The same rate at every step."""
    return jnp.broadcast_to(jnp.asarray(peak, float), jnp.shape(step))


def step_decay(
    step: Steps, total_steps: Total, peak: Number, decay: Number = 0.1, num_stages: Number = 3
) -> Rate:
    r"""$\eta_t = \eta\,\gamma^{\lfloor t/s \rfloor}$ with $s = T/n$: `num_stages` equal stages.

    PyTorch's `StepLR` (its default decay 0.1); three stages as in PyTorch's ImageNet example (every
    30 of 90 epochs).
    """
    stage = jnp.asarray(step) // _whole_steps(1.0 / num_stages, total_steps, at_least=1)
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
    """
    passed = jnp.asarray(step)[..., None] >= _whole_steps(jnp.asarray(milestones), total_steps)
    return peak * decay ** jnp.sum(passed, axis=-1)


def exponential(step: Steps, total_steps: Total, peak: Number, final_factor: Number = 0.01) -> Rate:
    r"""$\eta_t = \eta\,f^{t/T}$. PyTorch's `ExponentialLR` with gamma $f^{1/T}$; down to 1%."""
    return peak * final_factor ** _progress(step, total_steps)


def polynomial(step: Steps, total_steps: Total, peak: Number, power: Number = 2.0) -> Rate:
    r"""$\eta_t = \eta\,(1 - t/T)^p$.

    PyTorch's `PolynomialLR`. Its default power 1 is `linear`; power 2 is the policy of You et al.
    2017, arXiv:1708.03888.
    """
    return peak * (1.0 - _progress(step, total_steps)) ** power


def linear(step: Steps, total_steps: Total, peak: Number, final_factor: Number = 0.0) -> Rate:
    r"""$\eta_t = \eta\,(1 + (f - 1)\,t/T)$.

    PyTorch's `LinearLR` from factor 1, as a decay. Its own default (1/3 to 1) is a warm-up. Down to
    zero: Defazio et al. 2023, arXiv:2310.07831.
    """
    return peak * (1.0 + (final_factor - 1.0) * _progress(step, total_steps))


def cosine(step: Steps, total_steps: Total, peak: Number, final_factor: Number = 0.0) -> Rate:
    r"""$\eta_t = \eta\,(f + (1 - f)\,\tfrac12(1 + \cos(\pi t/T)))$.

    PyTorch's `CosineAnnealingLR` (its default minimum 0); Loshchilov and Hutter 2017,
    arXiv:1608.03983.
    """
    return peak * _half_cosine(1.0, final_factor, _progress(step, total_steps))


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

    References:
      Loshchilov and Hutter 2017, arXiv:1608.03983.
    """
    step = jnp.asarray(step)
    period = _whole_steps(first_period, total_steps, at_least=1)
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
    return peak * _half_cosine(1.0, final_factor, within)


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

    References:
      Smith 2017, arXiv:1506.01186, section 3.
    """
    step = jnp.asarray(step)
    rise = _whole_steps(0.5 / num_cycles, total_steps, at_least=1)
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

    References:
      Smith and Topin 2018, arXiv:1708.07120.
    """
    step = jnp.asarray(step)
    top = jnp.maximum(_whole_steps(pct_start, total_steps) - 1, 0)
    last = jnp.asarray(total_steps) - 1
    rise = _half_cosine(1.0 / div_factor, 1.0, step / jnp.maximum(top, 1))
    lowest = 1.0 / (div_factor * final_div_factor)
    fall = _half_cosine(1.0, lowest, (step - top) / jnp.maximum(last - top, 1))
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
    """
    step = jnp.asarray(step)
    top = _whole_steps(warmup, total_steps)
    fall = _half_cosine(1.0, final_factor, (step - top) / jnp.maximum(total_steps - top, 1))
    return peak * jnp.where(step < top, _warmup(step, top, initial_factor), fall)


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
    """
    step = jnp.asarray(step)
    top = _whole_steps(warmup, total_steps)
    length = _whole_steps(cooldown, total_steps)
    cooled = jnp.clip((step - (total_steps - length)) / jnp.maximum(length, 1), 0.0, 1.0)
    fall = 1.0 + (final_factor - 1.0) * cooled
    return peak * jnp.where(step < top, _warmup(step, top, initial_factor), fall)


def inverse_sqrt(step: Steps, total_steps: Total, peak: Number, warmup: Number = 0.1) -> Rate:
    r"""$\eta_t = \eta\,\min(n/w,\ \sqrt{w/n})$, where $n = t + 1$ and $w$ warm-up steps.

    Vaswani et al. 2017, arXiv:1706.03762, equation 3, with the peak in place of the model's width.
    """
    count = jnp.asarray(step) + 1
    top = _whole_steps(warmup, total_steps, at_least=1)
    return peak * jnp.minimum(count / top, jnp.sqrt(top / count))


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
    """
    progress = _progress(step, total_steps)
    wave = 0.5 * (1.0 + jnp.cos(2.0 * jnp.pi * num_periods * progress))
    return peak * ((alpha + 1.0 - progress) * wave + beta) / (1.0 + alpha + beta)


def _whole_steps(
    fraction: Num[Array, "*fraction"] | float, total_steps: Total, at_least: int = 0
) -> Int[Array, "*fraction"]:
    """A fraction of the training as a whole number of inner steps."""
    return jnp.maximum(jnp.round(fraction * jnp.asarray(total_steps)), at_least).astype(int)


def _progress(step: Steps, total_steps: Total) -> Float[Array, "*step"]:
    """The share of the training that is done, in [0, 1]."""
    return jnp.clip(jnp.asarray(step) / jnp.maximum(total_steps, 1), 0.0, 1.0)


def _half_cosine(
    first: Number, last: Number, progress: Float[Array, "*step"]
) -> Float[Array, "*step"]:
    """From `first` to `last` along half a cosine; `progress` is clipped to [0, 1].

    The square of a sine is (1 + cos)/2 without its cancellation, which in single precision makes
    the last rates of a long training zero.
    """
    wave = jnp.sin(0.5 * jnp.pi * (1.0 - jnp.clip(progress, 0.0, 1.0))) ** 2
    return last + (first - last) * wave


def _warmup(
    step: Int[Array, "*step"], top: Int[Array, ""], initial_factor: Number
) -> Float[Array, "*step"]:
    """From `initial_factor` at step 0 to one at step `top`."""
    return initial_factor + (1.0 - initial_factor) * step / jnp.maximum(top, 1)
