"""What is said of trained agents on the problems that they learned on."""

from collections.abc import Sequence

import numpy as np

from experiments.runs.folder import RunFolder
from experiments.runs.progress import say
from ganno_jax.evaluation.csv_tables import write_csv
from ganno_jax.evaluation.tables import Row


def present(folder: RunFolder, rows: Sequence[Row], num_runs: int) -> None:
    """Write `own_kinds.csv` and say the means.

    Args:
      folder: of the run.
      rows: of `compare`.
      num_runs: behind each row.
    """
    folder.tables.mkdir(exist_ok=True)
    write_csv(rows, folder.tables / "own_kinds.csv")
    means = {
        name: np.mean([row[name] for row in rows])
        for name in ("trained", "untrained", "best_size_loss", "mean_schedule")
    }
    say(
        f"final log selection loss on the problems that it learned on: {means['trained']:.3f}, untrained "
        f"{means['untrained']:.3f}, untrained with the best size for each {means['best_size_loss']:.3f}, replay of "
        f"the mean schedule {means['mean_schedule']:.3f} "
        f"({num_runs} fresh runs of each; {folder.tables / 'own_kinds.csv'})"
    )
