"""Problems of a suite: those of the library, and a user's file."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.configs.broad import SuiteExperiment
from experiments.problems import broad_families, development
from experiments.problems import suites as suite_problems
from experiments.problems.unseen import UNSEEN
from experiments.run import main, parse
from experiments.runs.errors import UserError
from experiments.suites.cells import slug
from ganno_jax.controller_files import save
from ganno_jax.env.base_shapes import flat_shape
from ganno_jax.env.whole_update import RelativeUpdate

from .test_suite import make_controller
from .tiny import TINY

pytestmark = pytest.mark.usefixtures("_quick_compilation")


@pytest.fixture(scope="module")
def controller():
    return make_controller(RelativeUpdate(flat_shape))


def test_problems_of_the_development_suite_differ_in_name_and_from_those_trained_on():
    axes = development.sweeps()
    varied = [problem for values in axes.values() for problem in values.values()]
    slugs = [slug(p.name) for p in (*development.DEVELOPMENT, *varied)]
    assert len(set(slugs)) == len(slugs)
    trained = {p.data["name"] for p in broad_families.SMALL}
    dense = {p.network["name"] for p in broad_families.SMALL}
    for problem in development.DEVELOPMENT:
        assert problem.data["name"] not in trained or problem.network["name"] not in dense
    assert all(p.num_decisions == 30 for p in broad_families.SMALL)


@pytest.mark.slow
def test_a_suite_of_the_users_problems_leaves_tables_figures_and_a_report(
    tmp_path, controller, capsys
):
    path = save(tmp_path / "mine", controller)
    file = tmp_path / "mine.py"
    file.write_text(
        "from experiments.problems.problem import Problem\n"
        f"TINY = dict(network={TINY.network!r}, batch_size=8, num_decisions=2, interval=2)\n"
        f"PROBLEMS = [Problem('digits, tiny', {TINY.data!r}, **TINY),\n"
        "    Problem('missing', {'name': 'mnist', 'download': False}, **TINY)]\n"
    )
    words = f"{path} --suite unseen --suite.problems {file} --suite.methods base hypergradient "
    words += "--suite.num_seeds 4 --suite.tuning_seeds 2 --suite.peak_factor 30 "
    words += f"--suite.data_dir {tmp_path} --run.folder {tmp_path}"
    assert main(["evaluate", *words.split()]) == 0
    shown = capsys.readouterr().out
    assert "mine.py suite: 2 problems with 4 methods; about" in shown
    assert "left out: missing" in shown
    assert "[1/2] digits, tiny: controller" in shown
    run = tmp_path / "unseen"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["problems"] == 1
    assert {p.stem for p in (run / "tables").iterdir()} == {"problems", "overall", "overview"}
    assert {p.stem for p in (run / "figures").iterdir()} == {"profile", "overall", "curves"}
    assert main(["plot", *words.split()]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file of problems"),
        ("1 / 0", "cannot be run: ZeroDivisionError"),
        ("PROBLEMS = 3", "must define PROBLEMS"),
        ("PROBLEMS = ()", "needs at least one problem"),
    ],
)
def test_a_file_of_problems_that_cannot_be_used_is_one_line(content, message, tmp_path, capsys):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    words = ["digits", "--suite", "unseen", "--suite.problems", str(file)]
    assert main(["evaluate", *words, "--run.folder", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "digits --suite held-in",
            "no suite 'held-in'; there are: development, second, third, fourth, fifth, sixth, seventh, unseen, "
            "trainings, budgets",
        ),
        ("nothing --suite development", "no controller 'nothing'; shipped are"),
        ("digits --suite development --suite.seeds 3", "no option --suite.seeds; there are"),
        ("digits --suite development --suite.num_seeds 2", "`suite.num_seeds` must be at least 3"),
        ("digits --suite development --suite.data_dir /not/there", "there is no folder /not/there"),
        ("digits --suite development --suite.methods lamb", "no method is named like 'lamb'"),
        ("digits --suite development --suite.more nothing", "no controller 'nothing'"),
    ],
)
def test_what_cannot_work_is_one_line(words, message, tmp_path, capsys):
    assert main(["evaluate", *words.split(), "--run.folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_suite_is_an_experiment_of_its_own():
    config = parse("evaluate", ["digits", "--suite=development", "--suite.num_seeds", "4"])
    assert isinstance(config, SuiteExperiment)
    assert (config.controller, config.suite.num_seeds) == ("digits", 4)
    assert (config.preset, config.run_name) == ("development", "development")
    assert suite_problems.problems_of("development", "small", None) == development.DEVELOPMENT
    assert suite_problems.problems_of("unseen", "small", None) == UNSEEN


def test_trainings_of_a_suite_use_the_whole_training_split():
    training = suite_problems.training_of(TINY, None)
    assert training.family.num_trainable == training.family.dataset.train.num_examples
    with pytest.raises(UserError, match="digits, tiny: "):
        suite_problems.training_of(dataclasses.replace(TINY, network={"name": "none"}), None)


INPUTS = np.random.default_rng(0).normal(size=(60, 4))
CLASSES = np.arange(60) % 3
BROKEN = {
    "complex numbers": ((INPUTS + 1j, CLASSES), "inputs must be real numbers; got complex128"),
    "dates": (
        (np.full((60, 4), "2026-11-30", "datetime64[D]"), CLASSES),
        "inputs must be real numbers; got datetime64",
    ),
    "NaN": ((np.where(INPUTS > 2, np.nan, INPUTS), CLASSES), "inputs must be finite in float32"),
    "pixels": (
        (np.full((60, 4, 4, 1), 300), CLASSES),
        "images with pixels in [0, 255]; they go from 300",
    ),
    "one label": ((INPUTS, 0 * CLASSES), "with one class there is nothing to learn"),
    "ids": ((INPUTS, CLASSES * 2**29), "class ids go up to 1073741824, but 60 targets have 3"),
    "lengths": ((INPUTS, CLASSES[:50]), "must have the same length; got 60 inputs"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_data_that_cannot_be_used_end_the_command_with_one_line(name, tmp_path, capsys):
    (inputs, targets), said = BROKEN[name]
    np.savez(tmp_path / "mine.npz", x=inputs, y=targets)
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[problem]]\nname = "mine"\ndata = { path = "mine.npz" }\n'
        'network = { name = "mlp", features = [8] }\nsteps = 40\nbatch_size = 8\n'
    )
    words = f"muon --suite unseen --suite.problems {file} --suite.methods base --run.folder"
    assert main(["evaluate", *words.split(), str(tmp_path)]) == 2
    (error,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert error.startswith("error: mine: ")
    assert said in error
