"""From the settings of a suite to its controllers, its cells and the names of its methods."""

from pathlib import Path

from experiments.configs.bounds import check_bounds
from experiments.configs.broad import SuiteConfig
from experiments.runs.errors import UserError, as_user_error
from experiments.runs.folder import RunFolder
from experiments.suites.cells import Suite
from experiments.suites.methods import ADAMW, REFERENCE, chosen
from ganno_jax.baselines import load_weights
from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller
from ganno_jax.policies.agents import teams_of


def check_suite(settings: SuiteConfig) -> None:
    """Raise a `UserError` for a number that is too small, or a folder of data that is not there."""
    with as_user_error(ValueError):
        check_bounds(settings, "suite.")
    if settings.data_dir is not None and not Path(settings.data_dir).expanduser().is_dir():
        raise UserError(f"there is no folder {settings.data_dir} (--suite.data_dir)")


def build(folder: RunFolder, controller: Controller, settings: SuiteConfig) -> Suite:
    """The cells of a run, with what its methods are made of.

    Args:
      folder: of the run.
      controller: what is examined.
      settings: which other files take part.

    Raises:
      UserError: a file that is not there or is of another kind.
    """
    if not teams_of(controller.policy):
        raise UserError("a suite examines agents; this is a step-size controller")
    with as_user_error():
        return Suite(
            folder.path / "cells",
            controller,
            settings.data_dir,
            settings,
            None if settings.blind is None else controller_of(settings.blind),
            [controller_of(file) for file in settings.more],
            None if settings.velo is None else load_weights(Path(settings.velo).expanduser()),
        )


def names_of(suite: Suite, settings: SuiteConfig) -> tuple[str, ...]:
    """Of the methods that were asked for.

    Raises:
      UserError: no method's name contains one of the words.
    """
    with as_user_error(ValueError):
        return chosen(suite.methods, settings.methods, REFERENCE if settings.schedules else ADAMW)


def controller_of(name: str) -> Controller:
    """A shipped controller, or one in a file.

    Raises:
      UserError: it is not there, or no controller.
    """
    with as_user_error():
        return load(name)
