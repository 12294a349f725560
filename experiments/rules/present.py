"""Figures, summary and report of a search of update rules, from its tables and metrics."""

from typing import Any

import numpy as np

from experiments.configs.rules import RuleSearchConfig, RuleSearchExperiment
from experiments.rules.search import names_of
from experiments.runs import outputs
from experiments.runs.folder import RunFolder
from experiments.runs.logs import numbers_of, read_finished
from experiments.runs.progress import say
from ganno_jax import plots
from ganno_jax.evaluation.tables import Row
from ganno_jax.plots.rules import search_progress

BOARD = ("method", "rule", "canonical"), ("rank", "best_rate", "reward_accuracy", "evaluation")
"""Columns of the leaderboard that hold texts, and those that hold numbers."""
COMPARED = (
    ("policy", "kind", "reference"),
    (
        *("best_rate", "selection_accuracy", "share_diverged"),
        *(
            f"{key}{end}"
            for key in ("test_log_loss", "test_accuracy", "log_loss_difference", "difference")
            for end in ("", "_lower", "_upper")
        ),
    ),
)
"""The same of the comparison."""


def present(
    config: RuleSearchExperiment,
    folder: RunFolder,
    board: list[Row],
    comparison: list[Row],
    timing: dict[str, float],
) -> None:
    """Figures, summary and report from the tables and the metrics.

    Args:
      config: of the run.
      folder: of the run.
      board: the leaderboard.
      comparison: rows of `compare`.
      timing: seconds by name, for the summary.
    """
    lines = read_finished(folder.metrics)
    progress = {}
    for name in names_of(config.search):
        kept = [line for line in lines if line.get("of") == name]
        if not kept:
            raise ValueError(f"{folder.metrics} has no records of the {name}")
        title = config.search.method if name == "search" else "random"
        columns = ("evaluated", "best", "reward_mean")
        progress[title] = tuple(np.asarray(numbers_of(kept, key)) for key in columns)
    plots.save(search_progress(progress), folder.figures / "search.png")
    shown = [
        {**row, **{f"log_loss{end}": 1.0 - row[f"test_accuracy{other}"] for end, other in _ENDS}}
        for row in comparison
    ]
    figure = plots.forest(
        shown,
        [row["policy"] for row in shown if row["kind"] == "found rule"][:7],
        xlabel="test error of the best of the tried rates, 95% interval (lower is better)",
    )
    plots.save(figure, folder.figures / "comparison.png")
    first = next(row for row in board if row["method"] == config.search.method)
    ours = next(row for row in comparison if row["policy"] == f"{first['method']} #1")
    base = next(row for row in comparison if row["policy"] == ours["reference"])
    numbers = {
        "best_rule": first["canonical"],
        "compared_test_log_loss": ours["test_log_loss"],
        "compared_test_accuracy": ours["test_accuracy"],
        "reference": ours["reference"],
        "reference_test_log_loss": base["test_log_loss"],
        "reference_test_accuracy": base["test_accuracy"],
        "paired_log_loss_difference": ours["log_loss_difference"],
        "paired_log_loss_difference_ci95": _ends(ours, "log_loss_difference"),
        "paired_difference": ours["difference"],
        "paired_difference_ci95": _ends(ours, "difference"),
        "selection_accuracy": ours["selection_accuracy"],
        "best_rule_reward_accuracy": first["reward_accuracy"],
        "best_rule_rate": first["best_rate"],
        **_counts(progress, config.search),
        **timing,
    }
    headline = _headline(first, ours, base, config.search.num_runs)
    caption = "On the network that no rule was searched on, best test accuracy on top"
    outputs.finish(
        folder,
        headline,
        numbers,
        [
            (caption, [_shown(row) for row in comparison]),
            ("Leaderboard of the search", [row for row in board if row["rank"] <= 10]),
        ],
        [
            ("Best and mean reward over the rules evaluated.", "figures/search.png"),
            (
                "Test error of rules and optimizers; found rules in colour.",
                "figures/comparison.png",
            ),
        ],
        _notes(config.search),
    )
    for name in ("search", "evaluation"):
        say(f"{timing.get(f'seconds_{name}', 0.0):.0f} s of {name}")


def _notes(config: RuleSearchConfig) -> list[str]:
    """How the comparison was made, and what to make of it."""
    return [
        f"Every optimizer has the best of {len(config.rates)} rates, chosen by accuracy on the selection "
        f"split, on {config.tuning_runs} other seeds. A diverged run counts as guessing.",
        "Rules are rewarded by the accuracy on training examples that each training of the search sets aside. "
        "The best of many is chosen partly by chance: only the comparison on the other network counts.",
        "Differences are to the optimizer with the best selection accuracy; with so many rows, "
        "an interval that leaves zero out is weak evidence.",
        f"Random search, where it is a control, had {config.control_share:.0%} of the "
        "budget; compare methods at equal numbers of rules.",
    ]


def _headline(first: Row, ours: Row, base: Row, num_runs: int) -> str:
    """The best rule beside the reference, on the report split of the network that it was not searched on.

    Args:
      first: of the leaderboard.
      ours: the same rule's row of the comparison.
      base: the reference's.
      num_runs: behind both.
    """
    (loss_low, loss_high), (low, high) = (
        _ends(ours, key) for key in ("log_loss_difference", "difference")
    )
    return (
        f"The best rule of {first['method']} is {first['canonical']}. On the network it was not searched on it ends at "
        f"a log test loss of {ours['test_log_loss']:.3f} and {ours['test_accuracy']:.1%} test accuracy, "
        f"{ours['reference']} at {base['test_log_loss']:.3f} and {base['test_accuracy']:.1%}; paired differences are "
        f"{ours['log_loss_difference']:+.3f} [{loss_low:+.3f}, {loss_high:+.3f}] and {ours['difference']:+.2%} "
        f"[{low:+.2%}, {high:+.2%}] over {num_runs} seeds."
    )


def _shown(row: Row) -> Row:
    """A row of the comparison as it is shown."""
    low, high = _ends(row, "test_accuracy")
    return {
        "policy": row["policy"],
        "rule": row["rule"],
        "log test\nloss": row["test_log_loss"],
        "test\nacc.": row["test_accuracy"],
        "95% interval": f"{low:.3f} to {high:.3f}",
        "acc. vs.\nref.": row["difference"],
        "diver-\nged": row["share_diverged"],
        "selec.\nacc.": row["selection_accuracy"],
        "rate": row["best_rate"],
    }


def _ends(row: Row, key: str) -> list[float]:
    """Of the interval around a number of a row."""
    return [row[f"{key}_lower"], row[f"{key}_upper"]]


_ENDS = (("", ""), ("_lower", "_upper"), ("_upper", "_lower"))


def _counts(progress: dict[str, Any], config: RuleSearchConfig) -> dict[str, float]:
    """Rules evaluated, and the best of search and control at the control's budget."""
    evaluated, best, _ = progress[config.method]
    counts = {"rules_evaluated": int(evaluated[-1])}
    if len(progress) > 1:
        other, control, _ = progress["random"]
        at = min(int(np.searchsorted(evaluated, other[-1])), len(best) - 1)
        counts |= {
            "control_rules": int(other[-1]),
            "control_best": float(control[-1]),
            "search_best_at_control_rules": float(best[at]),
        }
    return counts
