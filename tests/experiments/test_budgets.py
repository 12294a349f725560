"""Problems at several budgets, and the figure of them."""

import numpy as np
import pytest

from experiments.configs.broad_presets import suite_of
from experiments.problems.budgets import BUDGETS, STEPS, name_at, task_of
from experiments.problems.suites import problems_of
from experiments.suites.methods import ADAMW, BASE, OURS
from experiments.suites.present import _budgets

from .test_suite_rows import cell


def test_every_task_is_there_at_every_budget_and_differs_in_nothing_else():
    assert problems_of("budgets", "medium", None) == BUDGETS
    assert [p.total_steps for p in BUDGETS] == [steps for steps in STEPS for _ in range(3)]
    for problem in BUDGETS:
        task, _, steps = problem.name.rpartition(", ")
        assert task_of(problem.name) == (task, problem.total_steps)
        assert steps == f"{problem.total_steps:,} steps"
        first = next(p for p in BUDGETS if p.name.startswith(task))
        assert (problem.data, problem.network) == (first.data, first.network)
        assert (problem.batch_size, problem.peaks) == (first.batch_size, first.peaks)
    assert suite_of("budgets", "muon").suite.num_seeds == 3


@pytest.mark.parametrize(
    "name, told",
    [
        (name_at("series", 10_000), ("series", 10_000)),
        ("a, b, 300 steps", ("a, b", 300)),
        ("characters, GRU, Adam", None),
        ("Fashion-MNIST 28x28, CNN, 10 epochs", None),
        ("waves, 1e3 steps", None),
    ],
)
def test_a_name_says_its_task_and_its_budget(name, told):
    assert task_of(name) == told


def test_the_figure_shows_gaps_to_the_rival_where_a_task_has_several_budgets():
    def cells(ours):
        return {OURS: cell([ours] * 3), BASE: cell([1.0] * 3), ADAMW: cell([0.5] * 3)}

    found = {
        name_at("series", 1_000): cells(0.25),
        name_at("series", 300): cells(2.0),
        name_at("table", 300): cells(1.0),
        "another": cells(1.0),
    }
    panels = _budgets(found, [OURS, BASE, "not there"])
    assert list(panels) == ["series"]
    steps, gaps = panels["series"]
    assert steps == [300, 1_000]
    np.testing.assert_allclose(gaps[OURS], np.log([[4.0] * 3, [0.5] * 3]), rtol=1e-5)
    assert gaps[BASE].shape == (2, 3)
    assert set(gaps) == {OURS, BASE}
