"""How sure numbers of many runs are: bootstrap intervals, and comparisons of two policies with theirs.

Pure NumPy on the host, of finite values (`statistics.log_losses`). "Lower is better" holds for all comparisons; for
scores, pass their negatives. The choices follow Agarwal et al. 2021, arXiv:2108.13264 (see `statistics`).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ganno_jax.evaluation.statistics import require_finite

CHUNK = 2**22
"""Numbers held at once while resampling."""

Statistic = Callable[..., np.ndarray]
"""Called as `statistic(samples, axis=-1)`, such as `np.mean`, `np.median`, `interquartile_mean`."""


class Interval(NamedTuple):
    """An estimate with its bootstrap interval."""

    estimate: float
    lower: float
    upper: float

    def columns(self, key: str) -> dict[str, float]:
        """As entries of a table's row: `key`, `key_lower` and `key_upper`."""
        return {key: self.estimate, f"{key}_lower": self.lower, f"{key}_upper": self.upper}


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
    require_finite(values, "bootstrap_interval")
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

    Args:
      ours: one finite number per run.
      theirs: of the same runs, in the same order.
      seed: of the resampling; the same seed gives the same interval.
      num_resamples: number of resamples, >= 1.
      level: probability that the interval is to cover, in (0, 1).
      strata: the task of each run; runs of each task are then resampled among themselves.
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
    require_finite(ours, "probability_of_improvement")
    require_finite(theirs, "probability_of_improvement")
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


def profile_band(
    values: Float[np.ndarray, " run"],
    thresholds: Float[np.ndarray, " threshold"],
    seed: int = 0,
    num_resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, " threshold"], Float[np.ndarray, " threshold"]]:
    """Lower and upper ends of pointwise bootstrap intervals around `performance_profile`.

    Args:
      values: one number per run, such as its final loss.
      thresholds: at which the share of runs at or below is judged.
      seed: of the resampling; the same seed gives the same band.
      num_resamples: number of resamples, >= 1.
      level: probability that the interval at each threshold is to cover, in (0, 1).
    """
    below = (values[:, None] <= thresholds).astype(float)
    return mean_band(below, seed, num_resamples, level)


def mean_band(
    curves: Float[np.ndarray, "run point"],
    seed: int = 0,
    num_resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Lower and upper ends of pointwise bootstrap intervals around the mean curve over runs.

    Args:
      curves: one per run, finite.
      seed: of the resampling; the same seed gives the same band.
      num_resamples: number of resamples, >= 1.
      level: probability that the interval at each point is to cover, in (0, 1).
    """
    require_finite(curves, "mean_band")
    counts = _resampled_counts(curves.shape[0], np.random.default_rng(seed), num_resamples)
    tail = 0.5 * (1 - level)
    lower, upper = np.quantile(counts @ curves / curves.shape[0], [tail, 1 - tail], axis=0)
    return lower, upper


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
