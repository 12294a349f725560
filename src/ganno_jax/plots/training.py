"""What happens while agents learn and while networks train: curves over updates and inner steps."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ganno_jax.evaluation.bootstrap import mean_band
from ganno_jax.evaluation.spikes import Spike, find_spike
from ganno_jax.plots.layers import draw_rates, name_layers
from ganno_jax.plots.style import (
    COLORS,
    COLUMN,
    DARK,
    PAGE,
    grid_of,
    looks,
    others_label,
    plain_log_ticks,
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
def layer_rates(
    steps: Int[np.ndarray, " point"],
    first_rates: Float[np.ndarray, "point layer"],
    late_rates: Float[np.ndarray, "point layer"],
    first_loss: Float[np.ndarray, " point"],
    late_loss: Float[np.ndarray, " point"],
    layer_names: Sequence[str],
    titles: tuple[str, str] = ("first episode", "late episode"),
) -> Figure:
    """Each layer's learning rate in an early and a late episode, with the training losses below.

    The form of figure 2 of Tessera et al. 2023, arXiv:2311.18598.

    Args:
      steps: inner steps of the points, the same for both episodes.
      first_rates: before the agents learned; > 0.
      late_rates: after; > 0.
      first_loss: training loss of the first episode.
      late_loss: training loss of the late episode.
      layer_names: in the order of the rates.
      titles: of the two episodes.
    """
    figure = Figure(figsize=(PAGE, 3.2))
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 2))
    for column, (rates, loss) in enumerate(((first_rates, first_loss), (late_rates, late_loss))):
        draw_rates(axes[0, column], steps, rates, layer_names)
        axes[1, column].plot(steps, loss, color=DARK, lw=0.9)
        axes[0, column].set_title(titles[column])
        axes[1, column].set(xlabel="inner step", yscale="log")
        for row in axes:
            row[column].margins(x=0.01)
    for row in axes:
        plain_log_ticks(row[0])
    axes[0, 0].set_ylabel("learning rate")
    axes[1, 0].set_ylabel("training loss")
    name_layers(figure, axes[0, 1], layer_names)
    return figure


@styled
def spike_zoom(
    steps: Int[np.ndarray, " point"],
    rates: Float[np.ndarray, "point layer"],
    loss: Float[np.ndarray, " point"],
    layer_names: Sequence[str],
    spike: Spike | None = None,
    around: int | None = None,
) -> Figure:
    """Rates and training loss around one loss spike: who moved first, and what came of it.

    The form of figure 3 of Tessera et al. 2023, arXiv:2311.18598.

    Args:
      steps: inner step of each point.
      rates: learning rates, > 0.
      loss: training loss.
      layer_names: in the order of the rates.
      spike: by default `find_spike(loss)`.
      around: points shown on either side; by default four times the length of the rise, >= 20.

    Raises:
      ValueError: if the loss never rises.
    """
    spike = find_spike(loss) if spike is None else spike
    if spike is None:
        raise ValueError(
            "A figure of a spike needs a loss that rises somewhere; this one never does."
        )
    around = max(20, 4 * (spike.peak - spike.start)) if around is None else around
    shown = slice(max(0, spike.start - around), spike.peak + around + 1)
    figure = Figure(figsize=(COLUMN, 3.0))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    draw_rates(upper, steps[shown], rates[shown], layer_names)
    lower.plot(steps[shown], loss[shown], color=DARK)
    for axes in (upper, lower):
        axes.axvspan(steps[spike.start], steps[spike.peak], color=COLORS[4], alpha=0.25, lw=0)
        axes.margins(x=0.01)
    lower.annotate(
        f"x{math.exp(spike.height):.2g}",
        (steps[spike.peak], loss[spike.peak]),
        xytext=(4, -2),
        textcoords="offset points",
        fontsize=7,
        va="top",
    )
    upper.set_ylabel("learning rate")
    lower.set(xlabel="inner step", ylabel="training loss", yscale="log")
    plain_log_ticks(upper)
    plain_log_ticks(lower)
    name_layers(figure, upper, layer_names)
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
    figure.legend(
        shown.values(), shown.keys(), loc="outside upper center", ncols=2 if columns == 1 else 4
    )
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
