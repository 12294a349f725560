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
from ganno_jax.evaluation.across_problems import (
    at_or_below,
    is_level,
    over_problems,
    problem_means,
)
from ganno_jax.evaluation.bootstrap import Interval
from ganno_jax.evaluation.headline import verdict
from ganno_jax.evaluation.statistics import interquartile_mean


def headline(suite: Mapping[str, Cells], title: str) -> str:
    """The controller against its base, its replay, blind agents and tuned rivals; and with whom it is level."""
    learners = learners_of(next(iter(suite.values())))
    ours = LEARNERS if len(learners) > 1 else OURS
    there = names_of(suite)
    gaps = {name: differences(suite, ours, name) for name in COMPARED if name in there}
    intervals = {name: over_problems(found) for name, found in gaps.items()}
    parts = [
        f"{name} {shown_interval(interval)}, middle half {interquartile_mean(problem_means(gaps[name])):+.3f}, at or "
        f"below it in {at_or_below(gaps[name]).sum()} of {len(gaps[name])}"
        for name, interval in intervals.items()
    ]
    level = [name for name, interval in intervals.items() if is_level(interval)]
    accuracies = {name: mean_accuracy(suite, [name]) for name in intervals}
    exact = [
        f"the controller {mean_accuracy(suite, learners):.1%}",
        *(f"{name} {share:.1%}" for name, share in accuracies.items()),
    ]
    said = (
        f" Level, since the interval over problems and seeds holds 0, with: {', '.join(level)}."
        if level
        else ""
    )
    said += _own_gain(intervals)
    scored = sum(np.isfinite(mean_accuracy({p: cells}, learners)) for p, cells in suite.items())
    if scored:
        said += (
            f" Report accuracy, mean over the problems with classes ({scored}): {', '.join(exact)}."
        )
    return (
        f"{title}: the controller's final report log loss minus that of {'; '.join(parts)}.{said}"
    )


def _own_gain(intervals: Mapping[str, Interval]) -> str:
    """Whether the agents gain by what they see: only where they are lower than all that sees nothing."""
    sees_nothing = (BASE, REPLAY, BLIND)
    missing = [name for name in sees_nothing if name not in intervals]
    not_lower = [n for n in sees_nothing if n in intervals and verdict(intervals[n]) != "lower"]
    if not_lower:
        return (
            f" No gain of the agents' own is shown: they are not lower than {', '.join(not_lower)}."
        )
    if missing:
        return (
            f" Whether the agents gain by what they see is not told without {', '.join(missing)}."
        )
    return " The agents gain by what they see: lower than their base, their replay and blind ones."
