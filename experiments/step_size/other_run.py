"""Controllers that another run found, to be tested in the place of a search."""

from pathlib import Path

import numpy as np

from experiments.configs.step_size import StepSizeExperiment
from experiments.runs import folder as folders
from experiments.runs import outputs
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from ganno_jax.evaluation.tables import Row
from ganno_jax.policies.step_size import WEIGHTS

Thetas = dict[str, np.ndarray]  # by optimizer, in the order of WEIGHTS


def other_run(config: StepSizeExperiment) -> tuple[StepSizeExperiment, RunFolder]:
    """The run whose controllers are taken.

    Raises:
      UserError: there is none, or it is of another kind.
    """
    folder = RunFolder(Path(config.step_size.controllers or "").expanduser())
    other = folders.stored_config(folder)
    if not isinstance(other, StepSizeExperiment):
        raise UserError(f"{folder.path} is a run of {other.preset}, which learns no step sizes")
    return other, folder


def stored_weights(folder: RunFolder) -> list[Row]:
    """The table of a run's controllers, a row for each optimizer."""
    return outputs.stored_rows(folder, "controllers", ("optimizer",), WEIGHTS)


def controllers_of(config: StepSizeExperiment) -> Thetas:
    """The controllers that another run found, for the optimizers asked for."""
    other, folder = other_run(config)
    if other.step_size.by_layer != config.step_size.by_layer:
        option = "by_layer" if other.step_size.by_layer else "no_by_layer"
        raise UserError(f"the controllers in {folder.path} need --step_size.{option}")
    rows = {row["optimizer"]: row for row in stored_weights(folder)}
    missing = [name for name in config.optimizers if name not in rows]
    if missing:
        raise UserError(f"{folder.path} has no controller for {missing[0]}")
    return {
        name: np.asarray([rows[name][weight] for weight in WEIGHTS], np.float32)
        for name in config.optimizers
    }
