"""Figures about many problems: over the steps, when one setting changes, and when methods are tuned for longer."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ganno_jax.evaluation.bootstrap import mean_band
from ganno_jax.plots.style import (
    COLUMN,
    GREY,
    PAGE,
    Look,
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

    def draw(
        axes: Axes, look: Look, steps: Int[np.ndarray, " point"], losses: np.ndarray
    ) -> Line2D:
        middle = np.median(np.where(np.isfinite(losses), losses, np.inf), axis=0)[1:]
        middle = np.where(np.isfinite(middle), middle, np.nan)
        return axes.plot(steps[1:], middle, color=look.color, ls=look.dash)[0]

    figure, grid = _line_panels(panels, draw, "inner step", ylabel)
    for axes, problem in zip(grid, panels, strict=True):
        axes.set_yscale("log")
        plain_log_ticks(axes)
        axes.set_title("\n".join(textwrap.wrap(problem, 34)), fontsize=7)
        axes.margins(x=0.01)
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

    def draw(axes: Axes, look: Look, steps: Sequence[int], gaps: np.ndarray) -> Line2D:
        (line,) = axes.plot(steps, gaps.mean(1), color=look.color, ls=look.dash, marker=look.marker)
        axes.plot(steps, gaps, ".", color=look.color, ms=2, alpha=0.5)
        return line

    figure, grid = _line_panels(panels, draw, "steps of the whole training", ylabel)
    for axes, task in zip(grid, panels, strict=True):
        axes.axhline(0.0, color=GREY, lw=0.6, zorder=0)
        axes.set_xscale("log")
        axes.set_title(task, fontsize=8)
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


def _line_panels(
    panels: Mapping[str, tuple[Any, Mapping[str, np.ndarray]]],
    draw_fn: Callable[[Axes, Look, Any, np.ndarray], Line2D],
    xlabel: str,
    ylabel: str,
) -> tuple[Figure, list[Axes]]:
    """A panel for each entry, a line for each of its methods over the entry's steps, a legend for all of them.

    Args:
      panels: by title, the steps and the numbers of each method.
      draw_fn: one method in one panel.
      xlabel: of all panels.
      ylabel: of all panels.
    """
    figure, grid = _panels(len(panels), 1.9)
    look = looks(list(dict.fromkeys(n for _, each in panels.values() for n in each)), None)
    lines = {}
    for axes, (steps, each) in zip(grid, panels.values(), strict=True):
        for name in look:
            if name in each:
                lines[name] = draw_fn(axes, look[name], steps, each[name])
    figure.supxlabel(xlabel, fontsize=8)
    figure.supylabel(ylabel, fontsize=8)
    legend_above(figure, [lines[name] for name in look], list(look))
    return figure, grid


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
