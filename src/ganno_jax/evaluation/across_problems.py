"""What many problems say together. A difference is paired: ours minus theirs in the same run, below zero is better.

The one place where "at or below" and "worst problem" are defined.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ganno_jax.evaluation.bootstrap import Interval, Statistic

Differences = Sequence[Float[np.ndarray, "learner run"]]
"""One array per problem: of report log losses, by learner seed (one where there is one) and run."""


class Worst(NamedTuple):
    """Place of a problem and its mean difference."""

    problem: int
    difference: float


def problem_means(differences: Differences) -> Float[np.ndarray, " problem"]:
    """Mean paired difference on every problem.

    Raises:
      ValueError: there is no problem, the numbers of learners differ, or a difference is not finite.
    """
    if not differences or len({d.shape[0] for d in differences}) > 1:
        shapes = [d.shape for d in differences]
        raise ValueError(f"every problem needs as many learners [learner, run]; got {shapes}.")
    if not all(np.isfinite(d).all() and d.size for d in differences):
        raise ValueError("differences need to be finite: a run that diverged costs its first loss.")
    return np.array([d.mean() for d in differences])


def at_or_below(differences: Differences) -> Bool[np.ndarray, " problem"]:
    """Where we are at or below them: the mean paired difference of report log losses is 0 or less."""
    return problem_means(differences) <= 0


def worst_problem(differences: Differences) -> Worst:
    """The problem with the largest mean paired difference of report log losses."""
    means = problem_means(differences)
    return Worst(int(means.argmax()), float(means.max()))


def over_problems(
    differences: Differences,
    seed: int = 0,
    num_resamples: int = 10_000,
    level: float = 0.95,
    statistic: Statistic = np.mean,
) -> Interval:
    """Mean over problems of the mean difference, with an interval for other problems, learners and runs.

    With `interquartile_mean` as the statistic it is that of the middle half of the problems, which no single problem
    can own, such as one that is solved to a loss of zero.

    Percentile bootstrap: problems are drawn with replacement, and learner seeds, the same ones on all problems; and
    within each problem its runs, which all learners share. With one learner its own luck is not in the interval.

    Args:
      differences: of each problem `[learner, run]`, of report log losses, finite; as many learners on each.
      seed: of the resampling; the same seed gives the same interval.
      num_resamples: number of resamples, >= 1.
      level: probability that the interval is to cover, in (0, 1).
      statistic: of the problems' means.
    """
    means = problem_means(differences)
    rng = np.random.default_rng(seed)
    learners = _weights(rng, differences[0].shape[0], num_resamples)
    resampled = np.stack(
        [((learners @ d) * _weights(rng, d.shape[1], num_resamples)).sum(1) for d in differences]
    )
    times = _counts(rng, len(differences), num_resamples)
    every = np.tile(np.arange(len(differences)), num_resamples)
    drawn = np.repeat(every, times.ravel()).reshape(times.shape).T  # [problem, resample]
    tail = 0.5 * (1 - level)
    found = statistic(np.take_along_axis(resampled, drawn, axis=0), axis=0)
    lower, upper = np.quantile(found, [tail, 1 - tail])
    return Interval(float(statistic(means, axis=0)), float(lower), float(upper))


def is_level(interval: Interval) -> bool:
    """Whether an interval of differences holds 0: neither is better."""
    return interval.lower <= 0 <= interval.upper


def _weights(
    rng: np.random.Generator, count: int, num_resamples: int
) -> Float[np.ndarray, "resample item"]:
    """Shares of the items in every resample; rows sum to 1."""
    return _counts(rng, count, num_resamples) / count


def _counts(
    rng: np.random.Generator, count: int, num_resamples: int
) -> Int[np.ndarray, "resample item"]:
    """How often each of `count` items is among as many draws with replacement, in every resample."""
    return rng.multinomial(count, np.full(count, 1 / count), size=num_resamples)
