"""How far numbers of the same group are from each other."""

from collections.abc import Hashable, Iterable

import numpy as np


def deviation_within(groups: Iterable[Hashable], numbers: np.ndarray) -> float:
    """Their standard deviation around the mean of their group, over all groups of two and more."""
    members: dict[Hashable, list[float]] = {}
    for group, number in zip(groups, numbers, strict=True):
        members.setdefault(group, []).append(number)
    several = [np.array(x) for x in members.values() if len(x) > 1]
    squares = sum(((x - x.mean()) ** 2).sum() for x in several)
    return float(np.sqrt(squares / sum(len(x) - 1 for x in several)))
