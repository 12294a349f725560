"""Bounds of settings, which stand beside the settings: `Annotated[int, Within(1)]`. Imports nothing heavy."""

import itertools
import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

HIGHEST_RATE = 10.0  # of a training: agents' rates end there too
HIGHEST_PEAK = 1000.0  # of a schedule that is tuned
HIGHEST_LEARNING_RATE = 1.0  # of the agents' own Adam
WIDEST_ALPHA = 50.0  # whose exponential is finite, as controller files have it
WIDEST, MOST_MEMBERS = 16_384, 1_000  # networks and teams, likewise
LARGEST_SIZE = 1000.0  # of an update against its weights
MANY = 1e6
MOST_PASSES = 1000  # over a rollout
MOST_RUNS = 100_000  # of a cell of a suite: it takes weeks
MOST = 10**9  # of anything that is counted: below what a counter of 32 bits holds


class Bound(Protocol):
    """What a setting must be."""

    def check(self, name: str, value: Any) -> None:
        """Raise a `ValueError` where the value of this name is out of bounds."""
        ...


@dataclass(frozen=True)
class Within:
    """A number, where there is one, from the lowest to the highest, and finite."""

    lowest: float
    highest: float = math.inf

    def check(self, name: str, value: float | None) -> None:
        """Raise a `ValueError` where the number is outside of these ends."""
        require_within({name: (value, self.lowest, self.highest)})


@dataclass(frozen=True)
class Positive:
    """A number, where there is one, above 0 and at most the highest."""

    highest: float

    def check(self, name: str, value: float | None) -> None:
        """Raise a `ValueError` where the number is not above 0, or above the highest."""
        require_positive({name: value}, self.highest)


@dataclass(frozen=True)
class BelowOne:
    """A number that is at least 0 and below 1."""

    def check(self, name: str, value: float) -> None:
        """Raise a `ValueError` where the number is below 0, or 1 and more."""
        if not 0 <= value < 1:
            raise ValueError(f"`{name}` must be at least 0 and below 1; got {value}.")


@dataclass(frozen=True)
class Rising:
    """Two numbers, where there are some, the second not below the first."""

    lowest: float = -math.inf
    above: float = -math.inf
    highest: float = math.inf

    def check(self, name: str, value: tuple[float, float] | None) -> None:
        """Raise a `ValueError` where the pair falls or is outside of these ends."""
        if value is None:
            return
        require_range(name, value, lowest=self.lowest, above=self.above, highest=self.highest)


@dataclass(frozen=True)
class Each:
    """A bound of every one of several numbers, where there are some."""

    bound: Bound

    def check(self, name: str, value: tuple[float, ...] | None) -> None:
        """Raise a `ValueError` for the first number that is out of the bound."""
        for number, one in enumerate(value or ()):
            self.bound.check(f"{name}[{number}]", one)


@dataclass(frozen=True)
class Some:
    """Several numbers, at least one."""

    def check(self, name: str, value: tuple[float, ...]) -> None:
        """Raise a `ValueError` where there is none."""
        if not value:
            raise ValueError(f"`{name}` needs one number or more; got none.")


@dataclass(frozen=True)
class Ladder:
    """Numbers above 0, at least one, each above the one before or equal to it."""

    highest: float

    def check(self, name: str, value: tuple[float, ...]) -> None:
        """Raise a `ValueError` where there is none, or one is outside or below the one before."""
        within = all(0 < number <= self.highest for number in value)  # nan neither
        if not value or not within or list(value) != sorted(value):
            raise ValueError(
                f"`{name}` must be above 0 and rise, to {self.highest:g} at most; got {value}"
            )


@dataclass(frozen=True)
class Ascending:
    """Numbers, each above the one before."""

    def check(self, name: str, value: tuple[float, ...]) -> None:
        """Raise a `ValueError` where one is not."""
        if any(low >= high for low, high in itertools.pairwise(value)):
            said = " ".join(f"{number:g}" for number in value)
            raise ValueError(f"`{name}` must rise from each number to the next; got {said}.")


@dataclass(frozen=True)
class Seed:
    """One of the 2**32 seeds that differ."""

    def check(self, name: str, value: int) -> None:
        """Raise a `ValueError` for any other number."""
        require_seeds({name: value})


Count = Annotated[int, Within(1)]
SomeCount = Annotated[int | None, Within(1)]
SeedNumber = Annotated[int, Seed()]


def check_bounds(group: Any, where: str = "") -> None:
    """Raise a `ValueError` for the first setting of a group that is out of the bounds beside it.

    Args:
      group: a dataclass; groups in it are not looked into.
      where: before the names, such as "learner.".
    """
    for name, hint in typing.get_type_hints(type(group), include_extras=True).items():
        for bound in getattr(hint, "__metadata__", ()):
            if hasattr(bound, "check"):
                bound.check(f"{where}{name}", getattr(group, name))


def require_within(numbers: dict[str, tuple[float | None, float, float]]) -> None:
    """Raise a `ValueError` where a named value, if there is one, is not from its lowest to its highest, or `MOST`."""
    for name, (value, lowest, highest) in numbers.items():
        if value is not None and not lowest <= value <= min(highest, MOST):
            upper = _at_most(highest, value)
            raise ValueError(f"`{name}` must be at least {lowest:g}{upper}; got {value}.")


def _at_most(highest: float, value: float) -> str:
    """The upper bound in words; `MOST`, which is there against senseless numbers, only where it is passed."""
    return "" if highest > MOST and value <= MOST else f" and at most {min(highest, MOST):g}"


def require_seeds(seeds: dict[str, int]) -> None:
    """Raise a `ValueError` where a named seed is not one of the 2**32 that differ."""
    for name, seed in seeds.items():
        if not 0 <= seed < 2**32:
            raise ValueError(f"`{name}` must be from 0 to 2**32 - 1; got {seed}.")


def require_positive(values: dict[str, float | None], highest: float) -> None:
    """Raise a `ValueError` where a named value, if there is one, is not above 0 and at most `highest`."""
    for name, value in values.items():
        if value is not None and not 0 < value <= highest:
            raise ValueError(f"`{name}` must be above 0 and at most {highest:g}; got {value}.")


def require_range(
    name: str,
    bounds: tuple[float, float],
    *,
    lowest: float = -math.inf,
    above: float = -math.inf,
    highest: float = math.inf,
) -> None:
    """Raise a `ValueError` where a pair is no range between these ends.

    Args:
      name: of the setting.
      bounds: the pair, low and high.
      lowest: that the low one may be.
      above: what the low one must be above.
      highest: that the high one may be.
    """
    low, high = bounds
    if not (above < low <= high <= highest and lowest <= low and math.isfinite(high)):
        needs = f"above {above:g}" if above > -math.inf else f"at least {lowest:g}"
        upper = "" if highest == math.inf else f", at most {highest:g}"
        raise ValueError(
            f"`{name}` must be a range low to high, {needs}{upper}; got {low:g} {high:g}."
        )
