"""What a method of a suite can be tuned over, and with how many seeds."""

import dataclasses
import itertools
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from experiments.configs.broad import Effort
from experiments.configs.config import Range
from experiments.problems.problem import ADAM_PEAKS
from ganno_jax.evaluation.halving import Rung, grid_neighbours
from ganno_jax.inner.directions import DIRECTIONS
from ganno_jax.policies import SCHEDULES

# Weight decays per unit of rate: of a decoupled decay, and of one that is added to the gradient.
DECOUPLED_DECAYS = (0.0, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
ADDED_DECAYS = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a method can be tuned over: `numbers` have a leading setting axis."""

    numbers: dict[str, np.ndarray]
    rungs: tuple[Rung, ...]
    start: Int[np.ndarray, " setting"] | None = None
    neighbours: Int[np.ndarray, "setting neighbour"] | None = None

    @property
    def count(self) -> int:
        """Of the settings."""
        return len(next(iter(self.numbers.values())))

    def cost(self) -> int:
        """Trainings, about: which neighbours join a rung, and how often the last one grows, depends on what is good."""
        joining = 0.0  # neighbours that join for each setting that goes on from the first rung
        if self.neighbours is not None:
            moved = (self.neighbours != np.arange(self.count)[:, None]).any(0)
            joining = 0.75 * moved.sum()
        trainings = (self.count if self.start is None else self.start.size) * self.rungs[0].seeds
        for before, rung in itertools.pairwise(self.rungs):
            trainings += before.kept * (rung.seeds - before.seeds + joining * rung.seeds)
            joining /= 3
        return round(trainings + joining * self.rungs[-1].seeds)

    def describe(self, setting: int) -> dict[str, Any]:
        """One setting by name."""
        found = {name: values[setting].item() for name, values in self.numbers.items()}
        if "schedule" in found:
            found["schedule"] = list(SCHEDULES)[found["schedule"]]
        return found


def rungs(effort: Effort, *kept: int) -> tuple[Rung, ...]:
    """Two seeds for all settings (one of fewer than four), four for those kept, all for those kept of them."""
    most = effort.tuning_seeds
    seeds = [1 if most < 4 else 2, min(4, most), most]
    goes_on = [min(k, effort.most_kept) for k in (*kept, 1)]
    return tuple(Rung(n, k) for n, k in zip(seeds, goes_on, strict=True))


def grid(
    effort: Effort,
    kept: tuple[int, int],
    peaks: Range,
    decays: tuple[float, ...],
    starts: tuple[int, ...],
) -> Settings:
    """Peaks and weight decays: every other peak first, with some decays, then finer around what is good.

    Peaks are a factor `effort.peak_factor` apart. The first ones cover `peaks`; three more on either side can be
    reached, so that the range cuts nothing off.

    Args:
      effort: how fine, with how many seeds.
      kept: settings that go on from the first and from the second rung.
      peaks: what the first peaks cover.
      decays: all of them.
      starts: places of those that are tried first.
    """
    axis, first = _peaks(effort, peaks)
    shape = (axis.size, len(decays))
    places = np.arange(axis.size * len(decays)).reshape(shape)
    peak, decay = np.meshgrid(axis, np.asarray(decays), indexing="ij")
    return Settings(
        {"peak": _float(peak), "decay": _float(decay)},
        rungs(effort, *kept),
        places[np.ix_(first, np.asarray(starts))].ravel(),
        grid_neighbours(shape),
    )


def schedules_grid(effort: Effort, peaks: Range, decays: tuple[float, ...], start: int) -> Settings:
    """Every schedule with every peak and weight decay; neighbours keep the schedule.

    Args:
      effort: how fine, with how many seeds.
      peaks: what the first peaks cover.
      decays: all of them.
      start: place of the one that is tried first.
    """
    one = grid(effort, (5, 2), peaks, decays, (start,))
    assert one.start is not None
    assert one.neighbours is not None
    offsets = np.arange(len(SCHEDULES)) * one.count
    numbers = {name: np.tile(values, len(SCHEDULES)) for name, values in one.numbers.items()}
    return Settings(
        {"schedule": np.repeat(np.arange(len(SCHEDULES)), one.count), **numbers},
        one.rungs,
        (offsets[:, None] + one.start).ravel(),
        (offsets[:, None, None] + one.neighbours).reshape(-1, one.neighbours.shape[1]),
    )


def decays_of(optimizer: str, own: float) -> tuple[tuple[float, ...], int]:
    """Weight decays to try over one of `directions.DIRECTIONS`, and the place of its own."""
    usual = DECOUPLED_DECAYS if DIRECTIONS[optimizer][1] else ADDED_DECAYS
    decays = tuple(sorted({*usual, own}))
    return decays, decays.index(own)


def rates_grid(effort: Effort) -> Settings:
    """Peaks for `one_rate`."""
    found = grid(effort, (3, 2), ADAM_PEAKS, (0.0,), (0,))
    return dataclasses.replace(found, numbers={"peak": found.numbers["peak"]})


def factors_grid(effort: Effort) -> Settings:
    """Factors on a controller's base: sixteen of its size and its forgetting."""
    size, forgetting = np.meshgrid((0.25, 0.5, 1.0, 2.0), (0.5, 1.0, 2.0, 4.0), indexing="ij")
    numbers = {"size": _float(size), "forgetting": _float(forgetting)}
    return Settings(numbers, rungs(effort, 4, 2))


def _peaks(
    effort: Effort, bounds: Range
) -> tuple[Float[np.ndarray, " peak"], Int[np.ndarray, " first"]]:
    """All peaks, and the places of those that are tried first."""
    low, high = bounds
    count = int(np.ceil(np.log(high / low) / np.log(effort.peak_factor) / 2 - 1e-9))
    steps = np.arange(-3, 2 * count + 4)
    factor = (high / low) ** (1 / max(2 * count, 1))
    return low * factor**steps, 3 + 2 * np.arange(count + 1)


def _float(values: Any) -> Float[np.ndarray, " setting"]:
    return np.asarray(values, np.float32).ravel()


SEARCH_SEED = 30_000


def nadamw_trials(effort: Effort) -> Settings:
    """Settings of `nadamw` drawn at random.

    As in the comparison of Metz et al. 2022, arXiv:2211.09760, with other ranges and fewer trials.
    """
    rng = np.random.default_rng(SEARCH_SEED)
    draw = {
        "momentum": lambda: 1 - 10 ** rng.uniform(-2, -0.5),
        "second_decay": lambda: 1 - 10 ** rng.uniform(-3.5, -1),
        "epsilon": lambda: 10 ** rng.uniform(-10, -5),
        "decay": lambda: 10 ** rng.uniform(-5, 0.5),
        "peak": lambda: 10 ** rng.uniform(-4, -1),
    }
    trials = [[number() for number in draw.values()] for _ in range(effort.num_trials)]
    numbers = {
        name: _float(column) for name, column in zip(draw, np.transpose(trials), strict=True)
    }
    return Settings(numbers, rungs(effort, 8, 3))
