"""What many problems say together. A difference is paired: ours minus theirs in the same run, below zero is better.

The one place where "at or below" and "worst problem" are defined.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ganno_jax.evaluation.bootstrap import Interval

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
    differences: Differences, seed: int = 0, num_resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """Mean over problems of the mean difference, with an interval for other problems, learners and runs.

    Percentile bootstrap: problems are drawn with replacement, and learner seeds, the same ones on all problems; and
    within each problem its runs, which all learners share. With one learner its own luck is not in the interval.

    Args:
      differences: of each problem `[learner, run]`, of report log losses, finite; as many learners on each.
      seed: of the resampling; the same seed gives the same interval.
      num_resamples: number of resamples, >= 1.
      level: probability that the interval is to cover, in (0, 1).
    """
    means = problem_means(differences)
    rng = np.random.default_rng(seed)
    learners = _weights(rng, differences[0].shape[0], num_resamples)
    resampled = np.stack(
        [((learners @ d) * _weights(rng, d.shape[1], num_resamples)).sum(1) for d in differences]
    )
    drawn = _weights(rng, len(differences), num_resamples)
    tail = 0.5 * (1 - level)
    lower, upper = np.quantile((drawn.T * resampled).sum(0), [tail, 1 - tail])
    return Interval(float(means.mean()), float(lower), float(upper))


def is_level(interval: Interval) -> bool:
    """Whether an interval of differences holds 0: neither is better."""
    return interval.lower <= 0 <= interval.upper


def _weights(
    rng: np.random.Generator, count: int, num_resamples: int
) -> Float[np.ndarray, "resample item"]:
    """Shares of the items in every resample; rows sum to 1."""
    return rng.multinomial(count, np.full(count, 1 / count), size=num_resamples) / count
