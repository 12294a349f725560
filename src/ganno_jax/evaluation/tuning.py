"""Tuning of handcrafted schedules: each over a grid of peak rates, on tuning seeds of its own."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, PRNGKeyArray

from ganno_jax.env.environment import Env
from ganno_jax.env.mapping import Mapping
from ganno_jax.evaluation.evaluate import evaluate
from ganno_jax.evaluation.halving import Halving, Rung, successive_halving
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.policies.bank import ScheduleBank
from ganno_jax.policies.feedback import ReduceOnPlateau
from ganno_jax.policies.schedules import SCHEDULES

PEAKS = tuple(float(x) for x in np.geomspace(0.01, 1.0, 9))
TUNABLE = (*SCHEDULES, "plateau")
"""Names of what is tuned."""


@dataclasses.dataclass(frozen=True)
class TunedSchedules:
    """What was tried. Losses are mean final log selection losses over the seeds that a setting was run with."""

    grid: tuple[Any, ...]  # settings that every schedule was tried with, such as peaks
    log_loss: Float[np.ndarray, "schedule setting"]
    num_seeds: Int[np.ndarray, "schedule setting"]
    best: str  # the schedule that was chosen among all
    choice_loss: float  # expected loss from a bad choice, by resampling the seeds
    trainings: int

    @property
    def chosen(self) -> dict[str, Any]:
        """The setting of every schedule: the best of those that were run with most seeds."""
        most = self.num_seeds == self.num_seeds.max(axis=1, keepdims=True)
        chosen = np.where(most, self.log_loss, np.inf).argmin(axis=1)
        return {name: self.grid[i] for name, i in zip(TUNABLE, chosen, strict=True)}


def by_schedule(found: Halving, grid: Sequence[Any]) -> TunedSchedules:
    """What halving found, where setting i is schedule `i // len(grid)` of `TUNABLE` with `grid[i % len(grid)]`.

    Args:
      found: by `successive_halving`.
      grid: settings that every schedule was tried with.
    """
    shape = (len(TUNABLE), len(grid))
    return TunedSchedules(
        grid=tuple(grid),
        log_loss=found.means.reshape(shape),
        num_seeds=np.isfinite(found.losses).sum(axis=1).reshape(shape),
        best=TUNABLE[found.best // len(grid)],
        choice_loss=found.choice_loss,
        trainings=found.trainings,
    )


def rungs_of(
    num_settings: int, num_seeds: int, shares: tuple[int, int] = (8, 2)
) -> tuple[Rung, ...]:
    """All settings with few of the seeds, a fifth of them with more, a fifteenth with all.

    Args:
      num_settings: how many there are.
      num_seeds: of the last rung.
      shares: by what that is divided in the first rung and in the second.
    """
    first, second = shares
    return (
        Rung(max(1, num_seeds // first), max(1, num_settings // 5)),
        Rung(max(1, num_seeds // second), max(1, num_settings // 15)),
        Rung(num_seeds),
    )


def tune_schedules(
    env: Env,
    keys: PRNGKeyArray,
    mesh: Mesh,
    chance_loss: float,
    peaks: tuple[float, ...] = PEAKS,
    *,
    rungs: Sequence[Rung] | None = None,
    mapping: Mapping = "auto",
    chunk: int | None = None,
) -> TunedSchedules:
    """The best peak of every schedule, and of reduce-on-plateau, by mean final log selection loss.

    Successive halving of all schedules at all peaks together; a schedule whose peaks all drop out early has the best
    peak of those that came furthest.

    Args:
      env: whose trainings are tuned on.
      keys: tuning runs; keep them apart from the reported ones.
      mesh: devices.
      chance_loss: what a diverged run costs.
      peaks: the grid.
      rungs: of the halving, the last one of as many seeds as there are keys; by default every peak meets every
        seed.
      mapping: over trainings.
      chunk: examples per pass in the final evaluation, to bound the memory.
    """

    def run(
        settings: Int[np.ndarray, " setting"], seeds: Int[np.ndarray, " seed"]
    ) -> Float[np.ndarray, "setting seed"]:
        schedule, place = np.divmod(settings, len(peaks))
        peak = jnp.asarray(peaks, jnp.float32)[place]
        by_plateau = schedule == len(SCHEDULES)
        plateaus = jax.vmap(lambda peak: ReduceOnPlateau(peak=peak))(peak[by_plateau])
        schedules = ScheduleBank(jnp.asarray(schedule[~by_plateau]), peak[~by_plateau])
        losses = np.empty((settings.size, seeds.size))
        for policies, rows in ((schedules, ~by_plateau), (plateaus, by_plateau)):
            if not rows.any():
                continue
            curves = evaluate(
                env,
                policies,
                keys[seeds],
                mesh,
                num_policies=int(rows.sum()),
                mapping=mapping,
                chunk=chunk,
            )
            losses[rows] = log_losses(curves.selection_loss, chance_loss, curves.diverged)
        return losses

    found = successive_halving(run, len(TUNABLE) * len(peaks), rungs or (Rung(len(keys)),))
    return by_schedule(found, peaks)
