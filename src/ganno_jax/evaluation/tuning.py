"""Tuning of handcrafted schedules: each over a grid of peak rates, on tuning seeds of its own."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, PRNGKeyArray

from ganno_jax.env.environment import Env
from ganno_jax.env.mapping import Mapping
from ganno_jax.evaluation.evaluate import evaluate
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
    grid = [(s, p) for s in range(len(SCHEDULES)) for p in peaks]
    bank = ScheduleBank(
        jnp.asarray([s for s, _ in grid]), jnp.asarray([p for _, p in grid], jnp.float32)
    )
    by_schedule = evaluate(
        env, bank, keys, mesh, num_policies=len(grid), mapping=mapping, chunk=chunk
    )
    plateau = jax.vmap(lambda peak: ReduceOnPlateau(peak=peak))(jnp.asarray(peaks, jnp.float32))
    plateau = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(peaks), *jnp.shape(x)[1:])), plateau)
    by_plateau = evaluate(
        env, plateau, keys, mesh, num_policies=len(peaks), mapping=mapping, chunk=chunk
    )
    losses = np.concatenate([by_schedule.selection_loss, by_plateau.selection_loss])
    diverged = np.concatenate([by_schedule.diverged, by_plateau.diverged])
    table = log_losses(losses, chance_loss, diverged).mean(-1).reshape(len(names), len(peaks))
    best = {name: float(peaks[int(np.argmin(row))]) for name, row in zip(names, table, strict=True)}
    return best, table
