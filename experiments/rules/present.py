"""Figures, summary and report of a search of update rules, from its tables and metrics."""

from typing import Any

import numpy as np

from experiments.configs.systems import RuleSearchConfig, RuleSearchExperiment
from experiments.rules.search import names_of
from experiments.runs import results
from experiments.runs.folder import RunFolder
from experiments.runs.logs import numbers_of, read_finished
from experiments.runs.progress import say
from ganno_jax import plots
from ganno_jax.evaluation.tables import Row
from ganno_jax.plots.rules import search_progress

BOARD = ("method", "rule", "canonical"), ("rank", "best_rate", "validation_accuracy", "evaluation")
"""Columns of the leaderboard that hold texts, and those that hold numbers."""
COMPARED = (
    ("policy", "kind", "reference"),
    (
        *("best_rate", "validation_accuracy", "share_diverged"),
        *(
            f"{key}{end}"
            for key in ("test_accuracy", "difference")
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
    """Figures, summary and report from the tables and the metrics."""
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
        "best_rule_rate": first["best_rate"],
        "best_rule_validation_accuracy": first["validation_accuracy"],
        "compared_test_accuracy": ours["test_accuracy"],
        "reference": ours["reference"],
        "reference_test_accuracy": base["test_accuracy"],
        "paired_difference": ours["difference"],
        "paired_difference_ci95": [ours["difference_lower"], ours["difference_upper"]],
        **_counts(progress, config.search),
        **timing,
    }
    headline = (
        f"The best rule of {first['method']} is {first['canonical']}. On the network it was not "
        f"searched on it reaches {ours['test_accuracy']:.1%} test accuracy, {ours['reference']} "
        f"{base['test_accuracy']:.1%}; the paired difference is {ours['difference']:+.2%} "
        f"[{ours['difference_lower']:+.2%}, {ours['difference_upper']:+.2%}] over "
        f"{config.search.num_runs} seeds."
    )
    caption = "On the network that no rule was searched on, best test accuracy on top"
    results.finish(
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
        [
            f"Every optimizer has the best of {len(config.search.rates)} rates, chosen by validation "
            f"accuracy on {config.search.tuning_runs} other seeds. A diverged run counts as guessing.",
            "The best of many rules by validation accuracy on the network searched on is chosen "
            "partly by chance: only the comparison on the other network counts.",
            "Differences are to the optimizer with the best validation accuracy; with so many rows, "
            "an interval that leaves zero out is weak evidence.",
            f"Random search, where it is a control, had {config.search.control_share:.0%} of the "
            "budget; compare methods at equal numbers of rules.",
        ],
    )
    for name in ("search", "evaluation"):
        say(f"{timing.get(f'seconds_{name}', 0.0):.0f} s of {name}")


def _shown(row: Row) -> Row:
    """A row of the comparison as it is shown."""
    low, high = row["test_accuracy_lower"], row["test_accuracy_upper"]
    return {
        "policy": row["policy"],
        "rule": row["rule"],
        "rate": row["best_rate"],
        "valid. acc.": row["validation_accuracy"],
        "test acc.": row["test_accuracy"],
        "95% interval": f"{low:.3f} to {high:.3f}",
        "vs. ref.": row["difference"],
        "diverged": row["share_diverged"],
    }


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
