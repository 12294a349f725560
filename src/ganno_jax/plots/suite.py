"""Figures about many problems: what happens to a controller when one setting changes."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ganno_jax.plots.style import PAGE, legend_above, looks, styled

Panel = Mapping[str, tuple[Sequence[str], Float[np.ndarray, "value run"]]]


@styled
def sweep_panels(panels: Mapping[str, Panel], ylabel: str = "final log test loss") -> Figure:
    """One panel per setting: medians over runs joined by lines, the middle half as bars.

    Args:
      panels: by setting; in each, by method, the values as text and the losses `[value, run]`, finite.
      ylabel: what the losses are.

    Raises:
      ValueError: there is no panel.
    """
    if not panels:
        raise ValueError("a figure needs at least one panel.")
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(PAGE, 1.75 * rows + 0.3))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    lines = {}
    for axes, (setting, panel) in zip(grid, panels.items(), strict=False):
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
    for axes in grid[::columns]:
        axes.set_ylabel(ylabel)
    legend_above(figure, list(lines.values()), list(lines))
    return figure
