"""What a suite shows, in a paragraph."""

from collections.abc import Mapping

import numpy as np

from experiments.suites.compare import (
    COMPARED,
    LEARNERS,
    Cells,
    differences,
    learners_of,
    mean_accuracy,
    names_of,
    shown_interval,
)
from experiments.suites.methods import BASE, BLIND, OURS, REPLAY
from ganno_jax.evaluation.across_problems import at_or_below, is_level, over_problems


def headline(suite: Mapping[str, Cells], title: str) -> str:
    """The controller against its base, its replay, blind agents and tuned rivals; and with whom it is level."""
    learners = learners_of(next(iter(suite.values())))
    ours = LEARNERS if len(learners) > 1 else OURS
    parts, level = [], []
    exact = [f"the controller {mean_accuracy(suite, learners):.1%}"]
    for name in COMPARED:
        if name not in names_of(suite):
            continue
        gaps = differences(suite, ours, name)
        interval = over_problems(gaps)
        parts.append(
            f"{name} {shown_interval(interval)}, at or below it in {at_or_below(gaps).sum()} of {len(gaps)}"
        )
        level += [name] if is_level(interval) else []
        exact.append(f"{name} {mean_accuracy(suite, [name]):.1%}")
    said = (
        f" Level, since the interval over problems and seeds holds 0, with: {', '.join(level)}."
        if level
        else ""
    )
    said += _own_gain(suite, ours)
    scored = sum(np.isfinite(mean_accuracy({p: cells}, learners)) for p, cells in suite.items())
    if scored:
        said += (
            f" Report accuracy, mean over the problems with classes ({scored}): {', '.join(exact)}."
        )
    return (
        f"{title}: the controller's final report log loss minus that of {'; '.join(parts)}.{said}"
    )


def _own_gain(suite: Mapping[str, Cells], ours: str) -> str:
    """Whether the agents gain by what they see: only where they are lower than all that sees nothing."""
    names = names_of(suite)
    missing = [name for name in (BASE, REPLAY, BLIND) if name not in names]
    there = [name for name in (BASE, REPLAY, BLIND) if name in names]
    gaps = {name: over_problems(differences(suite, ours, name)) for name in there}
    not_lower = [name for name, interval in gaps.items() if not interval.upper < 0]
    if not_lower:
        return (
            f" No gain of the agents' own is shown: they are not lower than {', '.join(not_lower)}."
        )
    if missing:
        return (
            f" Whether the agents gain by what they see is not told without {', '.join(missing)}."
        )
    return " The agents gain by what they see: lower than their base, their replay and blind ones."
