"""How often guards cut the steps of trainings in which nothing is wrong: in fewer than one of a hundred."""

import os
from types import SimpleNamespace

import jax
import pytest

import ganno_jax
from experiments.problems.development import DEVELOPMENT
from experiments.problems.suites import training_of
from experiments.suites.doors import through_the_door
from ganno_jax.evaluation.optax_loop import LoopOptimizer, Plan
from ganno_jax.evaluation.optax_loop import train as train_in_loop

from .harm import CONTROLLED, final, guards_of, share_cut, train

REAL = os.environ.get("GANNO_DATA_DIR") or os.environ.get("TFDS_DATA_DIR")
pytestmark = [pytest.mark.slow, pytest.mark.learning]


@pytest.mark.parametrize("ours", CONTROLLED)
@pytest.mark.parametrize("batch, num_steps", [(16, 600), (32, 1500)])
def test_the_noise_of_small_batches_of_digits_is_left_alone(ours, batch, num_steps):
    losses, _, _, guards = train(ours, num_steps, batch=batch)
    assert share_cut(guards) < 0.01
    bare = train(lambda steps: ours(steps, safety=False), num_steps, batch=batch).losses
    assert final(losses) < 2 * final(bare) + 1e-3


@pytest.mark.parametrize("name", ["muon", "nadamw", "broad"])
@pytest.mark.parametrize("problem", DEVELOPMENT, ids=lambda problem: problem.name)
def test_the_steps_of_the_development_problems_are_left_alone(problem, name):
    if REAL is None and problem.data["name"] != "digits":
        pytest.skip("needs the real files: set GANNO_DATA_DIR to their folder")
    training, controller = training_of(problem, REAL), ganno_jax.load(name)
    bench = SimpleNamespace(training=training, total_steps=problem.total_steps)
    optimizer = LoopOptimizer(
        lambda numbers, start: through_the_door(bench, controller, start), observe_fn=guards_of
    )
    plan = Plan(problem.total_steps, num_marks=1, mark_examples=16)

    @jax.jit
    def run(key):
        return train_in_loop(training, optimizer, {}, key, plan, report=False)

    assert share_cut(run(jax.random.key(7)).observed) < 0.01
