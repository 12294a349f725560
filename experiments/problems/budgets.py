"""Three problems, each at budgets of 300 to 30,000 steps: is a controller as good in long trainings as in short ones?

The series and the table are those of `trainings`. Short budgets come first, so that whoever stops has whole columns.
"""

import dataclasses

from experiments.problems.problem import ADAM_PEAKS, Problem
from experiments.problems.trainings import SERIES, TABLE

STEPS = (300, 1_000, 3_000, 10_000, 30_000)

_IMAGES = Problem(
    "Fashion-MNIST 28x28",
    {"name": "fashion_mnist", "max_held_out": 4_000},
    {"name": "mlp", "features": (128, 64)},
    optimizer="adamw",
    weight_decay=(1e-2, 1e-2),
    peaks=ADAM_PEAKS,
)
_TASKS = (
    dataclasses.replace(SERIES, name="series"),
    dataclasses.replace(TABLE, name="table"),
    _IMAGES,
)


def name_at(task: str, steps: int) -> str:
    """Of the problem that is trained for so many steps."""
    return f"{task}, {steps:,} steps"


def task_of(name: str) -> tuple[str, int] | None:
    """The task and the budget that a problem's name says, None where it says none."""
    task, _, steps = name.rpartition(", ")
    number = steps.removesuffix(" steps").replace(",", "")
    return (task, int(number)) if steps.endswith(" steps") and number.isdigit() else None


BUDGETS = tuple(
    dataclasses.replace(task.of_steps(steps), name=name_at(task.name, steps))
    for steps in STEPS
    for task in _TASKS
)
