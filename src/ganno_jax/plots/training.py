"""What happens while agents learn and while networks train: curves of all layers together."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ganno_jax.evaluation.bootstrap import mean_band
from ganno_jax.plots.style import (
    COLORS,
    COLUMN,
    PAGE,
    grid_of,
    legend_above,
    looks,
    others_label,
    styled,
)


@styled
def learning_curve(
    updates: Int[np.ndarray, " point"],
    values: Float[np.ndarray, " point"],
    lower: Float[np.ndarray, " point"] | None = None,
    upper: Float[np.ndarray, " point"] | None = None,
    bar: float | None = None,
    bar_label: str = "best tuned schedule",
    ylabel: str = "mean final log selection loss",
    seconds: Float[np.ndarray, " point"] | None = None,
) -> Figure:
    """How the agents improve over learner updates, against the value to beat.

    Args:
      updates: learner updates done at each point, rising.
      values: mean final log selection loss, or the return.
      lower: of the interval around the values.
      upper: of the interval around the values.
      bar: value of the best tuned schedule, drawn as a horizontal line.
      bar_label: name of that line.
      ylabel: what the values are.
      seconds: wall-clock time since the start at each point, for a second axis on top.
    """
    figure = Figure(figsize=(COLUMN, 2.3))
    axes = figure.subplots()
    axes.plot(updates, values, color=COLORS[0], label="agents", zorder=3)
    if lower is not None and upper is not None:
        axes.fill_between(updates, lower, upper, color=COLORS[0], alpha=0.2, lw=0)
    if bar is not None:
        axes.axhline(bar, color=COLORS[1], ls="--", lw=1, label=bar_label, zorder=2)
        axes.legend(loc="best")
    axes.set(xlabel="learner updates", ylabel=ylabel)
    axes.margins(x=0.01)
    if seconds is not None:
        unit, scale = ("min", 60) if seconds[-1] > 180 else ("s", 1)
        clock = axes.twiny()
        clock.spines["top"].set_visible(True)
        clock.grid(False)
        clock.set_xlim(axes.get_xlim())
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, seconds[-1] / scale)
        ticks = ticks[ticks <= seconds[-1] / scale]
        # Time is not linear in updates (compilation, checkpoints): ticks stand where they fell.
        clock.set_xticks(
            np.interp(ticks * scale, seconds, updates), [f"{tick:g}" for tick in ticks]
        )
        clock.set_xlabel(f"wall-clock time ({unit})")
    return figure


@styled
def accuracy_over_steps(
    steps: Int[np.ndarray, " point"],
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "run point"]]],
    highlight: Sequence[str] | None = None,
    ylabel: str = "accuracy",
    seed: int = 0,
) -> Figure:
    """Mean accuracy over inner steps with 95% bootstrap bands, one panel per setting.

    The form of figure 4 of Tessera et al. 2023, arXiv:2311.18598.

    Args:
      steps: inner step of each point.
      panels: of each setting (its title) the accuracies of every policy, in [0, 1]. A diverged run
        has the accuracy of guessing.
      highlight: policies in colour, the rest grey; by default all if at most seven.
      ylabel: what is measured.
      seed: of the bootstrap.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    look = looks(names, highlight)
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    width, height = (
        (COLUMN, 2.3) if columns == 1 else (PAGE, 0.4 + 2 * math.ceil(len(panels) / columns))
    )
    figure = Figure(figsize=(width, height))
    handles = {}
    for axes, (title, policies) in zip(
        grid_of(figure, len(panels), columns), panels.items(), strict=True
    ):
        for name, accuracies in sorted(policies.items(), key=lambda item: look[item[0]].named):
            style = look[name]
            (line,) = axes.plot(
                steps,
                accuracies.mean(axis=0),
                color=style.color,
                ls=style.dash,
                lw=1.2 if style.named else 0.7,
            )
            handles[name] = line
            if style.named:
                low, high = mean_band(accuracies, seed)
                axes.fill_between(steps, low, high, color=style.color, alpha=0.18, lw=0)
        axes.set_title(title)
        axes.margins(x=0.01)
    figure.supxlabel("inner step", fontsize=8)
    figure.supylabel(ylabel, fontsize=8)
    named = [name for name in names if look[name].named]
    shown = {name: handles[name] for name in named}
    if others := others_label(look):
        shown[others] = next(handles[name] for name in names if not look[name].named)
    legend_above(figure, list(shown.values()), list(shown))
    return figure


@styled
def schedules(
    steps: Int[np.ndarray, " point"], shapes: Mapping[str, Float[np.ndarray, " point"]]
) -> Figure:
    """The handcrafted schedules at peak 1, each in its own small panel.

    The form of figure 5 of Tessera et al. 2023, arXiv:2311.18598.
    """
    columns = min(5, len(shapes))
    figure = Figure(figsize=(PAGE, 0.35 + 1.05 * math.ceil(len(shapes) / columns)))
    for axes, (name, shape) in zip(
        grid_of(figure, len(shapes), columns), shapes.items(), strict=True
    ):
        axes.plot(steps, shape, color=COLORS[0])
        axes.set_title(name, pad=2)
        axes.set_ylim(-0.05, 1.1)
        axes.set_yticks([0, 0.5, 1])
        axes.xaxis.set_major_locator(MaxNLocator(3))
    figure.supxlabel("inner step", fontsize=8)
    figure.supylabel("rate / peak", fontsize=8)
    return figure
