"""The suite of real trainings: what it is, what it costs, what it compares with."""

import numpy as np
import pytest

from experiments.configs.broad import Effort
from experiments.configs.broad_presets import suite_of
from experiments.problems.suites import problems_of
from experiments.problems.trainings import TRAININGS
from experiments.run import parse
from experiments.runs.errors import UserError
from experiments.suites.methods import (
    ADAMW,
    BASE,
    MUON,
    NADAMW,
    OURS,
    REFERENCE,
    TUNED,
    chosen,
    methods,
)
from experiments.suites.settings import factors_grid, grid, rungs
from ganno_jax.controller_files import load

SETTINGS = suite_of("trainings", "muon").suite


def test_trainings_are_of_thousands_of_steps_and_of_medium_scale_alone():
    assert problems_of("trainings", "medium", None) == TRAININGS
    assert min(problem.total_steps for problem in TRAININGS) >= 1_800
    assert len({problem.name for problem in TRAININGS}) == len(TRAININGS) == 9
    with pytest.raises(UserError, match="no problems of scale small"):
        problems_of("trainings", "small", None)


def test_the_command_line_takes_its_own_effort_and_any_flag():
    config = parse("evaluate", ["muon", "--suite", "trainings", "--suite.num_seeds", "5"])
    assert (config.scale, config.suite.num_seeds, config.suite.schedules) == ("medium", 5, False)
    assert parse("evaluate", ["muon", "--suite", "unseen"]).suite.schedules


def test_tuned_adamw_stands_in_the_place_of_the_schedules():
    every = methods(load("muon"))
    names = chosen(every, SETTINGS.methods, ADAMW)
    assert {OURS, BASE, ADAMW, MUON} <= {*names}
    assert not {REFERENCE, NADAMW} & {*names}


def test_tuning_starts_with_one_seed_where_there_are_few():
    assert [(r.seeds, r.kept) for r in rungs(SETTINGS, 4, 2)] == [(1, 2), (3, 2), (3, 1)]
    assert [(r.seeds, r.kept) for r in rungs(Effort(), 4, 2)] == [(2, 4), (4, 2), (20, 1)]
    assert grid(SETTINGS, (4, 2), (1e-4, 0.1), (0.0, 0.1), (0, 1)).cost() < 60


def test_the_factors_that_are_tuned_hold_the_base_as_it_is():
    assert TUNED in methods(load("muon"))
    assert TUNED not in methods(load("broad"))
    numbers = factors_grid(Effort()).numbers
    assert np.any((numbers["size"] == 1) & (numbers["forgetting"] == 1))
    assert len({*zip(numbers["size"].tolist(), numbers["forgetting"].tolist(), strict=True)}) == 16
