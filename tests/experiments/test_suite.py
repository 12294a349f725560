"""The held-out suite: cells are made once, rows are what they say."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import broad_families, problems, suite_commands, suite_tasks
from experiments.broad_config import Effort, HeldOutExperiment
from experiments.run import main, parse
from experiments.suite import Cell, Suite, _slug
from experiments.suite_methods import SAME_DIRECTION, Bench, as_direction, keys
from experiments.suite_results import finals, overall, overview
from ganno_jax.controllers import Controller, save
from ganno_jax.env import actions, make_mesh
from ganno_jax.evaluation.evaluate import run_training
from ganno_jax.evaluation.tables import PolicyResult
from ganno_jax.inner import Direction
from ganno_jax.learners import MAPPO, MAPPOConfig
from ganno_jax.policies import FixedRates
from ganno_jax.tasks.distributions import Constant

from .tiny import TINY

pytestmark = pytest.mark.usefixtures("_quick_compilation")
EFFORT = Effort(num_seeds=4, tuning_seeds=1, num_peaks=2, num_trials=2)


@pytest.fixture(scope="module")
def controller():
    env = problems.build(TINY, None)
    space = actions.RelativeUpdate(actions.flat_shape)
    learner = MAPPO.create((env,), space, MAPPOConfig(rollout_decisions=2), hidden=4)
    return Controller(learner.policy(learner.init(jax.random.key(0))), 2, {})


def result(name, final, curve=((2.0, 1.0),), peak=None):
    runs = len(final)
    blank = np.full(runs, np.nan)
    return PolicyResult(
        name=name,
        kind="schedule",
        peak=peak,
        final_loss=np.array(final),
        final_accuracy=blank,
        selection_loss=blank,
        selection_accuracy=blank,
        auc=np.zeros(runs),
        diverged=np.zeros(runs, bool),
        initial_rate=np.ones(runs),
        loss_curve=np.broadcast_to(np.array(curve), (runs, 2)),
        steps=np.array([10, 20]),
    )


def cells(ours, theirs):
    first = np.full(4, 3.0)
    info = {"schedule": "cosine", "peak": 0.1, "tuning_runs": 30}
    return {
        "controller": Cell(result("controller", ours, ((1.0, 0.5),)), first, {}, 1.0),
        "best tuned schedule": Cell(result("best tuned schedule", theirs), first, info, 1.0),
        "schedules": Cell(None, np.zeros(0), info, 1.0),
    }


def test_cells_are_made_once_and_again_when_settings_change(tmp_path, controller):
    calls = []

    def counted(name, method):
        def run(bench):
            calls.append(name)
            return method(bench)

        return run

    def suite(effort=EFFORT):
        made = Suite(tmp_path, controller, None, effort)
        made.methods = {name: counted(name, made.methods[name]) for name in names}
        return made

    names = ("schedules", "controller", "best tuned schedule")
    first = suite().run(TINY, names)
    assert sorted(calls) == sorted(names)
    assert list(first) == list(names)
    again = suite().run(TINY, names)
    assert len(calls) == 3
    for name in names[1:]:
        np.testing.assert_array_equal(first[name].result.final_loss, again[name].result.final_loss)
    (tmp_path / _slug(TINY.name) / "controller.json").write_text('{"half": ')
    suite().run(TINY, names)
    assert calls[3:] == ["controller"]
    assert suite().stored(dataclasses.replace(TINY, batch_size=4), names) == {}
    assert first["best tuned schedule"].info["tuning_runs"] == 15 * 2


def test_a_whole_optimizer_takes_its_own_steps():
    problem = dataclasses.replace(TINY, num_decisions=1, interval=3)
    bench = Bench(problem, None, make_mesh(jax.devices()[:1]), EFFORT)
    env = bench.with_optimizer(as_direction(optax.adam(0.05)))
    key = keys(0, 1)[0]
    curves = run_training(env, FixedRates(jnp.ones(env.num_layers)), key)
    env = env.for_evaluation()
    state = env.training.init(jax.random.fold_in(key, 0))
    adam, params = optax.adam(0.05), state.params
    memory = adam.init(params)
    for step in range(3):
        indices = env.training.family.batch_indices(state.task, jnp.int32(step), 8)
        _, _, gradient = env.training.gradient(state.replace(params=params), indices)
        updates, memory = adam.update(gradient, memory, params)
        params = optax.apply_updates(params, updates)
    dataset = env.training.family.dataset
    final = state.replace(params=params)
    loss, _ = env.training.evaluate(final, dataset.test, dataset.test.num_examples)
    np.testing.assert_allclose(curves.final_loss, loss, rtol=1e-5)


def test_a_controller_with_a_direction_meets_the_schedules_over_the_same_one(tmp_path, controller):
    direction = Direction("nadam", momentum=0.75, second_decay=0.98)
    names = ("controller", SAME_DIRECTION)
    suite = Suite(tmp_path, controller.replace(direction=direction), None, EFFORT)
    cells = suite.run(TINY, names)
    assert SAME_DIRECTION not in Suite(tmp_path, controller, None, EFFORT).methods
    assert cells[SAME_DIRECTION].info["tuning_runs"] == 15 * 2
    assert 1e-4 <= cells[SAME_DIRECTION].info["peak"] <= 0.1
    bench = Bench(TINY, None, make_mesh(jax.devices()[:1]), EFFORT)
    env = problems.build(TINY, None, optimizer=direction.optimizer(Constant(1.0)))
    expected = bench.report(env, controller.policy)
    np.testing.assert_allclose(cells["controller"].result.final_loss, expected.final_loss)
    other = controller.replace(direction=dataclasses.replace(direction, momentum=0.8))
    assert Suite(tmp_path, other, None, EFFORT).stored(TINY, names) == {}


def test_rows_are_those_computed_by_hand():
    suite = {
        "a": cells([0.5] * 4, [1.0] * 4),  # log loss lower by log 2
        "b": cells([2.0] * 4, [1.0] * 4),  # higher by log 2
    }
    np.testing.assert_allclose(finals(suite["a"])["controller"], np.log(0.5))
    rows = {row["method"]: row for row in overall(suite)}
    ours = rows["controller"]
    np.testing.assert_allclose(ours["difference_mean"], 0.0, atol=1e-12)
    np.testing.assert_allclose(ours["worst_problem"], np.log(2.0))
    assert (ours["at_or_below"], ours["problems"], ours["P_better"]) == (1, 2, 0.5)
    assert rows["best tuned schedule"]["tuning_runs"] == 30
    table = overview(suite)
    assert [row["difference"][:6] for row in table] == ["-0.693", "+0.693"]
    assert table[0]["speedup"] == "2.00x"  # at the reference's last loss after 10 steps, not 20
    assert table[0]["schedule"] == "cosine 0.1"


def test_a_run_that_got_worse_costs_its_first_loss():
    worse = cells([50.0, np.nan, 3.0, 1.0], [1.0] * 4)
    np.testing.assert_allclose(finals(worse)["controller"], np.log([3.0, 3.0, 3.0, 1.0]))


def test_problems_of_the_suite_differ_in_name_and_from_those_trained_on():
    axes = suite_tasks.sweeps()
    varied = [problem for values in axes.values() for problem in values.values()]
    slugs = [_slug(p.name) for p in (*suite_tasks.SMALL, *varied)]
    assert len(set(slugs)) == len(slugs)
    trained = {p.data["name"] for p in broad_families.SMALL}
    dense = {p.network["name"] for p in broad_families.SMALL}
    for problem in suite_tasks.SMALL:
        assert problem.data["name"] not in trained or problem.network["name"] not in dense
    assert all(p.num_decisions == 30 for p in broad_families.SMALL)


def test_the_whole_suite_leaves_tables_figures_and_a_report(
    tmp_path, controller, monkeypatch, capsys
):
    path = save(tmp_path / "mine", controller)
    missing = dataclasses.replace(TINY, name="missing", data={"name": "mnist", "download": False})
    monkeypatch.setattr(suite_commands, "SMALL", (TINY, missing))
    few = ("schedules", "controller", "untrained agents", "best tuned schedule", "tuned Adam")
    whole = suite_commands.methods_of
    monkeypatch.setattr(
        suite_commands, "methods_of", lambda suite: [n for n in whole(suite) if n in few]
    )
    words = (
        f"{path} --suite held-out --suite.num_seeds 4 --suite.tuning_seeds 1 --suite.num_peaks 2 "
    )
    words += f"--suite.no_sweeps --suite.data_dir {tmp_path} --run.folder {tmp_path}"
    assert main(["evaluate", *words.split()]) == 0
    shown = capsys.readouterr().out
    assert "left out: missing" in shown
    assert "[1/2] digits, tiny: controller" in shown
    run = tmp_path / "held-out"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["problems"] == 1
    assert {p.stem for p in (run / "tables").iterdir()} == {"problems", "overall", "overview"}
    assert {p.stem for p in (run / "figures").iterdir()} == {"profile", "overall"}
    assert main(["plot", *words.split()]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("digits --suite held-in", "no suite 'held-in'; there is: held-out"),
        ("nothing --suite held-out", "no controller 'nothing'; shipped are"),
        ("digits --suite held-out --suite.seeds 3", "no option --suite.seeds; there are"),
        ("digits --suite held-out --suite.num_seeds 2", "`suite.num_seeds` must be at least 4"),
    ],
)
def test_what_cannot_work_is_one_line(words, message, tmp_path, capsys):
    assert (
        main(
            ["evaluate", *words.split(), *([] if "3" in words else ["--run.folder", str(tmp_path)])]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_suite_is_an_experiment_of_its_own():
    config = parse("evaluate", ["digits", "--suite=held-out", "--suite.num_seeds", "4"])
    assert isinstance(config, HeldOutExperiment)
    assert (config.controller, config.suite.num_seeds) == ("digits", 4)
