"""One look for all figures: column widths, type size, colours that colour-blind readers can tell.

No pyplot and no lasting change of matplotlib's settings: `styled` sets them while a figure is made.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

COLUMN, PAGE = 3.3, 6.7  # inches: one column and the full width of a two-column paper
FAINT, GREY, DARK = "#c4c4c4", "#9a9a9a", "#333333"

# Okabe and Ito 2008, "Color universal design", without the yellow, which is too light for a line.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

SETTINGS = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.formatter.use_mathtext": True,
}

P = ParamSpec("P")


class Look(NamedTuple):
    """How one line is drawn."""

    color: str
    dash: str | tuple
    marker: str
    named: bool


def styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a figure under the package's settings, whatever the caller's are."""

    @functools.wraps(make)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(["default", SETTINGS]):
            return make(*args, **kwargs)

    return wrapped


def save(figure: Figure, path: str | Path, dpi: int = 200) -> Path:
    """Write a figure as PNG; the same figure gives the same bytes with the same matplotlib.

    Args:
      figure: as made by this package.
      path: ends in `.png`; missing folders are made.
      dpi: pixels per inch, >= 150, so that 7-point type stays readable.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"Figures are saved as .png; got {path.name}.")
    if dpi < 150:
        raise ValueError(f"`dpi` needs to be at least 150 to keep small type readable; got {dpi}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.style.context(["default", SETTINGS]):  # some are read only while drawing
        figure.savefig(path, dpi=dpi, metadata={"Software": None})
    return path


def looks(names: Sequence[str], highlight: Sequence[str] | None) -> dict[str, Look]:
    """A look for every name: up to seven stand out, the rest are thin and grey.

    Args:
      names: all that will be drawn.
      highlight: which stand out; by default all if there are at most seven, else the first.
    """
    if highlight is None:
        highlight = list(names) if len(names) <= len(COLORS) else list(names)[:1]
    unknown = [name for name in highlight if name not in names]
    if unknown:
        raise ValueError(
            f"Nothing named '{unknown[0]}' to highlight; there are: {', '.join(names)}."
        )
    if len(highlight) > len(COLORS):
        raise ValueError(f"At most {len(COLORS)} can stand out at once; got {len(highlight)}.")
    ours = {name: Look(COLORS[i], DASHES[i], MARKERS[i], True) for i, name in enumerate(highlight)}
    return {name: ours.get(name, Look(FAINT, "-", "", False)) for name in names}


def others_label(looks_of: Mapping[str, Look]) -> str | None:
    """What the legend calls the grey lines, None if there are none."""
    count = sum(not look.named for look in looks_of.values())
    return f"{count} other{'s' if count > 1 else ''}" if count else None


def legend_above(figure: Figure, lines: Sequence[Artist], names: Sequence[str]) -> None:
    """A legend over the whole figure, in up to four columns: as many as its width has room for.

    The figure grows by what more than three rows need, so that its panels keep their height.

    Args:
      figure: of its final width.
      lines: what is explained, one for each name.
      names: of the lines.
    """
    for columns in range(min(4, len(names)), 0, -1):
        legend = figure.legend(lines, names, loc="outside upper center", ncols=columns)
        box, rows = legend.get_window_extent(), -(-len(names) // columns)
        if box.width <= figure.bbox.width or columns == 1:
            more = max(0, rows - 3) / rows * box.height / figure.dpi
            figure.set_figheight(figure.get_figheight() + more)
            return
        legend.remove()


def layer_colors(num_layers: int) -> list:
    """Distinct colours for few layers, a scale from first (dark) to last (light) for many."""
    if num_layers <= len(COLORS):
        return list(COLORS[:num_layers])
    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.8, num_layers)))


def label_ends(
    axes: Axes, labels: Sequence[tuple[float, str, str]], size: float = 7, gap: float = 1.25
) -> None:
    """Write each line's name beside its right end, pushed apart so that no two overlap.

    Args:
      axes: with final limits and scales.
      labels: of each line the height of its end in data units, its name and its colour.
      size: of the type in points.
      gap: least distance of two labels, in units of the type size.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    pixels = size * figure.dpi / 72 * gap
    box = axes.get_window_extent()
    ends = sorted((axes.transData.transform((1, y))[1], text, color) for y, text, color in labels)
    heights = np.array([np.clip(height, box.y0, box.y1) for height, _, _ in ends])
    for _ in range(200):  # push pairs apart until they fit
        overlap = pixels - np.diff(heights)
        if (overlap <= 0.01).all():
            break
        push = np.maximum(overlap, 0) / 2
        heights[:-1] -= push
        heights[1:] += push
    for height, (_, text, color) in zip(heights, ends, strict=True):
        axes.annotate(
            text,
            (1, (height - box.y0) / box.height),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            color=text_color(color),
            fontsize=size,
            va="center",
            annotation_clip=False,
        )


def text_color(color: Any) -> tuple[float, ...]:
    """A darker shade of a line's colour, since thin type needs more contrast than a line."""
    return tuple(0.75 * part for part in to_rgb(color))


def grid_of(figure: Figure, count: int, columns: int) -> list[Axes]:
    """`count` panels on shared axes, row by row; the lowest of each column carries the numbers.

    Args:
      figure: without axes yet.
      count: panels, >= 1; what is left over in the last row stays empty.
      columns: panels in a row, >= 1.
    """
    rows = math.ceil(count / columns)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    for axes in panels[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return panels[:count]


def plain_log_ticks(axes: Axes) -> None:
    """On a log y axis of up to two decades, ticks such as 0.4, 0.6, 0.8 or 0.2, 0.5, 1 and no powers."""
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    if decades > 2:
        return
    subs = (1, 1.5, 2, 3, 4, 6, 8) if decades < 0.8 else (1, 2, 5)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
