"""A suite: cells are made once, every method meets the same trainings, rows are what the cells say."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ganno_jax
from experiments.configs.broad import Effort, SuiteExperiment
from experiments.problems import broad_families, development
from experiments.problems import suites as suite_problems
from experiments.problems.problem import build
from experiments.problems.unseen import UNSEEN
from experiments.run import main, parse
from experiments.runs.errors import UserError
from experiments.suites import rivals
from experiments.suites.bench import Bench
from experiments.suites.cells import Cell, Suite, slug
from experiments.suites.methods import (
    BASE,
    BLIND,
    LEARNING_RATE_FREE,
    MUON,
    OURS,
    REFERENCE,
    REPLAY,
    SAME_DIRECTION,
    chosen,
    learner_seed,
    methods,
)
from experiments.suites.results import (
    LEARNERS,
    finals,
    headline,
    over_adam,
    overall,
    overview,
    problem_rows,
)
from experiments.suites.settings import schedules_grid
from ganno_jax.controller_files import save
from ganno_jax.controllers import Controller
from ganno_jax.env import actions, make_mesh
from ganno_jax.env.base_shapes import flat_shape
from ganno_jax.env.whole_update import RelativeUpdate
from ganno_jax.evaluation.optax_loop import LoopResult
from ganno_jax.inner import Direction
from ganno_jax.learners import MAPPO, MAPPOConfig
from ganno_jax.policies import SCHEDULES
from ganno_jax.policies.agents import at_rest

from .tiny import TINY

pytestmark = pytest.mark.usefixtures("_quick_compilation")
EFFORT = Effort(num_seeds=4, tuning_seeds=2, peak_factor=30.0, num_trials=4)


def make_controller(space):
    env = build(TINY, None)
    learner = MAPPO.create((env,), space, MAPPOConfig(rollout_decisions=2), hidden=4)
    return Controller(learner.policy(learner.init(jax.random.key(0))), 2, {})


@pytest.fixture(scope="module")
def controller():
    return make_controller(RelativeUpdate(flat_shape))


@pytest.fixture(scope="module")
def bench():
    training = suite_problems.training_of(TINY, None)
    return Bench(TINY, training, make_mesh(jax.devices()[:1]), EFFORT)


def cell(final, curve=(3.0, 2.0, 1.0), selection=None, **info):
    final = np.array(final, float)
    runs = final.size
    curves = np.broadcast_to(np.array(curve), (runs, len(curve)))
    return Cell(
        LoopResult(
            curve=curves,
            accuracy_curve=np.full_like(curves, 0.1),
            final_loss=final,
            final_accuracy=np.where(np.isfinite(final), 0.75, np.nan),
            selection_loss=final if selection is None else np.array(selection, float),
            selection_accuracy=np.full(runs, 0.5),
            first_loss=np.full(runs, 3.0),
            observed=None,
        ),
        np.array([0, 10, 20]),
        {"tuning_runs": 0, "inner_steps": 20 * runs, **info},
        1.0,
    )


def cells(ours, theirs, **more):
    info = {"schedule": "cosine", "peak": 0.1, "tuning_runs": 30, "choice_loss": 0.004}
    return {OURS: cell(ours, (3.0, 1.0, 0.5)), REFERENCE: cell(theirs, **info), **more}


def test_cells_are_made_once_and_again_when_something_that_they_depend_on_changes(
    tmp_path, controller, monkeypatch
):
    made = []

    def suite(effort=EFFORT, controller=controller):
        suite = Suite(tmp_path, controller, None, effort)
        for name in names:
            method = suite.methods[name]

            def counted(bench, name=name, method=method):
                made.append(name)
                return method.make_fn(bench)

            suite.methods[name] = dataclasses.replace(method, make_fn=counted)
        return suite

    names = (OURS, REFERENCE)
    first = suite().run(TINY, names)
    assert sorted(made) == sorted(names)
    assert list(first) == list(names)
    again = suite().run(TINY, names)
    assert len(made) == 2
    for name in names:
        np.testing.assert_array_equal(first[name].result.final_loss, again[name].result.final_loss)
    (tmp_path / slug(TINY.name) / "controller.json").write_text('{"half": ')
    suite().run(TINY, names)
    assert made[2:] == [OURS]
    path = tmp_path / slug(TINY.name) / "controller.json"
    whole = path.read_text()
    path.write_text(whole.replace("0.", "1.", 1))  # a number that is not as it was written
    assert list(suite().stored(TINY, names)) == [REFERENCE]
    path.write_text(whole)
    monkeypatch.setattr("experiments.suites.cells.CELL_VERSION", 1000)
    assert suite().stored(TINY, names) == {}
    assert suite().outdated(TINY, names) == 2
    monkeypatch.undo()
    assert suite().outdated(TINY, names) == 0
    for version_of_ours in ("DOOR_VERSION", "FEATURE_VERSION"):
        monkeypatch.setattr(f"experiments.suites.cells.{version_of_ours}", 1000)
        assert list(suite().stored(TINY, names)) == [REFERENCE]
        monkeypatch.undo()
    other_data = dataclasses.replace(TINY, data={**TINY.data, "max_examples": 190})
    assert suite().stored(other_data, names) == {}
    monkeypatch.setattr("experiments.suites.cells.digest_of", lambda tree: "other numbers")
    assert suite().stored(TINY, names) == {}
    monkeypatch.undo()
    monkeypatch.setattr("experiments.suites.cells.version", lambda library: "another")
    assert suite().stored(TINY, names) == {}
    monkeypatch.undo()
    trained = jax.tree.map(lambda x: x + 1, controller.policy)
    assert list(suite(controller=controller.replace(policy=trained)).stored(TINY, names)) == [
        REFERENCE
    ]


@pytest.mark.slow
def test_the_reported_runs_are_those_of_a_loop_through_the_door(controller, bench):
    """With default arguments, over the problem's own direction; the whole report split at the end."""
    result, info = bench.execute(methods(controller)[OURS])
    assert info == {"tuning_runs": 0}
    training = bench.training
    optimizer = ganno_jax.control(
        rivals.with_decay(training.optimizer, training.optimizer.sample(jax.random.key(0))),
        controller,
        TINY.total_steps,
    )
    key = jax.random.split(jax.random.key(20_000), EFFORT.num_seeds)[2]
    state = training.init(jax.random.fold_in(key, 0))
    params, memory = state.params, optimizer.init(state.params)
    for step in range(TINY.total_steps):
        indices = training.family.batch_indices(state.task, jnp.int32(step), 8)
        at = state.replace(params=params, step=jnp.int32(step))
        loss, _, gradient = training.gradient(at, indices)
        updates, memory = optimizer.update(gradient, memory, params, value=loss)
        params = jax.tree.map(jnp.add, params, updates)
    dataset = training.family.dataset
    batch = dataset.whole(dataset.test)
    loss, _ = state.task.loss(params, {}, batch, key, False)
    np.testing.assert_allclose(result.final_loss[2], loss, rtol=1e-4)


def test_a_method_is_tuned_on_runs_and_examples_that_are_not_reported(controller, bench):
    seen = []
    train = bench.train

    def watched(optimizer, numbers, settings, runs, report):
        seen.append((report, runs.tolist()))
        return train(optimizer, numbers, settings, runs, report)

    watching = dataclasses.replace(bench)
    watching.train = watched
    _, info = watching.execute(methods(controller)["tuned Adam"])
    assert [report for report, _ in seen] == [False] * (len(seen) - 1) + [True]
    tuning = [number for _, runs in seen[:-1] for number in runs]
    assert set(tuning) == {0, 1}
    assert seen[-1][1] == [2, 3, 4, 5]
    assert info["tuning_runs"] == len(tuning)
    assert info["choice_loss"] >= 0


def test_agents_at_rest_are_their_base_schedule(controller, bench):
    """Actions of zero leave the relative size times the base; compounding factors leave the rate as it was."""
    compounding = make_controller(actions.RateMultipliers())
    policy = at_rest(compounding.policy)
    observation = jax.jit(build(TINY, None).reset)(jax.random.key(0))[1].observation
    _, rates = policy.act(policy.init(observation), observation, jax.random.key(0))
    np.testing.assert_array_equal(rates, observation.rates)
    resting = at_rest(controller.policy)
    _, chosen_actions = resting.choose(resting.init(observation), observation, jax.random.key(0))
    np.testing.assert_array_equal(chosen_actions, np.zeros(1))


@pytest.mark.slow
def test_a_replay_of_agents_at_rest_over_one_training_is_that_training(controller, bench):
    """The mean of one run's rates is those rates: a replay of them ends where the run did."""
    one = dataclasses.replace(bench, effort=dataclasses.replace(EFFORT, tuning_seeds=1))
    optimizer, numbers = methods(controller)[REPLAY].make_fn(one)
    same = one.train(optimizer, numbers, np.zeros(1, int), np.zeros(1, int), report=True)
    door, policy = methods(controller)[OURS].make_fn(one)
    ours = one.train(door, policy, np.zeros(1, int), np.zeros(1, int), report=True)
    np.testing.assert_allclose(same.final_loss, ours.final_loss, rtol=1e-5)


def test_a_controller_with_a_direction_meets_the_schedules_over_the_same_one(controller, tmp_path):
    direction = Direction("nadamw", momentum=0.75, second_decay=0.98, weight_decay=0.02)
    brings = controller.replace(direction=direction)
    assert SAME_DIRECTION not in methods(controller)

    def settings_of(controller, name):
        make = methods(controller)[name].settings_fn
        assert make is not None
        return make(TINY, EFFORT)

    over = settings_of(brings, SAME_DIRECTION)
    assert 0.02 in np.round(over.numbers["decay"], 6)
    np.testing.assert_allclose(over.numbers["decay"][over.start], 0.02)
    own = settings_of(brings, REFERENCE)
    assert len(np.unique(own.numbers["decay"])) > 4
    assert len(np.unique(settings_of(controller, REFERENCE).numbers["decay"])) == 1
    changed = brings.replace(direction=dataclasses.replace(direction, momentum=0.8))
    made_of = [Suite(tmp_path, c, None, EFFORT)._made_of for c in (brings, changed)]
    assert made_of[0][SAME_DIRECTION] != made_of[1][SAME_DIRECTION]


def test_peaks_are_at_most_the_factor_apart_and_every_schedule_is_tried():
    effort = Effort()
    found = schedules_grid(effort, (1e-3, 1.0), (0.0, 0.1), 1)
    peaks = np.unique(found.numbers["peak"])
    assert (peaks[1:] / peaks[:-1] <= effort.peak_factor + 1e-5).all()
    assert peaks[0] < 1e-3 < 1.0 < peaks[-1]
    first = found.numbers["peak"][found.start]
    np.testing.assert_allclose([first.min(), first.max()], [1e-3, 1.0], rtol=1e-5)
    assert set(found.numbers["schedule"][found.start]) == set(range(len(SCHEDULES)))
    same = found.numbers["schedule"][found.neighbours] == found.numbers["schedule"][:, None]
    assert same.all()
    for rung in found.rungs[-1:]:
        assert rung.seeds == 20


def test_muon_takes_kernels_as_matrices_and_leaves_the_rest_to_adam():
    problem = dataclasses.replace(TINY, network={"name": "cnn", "channels": (2, 3)})
    training = build(problem, None).training
    params = training.init(jax.random.key(0)).params
    found = rivals.muon_matrices(training, params)
    assert found["conv0"]["kernel"] == ((0, 1, 2), (3,))
    assert found["conv0"]["bias"] is None
    assert found["dense0"]["kernel"] is None  # the output layer
    embedding = {"embed": {"embedding": jnp.zeros((4, 3))}, "head": {"kernel": jnp.zeros((3, 4))}}
    training = training.replace(layers=ganno_jax.inner.layers.by_module(embedding))
    none = rivals.muon_matrices(training, embedding)
    assert none == {"embed": {"embedding": None}, "head": {"kernel": None}}


def test_rows_are_those_computed_by_hand():
    suite = {
        "a": cells([0.5] * 4, [1.0] * 4),  # log loss lower by log 2
        "b": cells([2.0] * 4, [1.0] * 4),  # higher by log 2
    }
    np.testing.assert_allclose(finals(suite["a"])[OURS], np.log(0.5))
    rows = {row["method"]: row for row in overall(suite)}
    ours = rows[OURS]
    np.testing.assert_allclose(ours["difference"], 0.0, atol=1e-12)
    # Over problems either may be drawn twice; over the runs of these problems nothing varies.
    np.testing.assert_allclose(
        [ours["difference_lower"], ours["difference_upper"]], [-np.log(2), np.log(2)]
    )
    np.testing.assert_allclose([ours["runs_lower"], ours["runs_upper"]], 0.0, atol=1e-12)
    np.testing.assert_allclose(ours["worst_difference"], np.log(2.0))
    assert ours["worst_problem"] == "b"
    assert (ours["at_or_below"], ours["problems"], ours["P_better"]) == (1, 2, 0.5)
    assert rows[REFERENCE]["tuning_runs"] == 30
    assert rows[REFERENCE]["inner_steps"] == 160
    assert [row[f"minus {REFERENCE}"][:6] for row in overview(suite)] == ["-0.693", "+0.693"]
    assert [row["accuracy"] for row in overview(suite)] == ["75.0%", "75.0%"]
    assert problem_rows(suite["a"])[1]["settings"] == "cosine peak 0.1"


def test_selection_numbers_stand_apart_from_reported_ones():
    suite = {"a": {**cells([2.0] * 4, [1.0] * 4), OURS: cell([2.0] * 4, selection=[0.5] * 4)}}
    ours = overall(suite)[0]
    np.testing.assert_allclose(ours["difference"], np.log(2))
    np.testing.assert_allclose(ours["selection_difference"], -np.log(2))


def test_a_run_that_got_worse_costs_its_first_loss():
    worse = cells([50.0, np.nan, 3.0, 1.0], [1.0] * 4)
    np.testing.assert_allclose(finals(worse)[OURS], np.log([3.0, 3.0, 3.0, 1.0]))


def test_the_controller_and_what_its_gain_is_measured_against_come_first():
    worst = {name: cell([9.0] * 4) for name in (BLIND, REPLAY, BASE)}
    suite = {"a": {"better": cell([0.1] * 4), **worst, **cells([2.0] * 4, [1.0] * 4)}}
    names = [OURS, BASE, REPLAY, BLIND, "better", REFERENCE]
    assert [row["method"] for row in overall(suite)] == names
    assert [row["method"] for row in problem_rows(suite["a"])] == names


def test_learner_seeds_are_rows_of_their_own_and_one_of_all():
    suite = {"a": cells([2.0] * 4, [1.0] * 4, **{learner_seed(2): cell([0.5] * 4)})}
    rows = {row["method"]: row for row in overall(suite)}
    np.testing.assert_allclose(rows[LEARNERS]["difference"], 0.0, atol=1e-12)
    np.testing.assert_allclose(rows[LEARNERS]["difference_upper"], np.log(2))
    assert rows[OURS]["difference_upper"] == rows[OURS]["difference_lower"]


def test_the_headline_says_what_is_level_and_claims_nothing_about_other_problems():
    level = {
        n: {**cells([x] * 4, [1.0] * 4), BASE: cell([3.0] * 4)} for n, x in (("a", 0.5), ("b", 2.0))
    }
    sentence = headline(level, "development suite, 2 problems")
    assert (
        f"Level, since the interval over problems and seeds holds 0, with: {REFERENCE}." in sentence
    )
    assert f"{BASE} -1.0" in sentence
    assert "at or below it in 1 of 2" in sentence
    for word in ("zero-shot", "unseen", "without tuning"):
        assert word not in sentence.lower()


def test_the_speed_up_is_of_the_steps_to_where_tuned_adam_ends():
    found = cells([0.5] * 4, [1.0] * 4, **{"tuned Adam": cell([1.0] * 4)})
    assert over_adam(found, OURS) == 2.0  # at Adam's last loss after 10 steps, not 20
    assert np.isnan(over_adam(cells([0.5] * 4, [1.0] * 4), OURS))


def test_methods_are_chosen_by_words(controller):
    everything = methods(controller)
    assert chosen(everything, ()) == tuple(everything)
    assert chosen(everything, ("muon",)) == (OURS, REFERENCE, MUON)
    with pytest.raises(ValueError, match="no method is named like 'lamb'"):
        chosen(everything, ("lamb",))
    assert set(LEARNING_RATE_FREE) < set(everything)


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
    assert "unseen suite: 2 problems with 4 methods; about" in shown
    assert "left out: missing" in shown
    assert "[1/2] digits, tiny: controller" in shown
    run = tmp_path / "unseen"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["problems"] == 1
    assert {p.stem for p in (run / "tables").iterdir()} == {"problems", "overall", "overview"}
    assert {p.stem for p in (run / "figures").iterdir()} == {"profile", "overall"}
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
            "no suite 'held-in'; there are: development, second, third, unseen",
        ),
        ("nothing --suite development", "no controller 'nothing'; shipped are"),
        ("digits --suite development --suite.seeds 3", "no option --suite.seeds; there are"),
        ("digits --suite development --suite.num_seeds 2", "`suite.num_seeds` must be at least 4"),
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
