"""Figures about many problems: over the steps, when one setting changes, and when methods are tuned for longer."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ganno_jax.evaluation.bootstrap import mean_band
from ganno_jax.plots.style import (
    COLUMN,
    GREY,
    PAGE,
    legend_above,
    looks,
    plain_log_ticks,
    styled,
)

Panel = Mapping[str, tuple[Sequence[str], Float[np.ndarray, "value run"]]]
Curves = Mapping[str, Float[np.ndarray, "run point"]]


@styled
def loss_curves(
    panels: Mapping[str, tuple[Int[np.ndarray, " point"], Curves]], ylabel: str = "test loss"
) -> Figure:
    """One panel per problem: median losses over the steps, on logarithmic axes.

    The first point is left out: before the first step all are the same, and often far above the rest. A point at which
    more than half of the runs have diverged is a gap.

    Args:
      panels: by problem, the inner steps of the points and by method the losses `[run, point]`, > 0; of what diverged
        NaN or infinite.
      ylabel: what the losses are.

    Raises:
      ValueError: there is no panel.
    """
    figure, grid = _panels(len(panels), 1.9)
    names = list(dict.fromkeys(name for _, curves in panels.values() for name in curves))
    lines = {}
    for axes, (problem, (steps, curves)) in zip(grid, panels.items(), strict=True):
        for name, look in looks(names, None).items():
            if name in curves:
                finite = np.where(np.isfinite(curves[name]), curves[name], np.inf)
                middle = np.median(finite, axis=0)[1:]
                middle = np.where(np.isfinite(middle), middle, np.nan)
                (lines[name],) = axes.plot(steps[1:], middle, color=look.color, ls=look.dash)
        axes.set_yscale("log")
        plain_log_ticks(axes)
        axes.set_title("\n".join(textwrap.wrap(problem, 34)), fontsize=7)
        axes.margins(x=0.01)
    figure.supxlabel("inner step", fontsize=8)
    figure.supylabel(ylabel, fontsize=8)
    legend_above(figure, [lines[name] for name in names], names)
    return figure


@styled
def sweep_panels(panels: Mapping[str, Panel], ylabel: str = "final log test loss") -> Figure:
    """One panel per setting: medians over runs joined by lines, the middle half as bars.

    Args:
      panels: by setting; in each, by method, the values as text and the losses `[value, run]`, finite.
      ylabel: what the losses are.

    Raises:
      ValueError: there is no panel.
    """
    figure, grid = _panels(len(panels), 1.85)
    lines = {}
    for axes, (setting, panel) in zip(grid, panels.items(), strict=True):
        for number, (name, look) in enumerate(looks(list(panel), None).items()):
            values, losses = panel[name]
            low, middle, high = np.quantile(losses, [0.25, 0.5, 0.75], axis=1)
            place = np.arange(len(values)) + 0.08 * (number - (len(panel) - 1) / 2)
            lines[name] = axes.errorbar(
                place,
                middle,
                yerr=np.stack([middle - low, high - middle]),
                color=look.color,
                ls=look.dash,
                marker=look.marker,
                elinewidth=0.8,
            )
            axes.set_xticks(range(len(values)), values)
            if len(values) > 4:  # side by side they would touch
                axes.tick_params(axis="x", labelrotation=40, labelsize=6)
        axes.set_xlabel(setting)
    for axes in grid[::3]:
        axes.set_ylabel(ylabel)
    legend_above(figure, list(lines.values()), list(lines))
    return figure


@styled
def budget_panels(
    panels: Mapping[str, tuple[Sequence[int], Mapping[str, Float[np.ndarray, "budget run"]]]],
    ylabel: str = "log test loss minus tuned AdamW's",
) -> Figure:
    """One panel per task: what methods end at in trainings of different length, the mean of the runs and all of them.

    Args:
      panels: by task, the numbers of steps, rising, and by method the differences of log losses, finite.
      ylabel: what they are.

    Raises:
      ValueError: there is no panel.
    """
    figure, grid = _panels(len(panels), 1.9)
    names = list(dict.fromkeys(name for _, gaps in panels.values() for name in gaps))
    lines = {}
    for axes, (task, (steps, gaps)) in zip(grid, panels.items(), strict=True):
        for name, look in looks(names, None).items():
            if name in gaps:
                (lines[name],) = axes.plot(
                    steps, gaps[name].mean(1), color=look.color, ls=look.dash, marker=look.marker
                )
                axes.plot(steps, gaps[name], ".", color=look.color, ms=2, alpha=0.5)
        axes.axhline(0.0, color=GREY, lw=0.6, zorder=0)
        axes.set_xscale("log")
        axes.set_title(task, fontsize=8)
    figure.supxlabel("steps of the whole training", fontsize=8)
    figure.supylabel(ylabel, fontsize=8)
    legend_above(figure, [lines[name] for name in names], names)
    return figure


@styled
def tuning_curves(
    budgets: Sequence[int],
    gaps: Mapping[str, Float[np.ndarray, "problem budget"]],
    ylabel: str = "log test loss minus tuned AdamW's",
) -> Figure:
    """Mean over problems of what a method ends at, against how many trials it was tuned with.

    Bands are 95% bootstrap intervals over problems.

    Args:
      budgets: numbers of trials, rising, >= 1.
      gaps: by method, differences of mean log losses, finite.
      ylabel: what they are.

    Raises:
      ValueError: there is no method.
    """
    if not gaps:
        raise ValueError("a figure needs at least one method.")
    figure = Figure(figsize=(COLUMN, 2.5))
    axes, handles = figure.subplots(), []
    for name, look in looks(list(gaps), None).items():
        low, high = mean_band(gaps[name], 0)
        handles += axes.plot(
            budgets, gaps[name].mean(0), color=look.color, ls=look.dash, marker=look.marker, ms=3
        )
        axes.fill_between(budgets, low, high, color=look.color, alpha=0.12, lw=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.axhline(0.0, color=GREY, lw=0.6, zorder=0)
    axes.set_xlabel("trials, the first one untuned")
    axes.set_ylabel(ylabel)
    legend_above(figure, handles, list(gaps))
    return figure


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, up to three in a row, `height` inches each; a column wide if there is one."""
    if not count:
        raise ValueError("a figure needs at least one panel.")
    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(PAGE if columns > 1 else COLUMN, height * rows + 0.4))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]
