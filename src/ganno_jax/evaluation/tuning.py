"""Tuning of handcrafted schedules: each over a grid of peak rates, on tuning seeds of its own."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, PRNGKeyArray

from ganno_jax.env.environment import Env
from ganno_jax.env.mapping import Mapping
from ganno_jax.evaluation.evaluate import evaluate
from ganno_jax.evaluation.halving import Rung, successive_halving
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.policies.bank import ScheduleBank
from ganno_jax.policies.feedback import ReduceOnPlateau
from ganno_jax.policies.schedules import SCHEDULES

PEAKS = tuple(float(x) for x in np.geomspace(0.01, 1.0, 9))


def tune_schedules(
    env: Env,
    keys: PRNGKeyArray,
    mesh: Mesh,
    chance_loss: float,
    peaks: tuple[float, ...] = PEAKS,
    mapping: Mapping = "auto",
    chunk: int | None = None,
) -> tuple[dict[str, float], Float[np.ndarray, "schedule peak"]]:
    """The best peak of every schedule, and of reduce-on-plateau, by mean final log selection loss.

    Successive halving of a single rung: every schedule needs its best peak, so every peak meets every seed.

    Args:
      env: whose trainings are tuned on.
      keys: tuning runs; keep them apart from the reported ones.
      mesh: devices.
      chance_loss: what a diverged run costs.
      peaks: the grid.
      mapping: over trainings.
      chunk: examples per pass in the final evaluation, to bound the memory.

    Returns:
      Peak by name, and the whole table of mean final log selection losses.
    """
    names = (*SCHEDULES, "plateau")

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

    found = successive_halving(run, len(names) * len(peaks), (Rung(len(keys)),))
    table = found.means.reshape(len(names), len(peaks))
    best = {name: float(peaks[int(np.argmin(row))]) for name, row in zip(names, table, strict=True)}
    return best, table
