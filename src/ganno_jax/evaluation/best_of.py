"""What a budget of tuning runs buys: the best of so many trials, chosen by one number and reported by another."""

from collections.abc import Sequence
from math import comb

import numpy as np
from jaxtyping import Float


def best_of(
    chosen_by: Float[np.ndarray, "*row trial"],
    reported: Float[np.ndarray, "*row trial"],
    budgets: Sequence[int],
) -> Float[np.ndarray, "*row budget"]:
    r"""Expected report of the best of the first trial and $k - 1$ others, drawn at random without replacement.

    Exact, over all draws. With the other $n - 1$ trials in rising order of what chooses, the best one drawn is the
    one at place $j = 0, 1, \dots$ with probability $\binom{n - 2 - j}{k - 2} / \binom{n - 1}{k - 1}$; the first trial
    is kept where it is no worse. The expected validation performance of Dodge et al. 2019, arXiv:1909.03004, without
    replacement, with a first trial that is a default, and reported on examples that chose nothing.

    Args:
      chosen_by: of every trial, what its user looks at; lower is better.
      reported: of the same trial, what is reported.
      budgets: numbers of trials $k$, each from 1 to those that there are.

    Raises:
      ValueError: a budget is out of this range, the shapes differ, or a number is not finite.
    """
    count = chosen_by.shape[-1]
    if chosen_by.shape != reported.shape:
        raise ValueError(f"the shapes differ: {chosen_by.shape} and {reported.shape}.")
    if not (np.isfinite(chosen_by).all() and np.isfinite(reported).all()):
        raise ValueError("trials need finite numbers: a run that diverged costs its first loss.")
    for budget in budgets:
        if not 1 <= budget <= count:
            raise ValueError(f"a budget must be from 1 to the {count} trials; got {budget}.")
    order = 1 + np.argsort(chosen_by[..., 1:], axis=-1, kind="stable")
    others, outcomes = (np.take_along_axis(x, order, -1) for x in (chosen_by, reported))
    kept = np.where(others < chosen_by[..., :1], outcomes, reported[..., :1])
    columns = [reported[..., 0] if k == 1 else kept @ _shares(count, k) for k in budgets]
    return np.stack(columns, axis=-1)


def _shares(count: int, budget: int) -> Float[np.ndarray, " place"]:
    """Probabilities that the best one drawn, of all but the first trial, stands at each place."""
    ways = [comb(count - 2 - place, budget - 2) for place in range(count - 1)]
    return np.asarray(ways, float) / comb(count - 1, budget - 1)
