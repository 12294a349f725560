"""A suite: cells are made once, every method meets the same trainings, rows are what the cells say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ganno_jax
from experiments.configs.broad import Effort
from experiments.problems import suites as suite_problems
from experiments.problems.problem import build
from experiments.suites import doors, rivals
from experiments.suites.cells import Suite, slug
from experiments.suites.methods import (
    LEARNING_RATE_FREE,
    MUON,
    OURS,
    REFERENCE,
    REPLAY,
    SAME_DIRECTION,
    chosen,
    methods,
)
from experiments.suites.settings import schedules_grid
from experiments.suites.train import Bench
from ganno_jax.controllers import Controller
from ganno_jax.env import actions, make_mesh
from ganno_jax.env.base_shapes import flat_shape
from ganno_jax.env.whole_update import RelativeUpdate
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


def test_a_controller_is_told_the_epoch_of_its_own_training(controller, monkeypatch):
    told = []
    problem = dataclasses.replace(TINY, varied={"data_fraction": (0.05, 0.5)})
    training = suite_problems.training_of(problem, None)
    varied = Bench(problem, training, make_mesh(jax.devices()[:1]), EFFORT)
    monkeypatch.setattr(
        ganno_jax, "control", lambda *_, steps_per_epoch, **__: told.append(steps_per_epoch)
    )
    starts = [training.init(jax.random.key(seed)) for seed in range(3)]
    for start in starts:
        doors.through_the_door(varied, controller, start)
    counts = [int(start.task.num_examples) for start in starts]
    assert len(set(counts)) == 3
    assert max(counts) <= round(0.5 * training.family.num_trainable)
    np.testing.assert_allclose(told, np.array(counts) / TINY.batch_size, rtol=1e-6)


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
    observation = jax.jit(build(TINY, None).reset)(jax.random.key(0))[0].observation
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


def test_methods_are_chosen_by_words(controller):
    everything = methods(controller)
    assert chosen(everything, ()) == tuple(everything)
    assert chosen(everything, ("muon",)) == (OURS, REFERENCE, MUON)
    with pytest.raises(ValueError, match="no method is named like 'lamb'"):
        chosen(everything, ("lamb",))
    assert set(LEARNING_RATE_FREE) < set(everything)
