"""Lines of layers: what is set for each of them over a training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ganno_jax.plots.style import (
    COLORS,
    COLUMN,
    DASHES,
    label_ends,
    layer_colors,
    plain_log_ticks,
    styled,
)


@styled
def rates(history: Sequence[Mapping[str, float]]) -> Figure:
    """What a controller set for each layer of your own training, with the forgetting below where it sets that too.

    Args:
      history: `ganno_jax.metrics(state)` of several updates, in their order.

    Raises:
      ValueError: fewer than two are in it.
    """
    if len(history) < 2:
        raise ValueError(
            f"`history` must hold at least two dicts of `ganno_jax.metrics`; got {len(history)}."
        )
    titles = {"rate": "learning rate", "forgetting": "forgetting"}
    drawn = [t for t in titles if any(name.startswith(f"{t}/") for name in history[0])]
    names = [n.partition("/")[2] for n in history[0] if n.startswith("rate/")]
    steps = np.array([numbers["step"] for numbers in history])
    figure = Figure(figsize=(COLUMN, 0.5 + 1.7 * len(drawn)))
    panels = figure.subplots(len(drawn), sharex=True, squeeze=False)[:, 0]
    for axes, title in zip(panels, drawn, strict=True):
        values = np.array([[numbers[f"{title}/{n}"] for n in names] for numbers in history])
        draw_rates(axes, steps, values, names)
        plain_log_ticks(axes)
        axes.set_ylabel(titles[title])
        axes.margins(x=0.01)
    panels[-1].set_xlabel("update")
    name_layers(figure, panels[0], names)
    return figure


def draw_rates(
    axes: Axes,
    steps: Int[np.ndarray, " point"],
    rates: Float[np.ndarray, "point layer"],
    layer_names: Sequence[str],
) -> None:
    """A line for each layer, as steps, on a logarithmic axis.

    Raises:
      ValueError: there are not as many names as layers.
    """
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


def name_layers(figure: Figure, axes: Axes, layer_names: Sequence[str]) -> None:
    """A legend above for few layers, names at the line ends for the first and last of many."""
    lines = axes.get_lines()[: len(layer_names)]
    if len(layer_names) <= len(COLORS):
        figure.legend(lines, layer_names, loc="outside upper center", ncols=min(4, len(lines)))
        return
    shown = ((lines[0], layer_names[0]), (lines[-1], layer_names[-1]))
    label_ends(axes, [(line.get_ydata()[-1], name, line.get_color()) for line, name in shown])
