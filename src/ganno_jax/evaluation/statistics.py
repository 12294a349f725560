"""What many runs say together: robust means, bootstrap intervals, comparisons of two policies.

Pure NumPy on the host. A run is one seed on one task. Every function but `log_losses`,
`share_diverged` and `steps_to_reach` wants finite values and says so: diverged runs are first given
their stated cost (`log_losses`, `replace_diverged`), so that leaving them out can never flatter a
policy. "Lower is better" holds for all comparisons; for scores, pass their negatives.

The choices follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice", arXiv:2108.13264: interquartile means, stratified percentile bootstrap, performance
profiles, probability of improvement.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

LOWEST_LOSS = 1e-8
CHUNK = 2**22  # numbers held at once while resampling

Statistic = Callable[..., np.ndarray]
"""Called as `statistic(samples, axis=-1)`, such as `np.mean`, `np.median`, `interquartile_mean`."""


class Interval(NamedTuple):
    """An estimate with its bootstrap interval."""

    estimate: float
    lower: float
    upper: float


def log_losses(
    losses: Float[np.ndarray, "..."],
    chance_loss: float | Float[np.ndarray, "..."],
    diverged: Bool[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """Natural logarithms of losses, where a diverged run costs as much as guessing.

    Non-finite losses, losses of runs flagged in `diverged`, and finite losses above `chance_loss`
    all become `log(chance_loss)`. The cap on finite losses keeps the order of runs: without it a
    run that ended badly but finite would count as worse than one that broke.

    Args:
      losses: losses, >= 0 where finite.
      chance_loss: the loss of guessing, `log(num_classes)` for cross-entropy; not logged. May be
        one per run, broadcast against `losses`.
      diverged: flags, broadcast against `losses`.

    Returns:
      Finite numbers in `[log(1e-8), log(chance_loss)]`.

    Raises:
      ValueError: if a loss is negative or `chance_loss` is not a positive finite number.
    """
    chance = np.asarray(chance_loss, float)
    if not (np.isfinite(chance) & (chance > LOWEST_LOSS)).all():
        raise ValueError(
            f"`chance_loss` needs positive finite losses, not logged; got {chance_loss}."
        )
    broken = ~np.isfinite(losses) if diverged is None else ~np.isfinite(losses) | diverged
    kept = np.where(broken, chance, losses)
    if (kept < 0).any():
        raise ValueError(f"`losses` need to be >= 0, not logged yet; got {kept.min()}.")
    return np.log(np.clip(kept, LOWEST_LOSS, chance))


def replace_diverged(
    values: Float[np.ndarray, "..."],
    substitute: float | Float[np.ndarray, "..."],
    diverged: Bool[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """Put `substitute` (say, the accuracy of guessing) for non-finite values and flagged runs."""
    broken = ~np.isfinite(values) if diverged is None else ~np.isfinite(values) | diverged
    return np.where(broken, substitute, values)


def share_diverged(
    losses: Float[np.ndarray, " run"], diverged: Bool[np.ndarray, " run"] | None = None
) -> float:
    """Fraction of runs that are flagged or whose loss is not finite, in [0, 1]."""
    broken = ~np.isfinite(losses) if diverged is None else ~np.isfinite(losses) | diverged
    return float(broken.mean())


def interquartile_mean(
    values: Float[np.ndarray, "*batch run"], axis: int = -1
) -> Float[np.ndarray, "*batch"]:
    """Mean of the middle half: `floor(n / 4)` runs are dropped at either end.

    Fewer outliers reach it than reach the mean, and it varies less than the median (Agarwal et al.
    2021, section 4.3). Runs of several tasks are pooled. Below four runs it is the mean.
    """
    _require_finite(values, "interquartile_mean")
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    dropped = ordered.shape[-1] // 4
    return ordered[..., dropped : ordered.shape[-1] - dropped].mean(axis=-1)


def worst_decile(
    scores: Float[np.ndarray, "*batch run"], axis: int = -1
) -> Float[np.ndarray, "*batch"]:
    """Mean of the lowest tenth of the scores, `ceil(n / 10)` runs.

    For losses, where high is bad, take `-worst_decile(-losses)`.
    """
    _require_finite(scores, "worst_decile")
    scores = np.moveaxis(scores, axis, -1)
    count = math.ceil(scores.shape[-1] / 10)
    return np.partition(scores, count - 1, axis=-1)[..., :count].mean(axis=-1)


def bootstrap_interval(
    values: Float[np.ndarray, " run"],
    statistic: Statistic = np.mean,
    seed: int = 0,
    num_resamples: int = 10_000,
    level: float = 0.95,
    strata: Int[np.ndarray, " run"] | None = None,
) -> Interval:
    """Percentile bootstrap interval of a statistic of independent runs.

    With `strata` the runs of each task are resampled among themselves, so every resample has the
    tasks in their own proportions (the stratified bootstrap of Agarwal et al. 2021, section 4.1).

    Args:
      values: one number per run, finite.
      statistic: reduces the last axis; called as `statistic(samples, axis=-1)`.
      seed: of the resampling; the same seed gives the same interval.
      num_resamples: number of resamples, >= 1.
      level: probability that the interval is to cover, in (0, 1).
      strata: the task of each run.

    Returns:
      The statistic of `values` and its interval. One run gives an interval of width 0, which means
      "unknown", not "certain".
    """
    _require_finite(values, "bootstrap_interval")
    resampled = [
        statistic(values[indices], axis=-1)
        for indices in _resampled_indices(values.size, strata, seed, num_resamples)
    ]
    return _percentiles(float(statistic(values, axis=-1)), np.concatenate(resampled), level)


def paired_difference(
    ours: Float[np.ndarray, " run"],
    theirs: Float[np.ndarray, " run"],
    seed: int = 0,
    num_resamples: int = 10_000,
    level: float = 0.95,
    strata: Int[np.ndarray, " run"] | None = None,
) -> Interval:
    """Mean of `ours - theirs` over runs that share task, initial weights and batches.

    Below zero means that ours is lower. Whole pairs are resampled: what makes a run easy for both
    policies cancels, so the interval is narrower than those of the two means suggest.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"Pairs need equally many runs; got {ours.shape} and {theirs.shape}.")
    return bootstrap_interval(ours - theirs, np.mean, seed, num_resamples, level, strata)


def probability_of_improvement(
    ours: Float[np.ndarray, " run"],
    theirs: Float[np.ndarray, " run"],
    seed: int = 0,
    num_resamples: int = 10_000,
    level: float = 0.95,
    strata: Int[np.ndarray, " run"] | None = None,
) -> Interval:
    r"""Probability that one of our runs, drawn at random, is lower than one of theirs.

    $\frac{1}{nm}\sum_{ij}\left([x_i<y_j]+\tfrac12[x_i=y_j]\right)$, per task and then averaged over
    tasks (Agarwal et al. 2021, section 4.3; Mann-Whitney's U over nm). It does not use the pairing.
    Both samples are resampled on their own. Two diverged runs are a tie.

    Args:
      ours: one number per run, lower is better, finite.
      theirs: likewise; may have another number of runs if there are no strata.
      seed: of the resampling.
      num_resamples: number of resamples, >= 1.
      level: probability that the interval is to cover, in (0, 1).
      strata: the task of each run, the same for both.
    """
    _require_finite(ours, "probability_of_improvement")
    _require_finite(theirs, "probability_of_improvement")
    if strata is not None and not strata.shape == ours.shape == theirs.shape:
        raise ValueError(
            "`strata` need one task per run of both policies; got "
            f"{strata.shape} for {ours.shape} and {theirs.shape}."
        )
    tasks = [None] if strata is None else [strata == task for task in np.unique(strata)]
    rng = np.random.default_rng(seed)
    estimates, resampled = [], []
    for chosen in tasks:
        ours_here, theirs_here = (
            (ours, theirs) if chosen is None else (ours[chosen], theirs[chosen])
        )
        wins = (ours_here[:, None] < theirs_here) + 0.5 * (ours_here[:, None] == theirs_here)
        our_counts = _resampled_counts(ours_here.size, rng, num_resamples)
        their_counts = _resampled_counts(theirs_here.size, rng, num_resamples)
        estimates.append(wins.mean())
        resampled.append(((our_counts @ wins) * their_counts).sum(axis=-1) / wins.size)
    return _percentiles(float(np.mean(estimates)), np.mean(resampled, axis=0), level)


def performance_profile(
    values: Float[np.ndarray, " run"], thresholds: Float[np.ndarray, " threshold"]
) -> Float[np.ndarray, " threshold"]:
    """Share of runs at or below each threshold: the distribution behind the mean, in [0, 1]."""
    _require_finite(values, "performance_profile")
    return (values[:, None] <= thresholds).mean(axis=0)


def profile_band(
    values: Float[np.ndarray, " run"],
    thresholds: Float[np.ndarray, " threshold"],
    seed: int = 0,
    num_resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, " threshold"], Float[np.ndarray, " threshold"]]:
    """Lower and upper ends of pointwise bootstrap intervals around `performance_profile`."""
    below = (values[:, None] <= thresholds).astype(float)
    return mean_band(below, seed, num_resamples, level)


def mean_band(
    curves: Float[np.ndarray, "run point"],
    seed: int = 0,
    num_resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Lower and upper ends of pointwise bootstrap intervals around the mean curve over runs."""
    _require_finite(curves, "mean_band")
    counts = _resampled_counts(curves.shape[0], np.random.default_rng(seed), num_resamples)
    tail = 0.5 * (1 - level)
    lower, upper = np.quantile(counts @ curves / curves.shape[0], [tail, 1 - tail], axis=0)
    return lower, upper


def steps_to_reach(
    curve: Float[np.ndarray, "*batch point"],
    target: float,
    steps: Int[np.ndarray, " point"] | None = None,
) -> Float[np.ndarray, "*batch"]:
    """First inner step at which the running minimum of a curve is at or below the target.

    Args:
      curve: losses over time, logged or not. Points that are not numbers never reach the target;
        a run that reached it and diverged later has reached it.
      target: in the units of the curve.
      steps: the inner step of each point; by default its index.

    Returns:
      The step, `nan` where the target was never reached.
    """
    reached = curve <= target
    at = np.arange(curve.shape[-1]) if steps is None else np.asarray(steps)
    return np.where(reached.any(axis=-1), at[reached.argmax(axis=-1)].astype(float), np.nan)


def area_under_curve(
    loss_curve: Float[np.ndarray, "*batch point"], chance_loss: float
) -> Float[np.ndarray, "*batch"]:
    """Mean log loss over the points of a curve: lower means earlier as well as better.

    Points after a divergence should be non-finite; they cost `log(chance_loss)` (see `log_losses`).

    Args:
      loss_curve: losses at equally spaced steps, not logged.
      chance_loss: the loss of guessing, not logged.
    """
    return log_losses(loss_curve, chance_loss).mean(axis=-1)


def _require_finite(values: np.ndarray, name: str) -> None:
    if values.size == 0:
        raise ValueError(f"`{name}` needs at least one run; got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(
            f"`{name}` needs finite values; give diverged runs their cost with `log_losses` or "
            f"`replace_diverged` first; got {np.count_nonzero(~np.isfinite(values))} that are not."
        )


def _percentiles(
    estimate: float, resampled: Float[np.ndarray, " resample"], level: float
) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"`level` needs to be between 0 and 1; got {level}.")
    tail = 0.5 * (1 - level)
    lower, upper = np.quantile(resampled, [tail, 1 - tail])
    return Interval(estimate, float(lower), float(upper))


def _resampled_indices(
    num_runs: int, strata: Int[np.ndarray, " run"] | None, seed: int, num_resamples: int
) -> Iterator[Int[np.ndarray, "resample run"]]:
    """Indices of runs drawn with replacement, within each stratum, a bounded number at a time."""
    labels = np.zeros(num_runs, int) if strata is None else strata
    if labels.shape != (num_runs,):
        raise ValueError(f"`strata` need one task per run, {num_runs}; got shape {labels.shape}.")
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    rng = np.random.default_rng(seed)
    at_once = max(1, CHUNK // num_runs)
    for start in range(0, num_resamples, at_once):
        count = min(at_once, num_resamples - start)
        drawn = [m[rng.integers(m.size, size=(count, m.size))] for m in members]
        yield np.concatenate(drawn, axis=-1)


def _resampled_counts(
    num_runs: int, rng: np.random.Generator, num_resamples: int
) -> Float[np.ndarray, "resample run"]:
    """How often each run is drawn in each resample; rows sum to the number of runs.

    For statistics that are linear in the empirical distribution a product with these counts is the
    whole bootstrap.
    """
    even = np.full(num_runs, 1 / num_runs)
    return rng.multinomial(num_runs, even, size=num_resamples).astype(float)
