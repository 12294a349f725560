"""Policies side by side: sensitivity to the initial rate, the table as a picture, profiles."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ganno_jax.evaluation.bootstrap import profile_band
from ganno_jax.evaluation.display import Row, ranged
from ganno_jax.evaluation.statistics import performance_profile
from ganno_jax.plots.style import (
    COLORS,
    COLUMN,
    DARK,
    FAINT,
    GREY,
    PAGE,
    label_ends,
    legend_above,
    looks,
    others_label,
    styled,
    text_color,
)


@styled
def sensitivity(
    policies: Mapping[str, tuple[Float[np.ndarray, " run"], Float[np.ndarray, " run"]]],
    highlight: Sequence[str] | None = None,
    ylabel: str = "final log test loss",
    num_bins: int = 10,
    chance: float | None = None,
) -> Figure:
    """A final metric against the learning rate that a run began with, for every policy.

    Runs are binned by the logarithm of their initial rate. Lines join the bins' medians at the
    median rate of the bin; bands hold the middle half of the highlighted policies' runs.

    Args:
      policies: of each the initial rates, > 0, and the metric, finite (diverged runs at their
        cost).
      highlight: policies in colour, the rest grey; by default all if at most seven.
      ylabel: what the metric is.
      num_bins: number of bins over the range of all initial rates, >= 1.
      chance: the metric of guessing, drawn as a dotted line.
    """
    look = looks(list(policies), highlight)
    everything = np.concatenate([rates for rates, _ in policies.values()])
    if not (everything > 0).all():
        raise ValueError(f"Initial rates need to be > 0 on a log axis; got {everything.min()}.")
    edges = np.linspace(
        *np.log(everything[[everything.argmin(), everything.argmax()]]), num_bins + 1
    )
    figure = Figure(figsize=(PAGE, 2.8))
    axes = figure.subplots()
    ends = []
    for name in sorted(policies, key=lambda name: look[name].named):
        rates, metric = policies[name]
        bins = np.clip(np.searchsorted(edges, np.log(rates), side="right") - 1, 0, num_bins - 1)
        members = [bins == index for index in np.unique(bins)]
        centers = [np.median(rates[chosen]) for chosen in members]
        quarters = np.array([np.quantile(metric[chosen], [0.25, 0.5, 0.75]) for chosen in members])
        style = look[name]
        axes.plot(
            centers,
            quarters[:, 1],
            color=style.color,
            ls=style.dash,
            marker=style.marker or ("." if len(centers) == 1 else ""),
            lw=1.2 if style.named else 0.7,
            zorder=3 if style.named else 2,
        )
        if style.named:
            axes.fill_between(
                centers, quarters[:, 0], quarters[:, 2], color=style.color, alpha=0.15, lw=0
            )
            if len(centers) > 1:
                ends.append((quarters[-1, 1], name, style.color))
            else:  # one rate only, such as a tuned schedule's: the name stands at its point
                _name_point(axes, centers[0], quarters[0, 1], name, style.color)
    if chance is not None:
        axes.axhline(chance, color=GREY, ls=":", lw=1)
        axes.annotate(
            "guessing",
            (0, chance),
            xycoords=("axes fraction", "data"),
            xytext=(2, -2),
            textcoords="offset points",
            color=DARK,
            fontsize=7,
            va="top",
        )
    axes.set(xscale="log", xlabel="initial learning rate", ylabel=ylabel)
    axes.margins(x=0.02)
    if others := others_label(look):
        axes.set_title(f"{others} in grey", loc="right", color=DARK, fontsize=7)
    label_ends(axes, ends)
    return figure


@styled
def forest(
    rows: Sequence[Row],
    highlight: Sequence[str] = (),
    key: str = "log_loss",
    xlabel: str = "mean final log test loss, 95% interval (lower is better)",
) -> Figure:
    """The table as a picture: one line per policy, its mean and interval, best on top.

    The shaded strip is the interval of the best. Policies far beyond most are shown as arrows at
    the right edge; their numbers stand beside them. Tuned peak rates are in brackets.

    Args:
      rows: of `evaluation.tables.summarize`.
      highlight: policies in colour, such as ours.
      key: what to show; rows also need `key`_lower and `key`_upper.
      xlabel: what is shown.
    """
    rows = sorted(rows, key=lambda row: row[key])
    names = [row["policy"] for row in rows]
    looks(names, highlight)  # an unknown name is an error
    figure = Figure(figsize=(PAGE, 0.6 + 0.17 * len(rows)))
    axes = figure.subplots()
    lowers, uppers = (
        np.array([row[f"{key}{end}"] for row in rows]) for end in ("_lower", "_upper")
    )
    left, most = lowers.min(), np.quantile(uppers, 0.75)
    right = min(uppers.max(), most + 0.5 * (most - left))
    for place, row in enumerate(rows):
        ours = row["policy"] in highlight
        color = COLORS[1] if ours else DARK
        value = row[key]
        if value > right:  # far off: an arrow, so that the others can be told apart
            axes.plot(right, place, marker=">", color=color, ms=4, clip_on=False)
        else:
            axes.plot([lowers[place], uppers[place]], [place, place], color=color, lw=1.4)
            axes.plot(
                value, place, marker="D" if ours else "o", color=color, ms=4.5 if ours else 3.5
            )
        axes.annotate(
            ranged(row, key, 3).replace("-", "\N{MINUS SIGN}"),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=6.5,
            color=color,
        )
    axes.set_xlim(left - 0.03 * (right - left), right + 0.02 * (right - left))
    best = rows[0]
    axes.axvspan(best[f"{key}_lower"], best[f"{key}_upper"], color=COLORS[0], alpha=0.1, lw=0)
    axes.set_yticks(range(len(rows)), [_with_peak(row) for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row["policy"] in highlight:
            label.set(color=COLORS[1], fontweight="bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel)
    return figure


@styled
def performance_profiles(
    policies: Mapping[str, Float[np.ndarray, " run"]],
    highlight: Sequence[str] | None = None,
    xlabel: str = "final log test loss",
    num_thresholds: int = 200,
    seed: int = 0,
) -> Figure:
    """Share of runs at or below each loss: a line to the left of and above another is better.

    Args:
      policies: of each the final log losses, finite (diverged runs at their cost).
      highlight: policies in colour with 95% bands, the rest grey; by default all if at most seven.
      xlabel: what is compared.
      num_thresholds: points of each line.
      seed: of the bootstrap.
    """
    look = looks(list(policies), highlight)
    everything = np.concatenate(list(policies.values()))
    # The range of the highlighted ones, so that a hopeless policy does not squeeze the rest.
    farthest = max(policies[name].max() for name, style in look.items() if style.named)
    thresholds = np.linspace(everything.min(), farthest, num_thresholds)
    figure = Figure(figsize=(COLUMN, 2.5))
    axes = figure.subplots()
    for name in sorted(policies, key=lambda name: look[name].named):
        style = look[name]
        axes.plot(
            thresholds,
            performance_profile(policies[name], thresholds),
            color=style.color,
            ls=style.dash,
            lw=1.2 if style.named else 0.7,
            label=name if style.named else None,
        )
        if style.named:
            low, high = profile_band(policies[name], thresholds, seed)
            axes.fill_between(thresholds, low, high, color=style.color, alpha=0.15, lw=0)
    if others := others_label(look):
        axes.plot([], [], color=FAINT, lw=0.7, label=others)
    axes.set(xlabel=xlabel, ylabel="share of runs at or below", ylim=(-0.02, 1.02))
    axes.margins(x=0.01)
    legend_above(figure, *axes.get_legend_handles_labels())
    return figure


def _name_point(axes: Axes, x: float, y: float, name: str, color: str) -> None:
    axes.annotate(
        name,
        (x, y),
        xytext=(4, 3),
        textcoords="offset points",
        color=text_color(color),
        fontsize=7,
    )


def _with_peak(row: Row) -> str:
    return row["policy"] if row.get("peak") is None else f"{row['policy']} ({row['peak']:.2g})"
