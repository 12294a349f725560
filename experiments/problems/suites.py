"""Which problems a suite has, and their trainings."""

import runpy
from pathlib import Path

from experiments.problems.budgets import BUDGETS
from experiments.problems.development import DEVELOPMENT, PAPER
from experiments.problems.fifth import FIFTH
from experiments.problems.files import read_problems
from experiments.problems.fourth import FOURTH
from experiments.problems.problem import Problem, build
from experiments.problems.second import SECOND
from experiments.problems.seventh import SEVENTH
from experiments.problems.sixth import SIXTH
from experiments.problems.third import THIRD
from experiments.problems.trainings import TRAININGS
from experiments.problems.unseen import UNSEEN
from experiments.runs.errors import UserError, as_user_error
from ganno_jax.inner import Training

SUITES: dict[str, dict[str, tuple[Problem, ...]]] = {
    "development": {"small": DEVELOPMENT, "paper": PAPER},
    "second": {"small": SECOND},
    "third": {"small": THIRD},
    "fourth": {"small": FOURTH},
    "fifth": {"small": FIFTH},
    "sixth": {"small": SIXTH},
    "seventh": {"small": SEVENTH},
    "unseen": {"small": UNSEEN},
    "trainings": {"medium": TRAININGS},
    "budgets": {"medium": BUDGETS},
}
"""By suite and scale."""


def problems_of(suite: str, scale: str, file: str | None) -> tuple[Problem, ...]:
    """The problems of a suite, or those of a user's file in their place.

    Args:
      suite: in `SUITES`.
      scale: such as "small".
      file: the user's; None for the suite's own problems.

    Raises:
      UserError: the file is not there or cannot be used, or there are no problems of this scale.
    """
    if file is not None:
        return read(file)
    found = SUITES[suite].get(scale, ())
    if not found:
        raise UserError(
            f"the suite {suite} has no problems of scale {scale}; name some with --suite.problems FILE"
        )
    return found


def training_of(problem: Problem, data_dir: str | None) -> Training:
    """The trainings of a problem, which use the whole training split: nobody is paid here.

    Raises:
      UserError: an unknown name, or values that do not fit.
      FileNotFoundError: the data set is not there.
    """
    try:
        training = build(problem, data_dir).training
    except ValueError as error:
        raise UserError(f"{problem.name}: {error}") from error
    return training.replace(family=training.family.replace(num_reward=0))


def read(file: str) -> tuple[Problem, ...]:
    """The problems of a TOML file, or the tuple `PROBLEMS` of a Python file.

    Raises:
      UserError: the file is not there, cannot be read or run, or has no such problems of different names.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"there is no file of problems {path}")
    if path.suffix == ".toml":
        with as_user_error(ValueError):
            return read_problems(path)
    try:
        found = runpy.run_path(str(path)).get("PROBLEMS")
    except Exception as error:
        raise UserError(f"{path} cannot be run: {error!r}") from error
    if not isinstance(found, tuple | list) or not all(isinstance(p, Problem) for p in found):
        raise UserError(
            f"{path} must define PROBLEMS, a tuple of experiments.problems.problem.Problem"
        )
    if not found or len({p.name for p in found}) < len(found):
        raise UserError(f"{path} needs at least one problem, and names that differ")
    return tuple(found)
