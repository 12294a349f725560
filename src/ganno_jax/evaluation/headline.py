"""A result in words: one policy beside those by which its gain is judged."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ganno_jax.evaluation.bootstrap import Interval, paired_difference
from ganno_jax.evaluation.display import Row, ranged
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.evaluation.tables import PolicyResult


def differences(
    results: Sequence[PolicyResult],
    ours: str,
    others: Sequence[str],
    chance_loss: float | Float[np.ndarray, " run"],
    **settings: Any,
) -> dict[str, Interval]:
    """Final log losses of one policy minus those of others in the same runs, on the report split.

    Args:
      results: of all policies, over the same runs.
      ours: name of the policy.
      others: names of those it is compared with.
      chance_loss: as in `summarize`.
      **settings: of `bootstrap.paired_difference`.
    """
    found = {
        result.name: log_losses(result.final_loss, chance_loss, result.diverged)
        for result in results
        if result.name in (ours, *others)
    }
    return {name: paired_difference(found[ours], found[name], **settings) for name in others}


def verdict(difference: Interval) -> str:
    """Lower, higher, or level: the interval contains zero."""
    return "lower" if difference.upper < 0 else "higher" if difference.lower > 0 else "level"


def headline(rows: Sequence[Row], policy: str, against: Mapping[str, Interval]) -> str:
    """One policy beside those by which its gain is judged, whichever way it went.

    Args:
      rows: of `summarize`.
      policy: its name.
      against: `differences` to the others, by how each is to be called. A gain is the policy's own only where it is
        lower than all of them.
    """
    row = next((row for row in rows if row["policy"] == policy), None)
    if row is None:
        names = ", ".join(row["policy"] for row in rows)
        raise ValueError(f"No policy '{policy}' in the table; there are: {names}.")
    share = row["share_diverged"]
    broken = f"{share:.1%} of the runs diverged" if share else "no run diverged"
    compared = "; ".join(
        f"{d.estimate:+.3f} [{d.lower:+.3f}, {d.upper:+.3f}] to {name}: {verdict(d)}"
        for name, d in against.items()
    )
    not_lower = [name for name, d in against.items() if verdict(d) != "lower"]
    gain = (
        f"No gain of its own: not lower than {', '.join(not_lower)}."
        if not_lower
        else "Lower than all of them: a gain of its own."
    )
    return (
        f"Over {row['runs']} runs {policy} ends at a mean log test loss of "
        f"{ranged(row, 'log_loss', 3)}{_accuracy(row)}; {broken}. Paired differences: {compared}. {gain}"
    )


def _accuracy(row: Row) -> str:
    return "" if math.isnan(row["accuracy"]) else f" and {row['accuracy']:.1%} test accuracy"
