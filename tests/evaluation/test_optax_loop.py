"""A plain Optax loop: the same trainings as everywhere, every example of a split, one program for all settings."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.evaluation.optax_loop import LoopOptimizer, Plan, plan_of, run, train
from ganno_jax.inner import Training, directions
from ganno_jax.tasks import from_linen, networks, sources
from ganno_jax.tasks.distributions import Constant

pytestmark = pytest.mark.usefixtures("_quick_compilation")
PLAN = Plan(total_steps=7, num_marks=3, mark_examples=16, chunk=16)
SGD = LoopOptimizer(lambda numbers, start: optax.sgd(numbers["rate"]))


@pytest.fixture(scope="module")
def training():
    dataset = sources.load("digits", max_examples=200)
    family = from_linen(networks.build("softmax", num_classes=10), dataset)
    return Training.create(family, directions.named("sgd", Constant(0.1)), batch_size=8)


def by_hand(training, rate, key, steps):
    """The training written out, and every example of both splits in one batch."""
    state = training.init(jax.random.fold_in(key, 0))
    for step in range(steps):
        indices = training.family.batch_indices(state.task, jnp.int32(step), 8)
        _, _, gradient = training.gradient(state, indices)
        params = jax.tree.map(lambda w, g: w - rate * g, state.params, gradient)
        state = state.replace(params=params, step=state.step + 1)
    dataset = training.family.dataset

    def loss(split):
        return state.task.loss(state.params, {}, dataset.whole(split), key, False)[0]

    return loss(dataset.validation), loss(dataset.test)


def test_the_loop_takes_the_steps_of_a_loop_written_out(training):
    key = jax.random.key(3)
    result = jax.jit(lambda: train(training, SGD, {"rate": 0.3}, key, PLAN))()
    selection, report = by_hand(training, 0.3, key, 7)
    np.testing.assert_allclose(result.final_loss, report, rtol=1e-5)
    np.testing.assert_allclose(result.selection_loss, selection, rtol=1e-5)
    assert PLAN.marks.tolist() == [0, 3, 6, 7]
    assert result.curve.shape == (4,)


def test_rows_share_trainings_and_one_program(training):
    keys = jax.random.split(jax.random.key(0), 3)
    numbers = {"rate": jnp.array([0.1, 0.3])}
    mesh = make_mesh(jax.devices()[:1])
    settings, runs = np.array([0, 1, 1, 0, 1]), np.array([0, 0, 1, 2, 2])
    made = []

    def make(numbers, start):
        made.append(1)
        return optax.sgd(numbers["rate"])

    def rows(settings, runs, report):
        return run(
            training, optimizer, numbers, keys, settings, runs, PLAN, mesh, report=report, block=2
        )

    optimizer = LoopOptimizer(make)
    found = rows(settings, runs, True)
    traced = len(made)
    tuning = rows(settings[:3], runs[:3], False)
    assert len(made) == traced + 1  # only to find the shapes
    assert found.final_loss.shape == (5,)
    for row in (2, 3):
        rate = [0.1, 0.3][settings[row]]
        selection, report = by_hand(training, rate, keys[runs[row]], 7)
        np.testing.assert_allclose(found.final_loss[row], report, rtol=1e-5)
        np.testing.assert_allclose(found.selection_loss[row], selection, rtol=1e-5)
    np.testing.assert_allclose(tuning.selection_loss, found.selection_loss[:3], rtol=1e-6)
    assert np.isnan(tuning.final_loss).all()
    assert not tuning.diverged.any()
    # What all settings share in a run: the training before its first step.
    assert found.first_loss[0] == found.first_loss[1] != found.first_loss[2]


def test_a_training_that_diverges_is_marked_and_leaves_the_others_alone(training):
    keys = jax.random.split(jax.random.key(0), 1)
    numbers = {"rate": jnp.array([0.1, 1e38])}
    found = run(
        training,
        SGD,
        numbers,
        keys,
        np.array([0, 1]),
        np.zeros(2, int),
        PLAN,
        make_mesh(jax.devices()[:1]),
    )
    assert found.diverged.tolist() == [False, True]
    assert np.isfinite(found.first_loss).all()


def test_what_is_observed_is_there_for_every_step(training):
    optimizer = LoopOptimizer(
        lambda numbers, start: optax.adam(0.1), observe_fn=lambda state: state[0].count
    )
    result = jax.jit(lambda: train(training, optimizer, {}, jax.random.key(0), PLAN))()
    np.testing.assert_array_equal(result.observed, np.arange(1, 8))


def test_methods_that_average_are_evaluated_at_their_average(training):
    still = LoopOptimizer(
        lambda numbers, start: optax.sgd(0.3),
        evaluation_params_fn=lambda state, params: jax.tree.map(jnp.zeros_like, params),
    )
    result = jax.jit(lambda: train(training, still, {}, jax.random.key(0), PLAN))()
    np.testing.assert_allclose(result.final_loss, np.log(10), rtol=1e-5)


def test_marks_cost_a_tenth_of_the_steps_at_most(training):
    plan = plan_of(training, 600)
    steps = 3 * training.batch_size * 600
    assert plan.mark_examples * plan.num_marks <= 0.1 * steps + plan.num_marks
    assert plan.marks[-1] == 600


@pytest.mark.parametrize("name", ["total_steps", "num_marks", "mark_examples", "chunk"])
def test_a_plan_without_steps_marks_or_examples_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        Plan(**{"total_steps": 10, name: 0})
