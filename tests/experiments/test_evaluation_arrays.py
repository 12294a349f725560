"""Arrays of an evaluation as others may leave them: every one that cannot be drawn is named in one line."""

import json

import numpy as np
import pytest

from experiments.agents import evaluation_arrays
from experiments.agents.commands import TIMES
from experiments.configs import presets
from experiments.configs.values import to_dict
from experiments.run import main
from experiments.runs import arrays, whole_files
from experiments.runs.folder import RunFolder

POLICIES = ("agents", "base", "cosine", "random")
LENGTHS = {
    **{"policy": len(POLICIES), "run": 3, "decision": 2, "point": 3, "layer": 2, "step": 4},
    **{"setting": 2, "tuned": 1, "pair": 2, "schedule": 1},
}
KINDS = {"f": np.float32, "i": np.int64, "b": bool, "U": np.str_}


def evaluation():
    """The arrays of an evaluation that says nothing."""
    rng = np.random.default_rng(0)
    made = {}
    for kind, names in evaluation_arrays._AXES.items():
        for name, axes in names.items():
            shape = tuple(LENGTHS[axis] for axis in axes.split())
            made[name] = rng.uniform(0.1, 1.0, shape).astype(KINDS[kind])
    made["diverged"] = np.zeros((len(POLICIES), 3), bool)
    made |= {"keys": np.array(POLICIES), "names": np.array([key.title() for key in POLICIES])}
    made |= {"tuning_names": np.array(["cosine"]), "tuning_best": np.array("cosine")}
    made |= {"tuning_peaks": np.array([0.1, 0.3]), "tuning_forgetting": np.zeros(2)}
    return made | {"tuning_chosen": np.array([[0.3, 0.0]])}


@pytest.fixture
def run(tmp_path):
    config = to_dict(presets.named("digits")("small"))
    made = RunFolder(tmp_path / "digits")
    whole_files.write_json(made.config, {"config": config})
    whole_files.write_object(made.timing, dict.fromkeys(TIMES, 1.0))
    arrays.write(made.arrays, evaluation())
    return made


def test_arrays_that_fit_are_read(run):
    assert set(evaluation_arrays.stored(run)) == set(evaluation())
    found = evaluation()
    found["diverged"][1, 2], found["final_loss"][1, 2] = True, np.nan
    found["peaks"][0] = np.nan
    arrays.write(run.arrays, found)
    assert np.isnan(evaluation_arrays.stored(run)["final_loss"]).sum() == 1


def spoilt(name, place=0):
    values = evaluation()[name]
    values.flat[place] = np.nan
    return values


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("final_loss", spoilt("final_loss"), "`final_loss` holds NaN or infinities"),
        ("rates", spoilt("rates"), "`rates` holds NaN or infinities"),
        ("tuning_log_loss", spoilt("tuning_log_loss"), "`tuning_log_loss` holds NaN"),
        ("chance_loss", np.float64(np.inf), "`chance_loss` holds NaN or infinities"),
        ("final_loss", np.ones((4, 2)), "`final_loss` has 2 along run, where train_loss has 3"),
        ("final_loss", np.ones(4), "`final_loss` must be an array [policy run] of kind 'f'; got f"),
        ("diverged", np.zeros((4, 3)), "`diverged` must be an array [policy run] of kind 'b'; got"),
        ("names", np.array(["a", "a", "b", "c"]), "`names` must differ"),
        ("keys", np.array(["a", "b", "c", "d"]), "`keys` must name the agents, their base and"),
        ("initial_rate", np.zeros((4, 3)), "`initial_rate` and `chance_loss` must be above 0"),
        ("tuning_chosen", np.array([[0.2, 0.0]]), "`tuning_chosen` must be among the settings"),
        ("steps", np.arange(4), "`steps` has 4 along point, where train_loss has 3"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line_of_plot(run, capsys, name, value, said):
    arrays.write(run.arrays, evaluation() | {name: value})
    assert main(["plot", "digits", "--run.folder", str(run.path.parent)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"has no evaluation to draw: {said}" in error


def test_a_missing_array_is_named(run, capsys):
    found = evaluation()
    del found["layers"]
    arrays.write(run.arrays, found)
    assert main(["plot", "digits", "--run.folder", str(run.path.parent)]) == 2
    assert "has no evaluation to draw: it has no 'layers'" in capsys.readouterr().err
    assert "config" in json.loads(run.config.read_text())
