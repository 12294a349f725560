"""Figures about step-size controllers: sensitivity panels, the rate's trajectory, perturbed weights."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ganno_jax.plots.style import COLUMN, DARK, PAGE, looks, plain_log_ticks, styled

Panel = Mapping[str, tuple[Float[np.ndarray, " rate"], Float[np.ndarray, "rate seed"]]]


@styled
def sensitivity_panels(
    panels: Mapping[str, Panel], ylabel: str = "final loss", yscale: str = "log"
) -> Figure:
    """Final loss or error against the rate a training starts with, one panel per optimizer and data set.

    Lines join medians over seeds, bands hold the middle half.

    Args:
      panels: by title; in each, by name of the policy, the initial rates and the losses, finite (diverged runs at
        their cost).
      ylabel: what the losses are.
      yscale: "log", for losses > 0, or "linear".
    """
    if not panels:
        raise ValueError("a figure needs at least one panel.")
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(PAGE if columns > 1 else COLUMN, 2.2 * rows + 0.3))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, panel) in zip(grid.flat, panels.items(), strict=False):
        for name, look in looks(list(panel), None).items():
            rates, losses = panel[name]
            low, middle, high = np.quantile(losses, [0.25, 0.5, 0.75], axis=1)
            axes.plot(rates, middle, color=look.color, ls=look.dash, marker=look.marker, label=name)
            axes.fill_between(rates, low, high, color=look.color, alpha=0.15, lw=0)
        axes.set(xscale="log", yscale=yscale, title=title)
        axes.set(xlabel="initial learning rate", ylabel=ylabel)
        if yscale == "log":
            plain_log_ticks(axes)
    grid.flat[0].legend()
    return figure


@styled
def rate_trajectories(
    steps: Float[np.ndarray, " decision"],
    rates: Mapping[str, Float[np.ndarray, "run decision"]],
) -> Figure:
    """The learning rate over a training: each run thin, the geometric mean thick.

    Args:
      steps: inner steps done at the end of each decision.
      rates: by name, such as the initial rate of the runs; > 0.
    """
    figure = Figure(figsize=(PAGE, 2.4))
    axes = figure.subplots()
    for name, look in looks(list(rates), None).items():
        axes.plot(steps, rates[name].T, color=look.color, lw=0.4, alpha=0.35)
        middle = np.exp(np.mean(np.log(rates[name]), axis=0))
        axes.plot(steps, middle, color=look.color, ls=look.dash, label=name)
    axes.set(yscale="log", xlabel="inner step", ylabel="learning rate")
    axes.legend(ncols=min(4, len(rates)))
    return figure


@styled
def perturbation(
    losses: Float[np.ndarray, " controller"], unperturbed: float, share: float
) -> Figure:
    """Final log loss of controllers whose weights were changed at random, beside the unchanged one.

    Args:
      losses: mean final log loss of each changed controller; a dot each, in rising order.
      unperturbed: of the controller itself.
      share: largest relative change of a weight, in (0, 1).
    """
    figure = Figure(figsize=(COLUMN, 2.0))
    axes = figure.subplots()
    ranks = np.arange(1, len(losses) + 1)
    axes.plot(np.sort(losses), ranks, "o", color="#0072B2", ms=4, label="changed")
    axes.axvline(unperturbed, color=DARK, ls="--", label="as learned")
    axes.set(xlabel="mean final log test loss", ylabel="controllers", ylim=(0, len(losses) + 1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"weights changed by up to {share:.0%}", loc="left")
    axes.legend()
    return figure
