"""Figures about the search of update rules."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from ganno_jax.plots.style import COLUMN, looks, styled

Progress = tuple[
    Int[np.ndarray, " update"], Float[np.ndarray, " update"], Float[np.ndarray, " update"]
]


@styled
def search_progress(searches: Mapping[str, Progress], window: int = 10) -> Figure:
    """Best and mean reward over the rules evaluated so far.

    Args:
      searches: by name of the method: distinct rules evaluated after each update, the best reward so
        far, and the mean reward of the update's proposals.
      window: updates over which the mean is averaged.
    """
    if not searches:
        raise ValueError("a figure needs at least one search.")
    figure = Figure(figsize=(COLUMN * 1.4, 2.4))
    axes = figure.subplots()
    for name, look in looks(list(searches), None).items():
        evaluated, best, mean = searches[name]
        axes.plot(evaluated, best, color=look.color, ls="-", label=f"{name}, best")
        sums = np.cumsum(np.concatenate([[0.0], mean]))
        ends = np.arange(1, len(mean) + 1)
        starts = np.maximum(ends - window, 0)
        smooth = (sums[ends] - sums[starts]) / (ends - starts)
        axes.plot(evaluated, smooth, color=look.color, ls="--", label=f"{name}, mean")
    axes.set(xlabel="distinct rules evaluated", ylabel="accuracy on reward examples")
    axes.set_ylim(bottom=0.0)
    axes.legend()
    return figure
