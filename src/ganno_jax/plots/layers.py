"""What is set for each layer while a network trains: rates and forgetting, and around a spike of the loss."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ganno_jax.evaluation.spikes import Spike, find_spike
from ganno_jax.plots.style import (
    COLORS,
    COLUMN,
    DARK,
    DASHES,
    PAGE,
    label_ends,
    layer_colors,
    legend_above,
    plain_log_ticks,
    styled,
)


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
        _draw_rates(axes[0, column], steps, rates, layer_names)
        axes[1, column].plot(steps, loss, color=DARK, lw=0.9)
        axes[0, column].set_title(titles[column])
        axes[1, column].set(xlabel="inner step", yscale="log")
        for row in axes:
            row[column].margins(x=0.01)
    for row in axes:
        plain_log_ticks(row[0])
    axes[0, 0].set_ylabel("learning rate")
    axes[1, 0].set_ylabel("training loss")
    _name_layers(figure, axes[0, 1], layer_names)
    return figure


@styled
def rates(history: Sequence[Mapping[str, float]]) -> Figure:
    """What a controller set for each layer of your own training, with the forgetting below where it sets that too.

    A layer that only some of the dicts have is drawn where it is there.

    Args:
      history: `ganno_jax.metrics(state)` of several updates, in their order.

    Raises:
      ValueError: it is no sequence of such dicts, or fewer than two are in it.
    """
    _check_history(history)
    titles = {"rate": "learning rate", "forgetting": "forgetting"}
    layers = {title: _layers_over_time(history, title) for title in titles}
    drawn = [title for title in titles if layers[title]]
    steps = np.array([numbers["step"] for numbers in history])
    figure = Figure(figsize=(COLUMN, 0.5 + 1.7 * len(drawn)))
    panels = figure.subplots(len(drawn), sharex=True, squeeze=False)[:, 0]
    for axes, title in zip(panels, drawn, strict=True):
        values = np.array(
            [
                [numbers.get(f"{title}/{layer}", np.nan) for layer in layers[title]]
                for numbers in history
            ]
        )
        _draw_rates(axes, steps, values, layers[title])
        plain_log_ticks(axes)
        axes.set_ylabel(titles[title])
        axes.margins(x=0.01)
    panels[-1].set_xlabel("update")
    _name_layers(figure, panels[0], layers["rate"])
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
    _draw_rates(upper, steps[shown], rates[shown], layer_names)
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
    _name_layers(figure, upper, layer_names)
    return figure


def _check_history(history: Sequence[Mapping[str, float]]) -> None:
    needs = "`history` must hold at least two dicts of `ganno_jax.metrics`"
    if not isinstance(history, Sequence) or isinstance(history, str):
        raise ValueError(f"{needs}; got one {type(history).__name__}.")
    for numbers in history:
        if not isinstance(numbers, Mapping):
            raise ValueError(f"{needs}; got a {type(numbers).__name__} in it.")
        if "step" not in numbers or not any(n.startswith("rate/") for n in numbers):
            found = ", ".join(map(str, numbers)) or "nothing"
            raise ValueError(f"{needs}, with `step` and `rate/LAYER`; got {found:.100}.")
    if len(history) < 2:
        raise ValueError(f"{needs}; got {len(history)}.")


def _layers_over_time(history: Sequence[Mapping[str, float]], title: str) -> list[str]:
    """Names of all layers that a quantity was ever logged of, each new one behind those before it."""
    names = (n for numbers in history for n in numbers if n.startswith(f"{title}/"))
    return list(dict.fromkeys(n.partition("/")[2] for n in names))


def _draw_rates(
    axes: Axes,
    steps: Int[np.ndarray, " point"],
    rates: Float[np.ndarray, "point layer"],
    layer_names: Sequence[str],
) -> None:
    if rates.shape[1] != len(layer_names):
        raise ValueError(f"{rates.shape[1]} layers need as many names; got {len(layer_names)}.")
    # The last rate is held for as long as the one before.
    ends = np.append(steps, 2 * steps[-1] - steps[-2])
    held = np.concatenate([rates, rates[-1:]])
    colors = layer_colors(len(layer_names))
    for layer, color in enumerate(colors):
        dash = DASHES[layer] if len(layer_names) <= len(DASHES) else "-"
        axes.step(ends, held[:, layer], where="post", color=color, ls=dash)
    axes.set_yscale("log")


def _name_layers(figure: Figure, axes: Axes, layer_names: Sequence[str]) -> None:
    """A legend above for few layers, names at the line ends for the first and last of many."""
    lines = axes.get_lines()[: len(layer_names)]
    if len(layer_names) <= len(COLORS):
        legend_above(figure, lines, layer_names)
        return
    shown = ((lines[0], layer_names[0]), (lines[-1], layer_names[-1]))
    ends = [(_last_drawn(line), name, line.get_color()) for line, name in shown]
    label_ends(axes, ends)


def _last_drawn(line: Line2D) -> float:
    heights = np.asarray(line.get_ydata(), float)
    return float(heights[np.isfinite(heights)][-1])
