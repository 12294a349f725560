"""The second to the seventh and the unseen suite: what they share with nothing else, and regressions."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from experiments.problems import broad_families, development, horizons
from experiments.problems.budgets import BUDGETS
from experiments.problems.fifth import FIFTH
from experiments.problems.fourth import FOURTH
from experiments.problems.problem import Problem, build
from experiments.problems.second import SECOND
from experiments.problems.seventh import SEVENTH
from experiments.problems.sixth import SIXTH
from experiments.problems.third import THIRD
from experiments.problems.trainings import TRAININGS
from experiments.problems.unseen import UNSEEN
from ganno_jax.evaluation.optax_loop import LoopOptimizer, Plan, train

WITHOUT_FOLDER = [
    p
    for p in (*SECOND, *THIRD, *FOURTH, *FIFTH, *SIXTH, *SEVENTH, *UNSEEN, *TRAININGS)
    if p.data["name"] not in ("fashion_mnist", "mnist", "cifar10", "tinyshakespeare")
]
IMAGES = [
    p
    for p in (*SECOND, *THIRD, *FOURTH, *FIFTH, *SIXTH)
    if p.data["name"] in ("fashion_mnist", "cifar10")
]
# What the shipped controllers learned on.
LEARNED = (*broad_families.SMALL, *horizons.HORIZONS)
SUITES = pytest.mark.parametrize(
    "suite",
    [SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH, UNSEEN],
    ids=["second", "third", "fourth", "fifth", "sixth", "seventh", "unseen"],
)


def frozen(value):
    return tuple(sorted((key, str(item)) for key, item in value.items()))


@pytest.mark.parametrize("suite", [SIXTH, SEVENTH, UNSEEN], ids=["sixth", "seventh", "unseen"])
def test_no_unseen_problem_has_data_or_a_network_of_another_suite(suite):
    every = (development.DEVELOPMENT, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH, UNSEEN)
    others = [p for one in (*every, TRAININGS, BUDGETS, LEARNED) if one is not suite for p in one]
    assert not {frozen(p.data) for p in suite} & {frozen(p.data) for p in others}
    assert not {frozen(p.network) for p in suite} & {frozen(p.network) for p in others}
    generated = {p.data["name"] for p in suite if p.data["name"].startswith("generated")}
    assert not generated & {p.data["name"] for p in others}


def test_the_sixth_suite_has_every_kind_of_network_and_data_that_shipped_with_scikit_learn():
    networks = {problem.network["name"] for problem in SIXTH}
    assert {"mlp", "cnn", "resnet14", "mixer", "lstm", "gru", "transformer"} <= networks
    assert {"tabular", "autoencoder"} <= networks
    regressions = [p for p in SIXTH if p.data.get("standardize_targets")]
    assert {p.data["name"] for p in regressions} == {"generated_impedance", "middle_pixels"}


@pytest.mark.parametrize(
    "suite, names", [(SEVENTH, ("trips", "reactions")), (UNSEEN, ("visits", "throws"))]
)
def test_a_suite_has_every_kind_of_network_and_runs_that_differ_in_four_problems(suite, names):
    networks = {problem.network["name"] for problem in suite}
    assert {"mlp", "cnn", "resnet14", "vit", "lstm", "gru", "transformer"} <= networks
    assert {"tabular", "autoencoder"} <= networks
    regressions = [p for p in suite if p.data.get("standardize_targets")]
    assert {p.data["name"] for p in regressions} == {f"generated_{name}" for name in names}
    varied = [problem for problem in suite if problem.varied]
    assert len(varied) == 4
    assert all(problem.name.endswith(" vary") for problem in varied)


def reported(problem):
    """Places in the official test split of the images that a problem reports on, as `sources.load` draws them."""
    drawn = np.random.default_rng((0, 1)).permutation(10_000)[: problem.data["max_examples"]]
    first = problem.data.get("first_test", 0)
    return set(np.sort(drawn)[first : first + problem.data["max_held_out"]].tolist())


def test_the_seventh_suite_reports_on_test_images_that_the_suites_before_do_not():
    before = set().union(*map(reported, IMAGES))
    images = [p for p in SEVENTH if p.data["name"] in ("fashion_mnist", "cifar10")]
    assert [len(reported(p)) for p in images] == [1_000] * len(images)
    assert not before & set().union(*map(reported, images))


@SUITES
def test_no_problem_has_the_data_of_what_controllers_learned_on(suite):
    assert not {p.data["name"] for p in suite} & {p.data["name"] for p in LEARNED}


@SUITES
def test_a_suite_covers_budgets_batches_and_optimizers(suite):
    steps = [problem.total_steps for problem in suite]
    batches = [problem.batch_size for problem in suite]
    assert (min(steps), max(steps)) == (100, 10_000)
    assert (min(batches), max(batches)) == (8, 512)
    assert {"adam", "adamw", "momentum"} <= {problem.optimizer for problem in suite}
    assert len({problem.name for problem in suite}) == len(suite) >= 12


@pytest.mark.parametrize("problem", WITHOUT_FOLDER, ids=lambda problem: problem.name[:24])
def test_unseen_problems_that_need_no_folder_can_be_built(problem):
    env = build(problem, None)
    assert env.total_steps == problem.total_steps
    outcome = jax.eval_shape(lambda key: env.reset(key)[0].outcome, jax.random.key(0))
    assert outcome.train_loss.shape == ()


@pytest.mark.parametrize(
    "steps, decisions", [(100, 25), (120, 30), (1_200, 30), (10_000, 25), (31, 31), (20, 20)]
)
def test_steps_are_cut_into_about_thirty_equal_windows(steps, decisions):
    problem = Problem("any", {}, {}).of_steps(steps)
    assert (problem.num_decisions, problem.total_steps) == (decisions, steps)


def test_steps_that_cannot_be_cut_name_the_nearest_that_can():
    with pytest.raises(ValueError, match="101 do not, 102 do"):
        Problem("any", {}, {}).of_steps(101)
    with pytest.raises(ValueError, match="7 do not, 20 do"):
        Problem("any", {}, {}).of_steps(7)


@pytest.mark.usefixtures("_quick_compilation")
def test_a_regression_is_learned_end_to_end():
    """Adam explains more than a quarter of the variance of the targets."""
    problem = Problem(
        "waves",
        {"name": "generated_waves"},
        {"name": "mlp", "features": (32,)},
        optimizer="adam",
    ).of_steps(400)
    training = build(problem, None).training
    adam = LoopOptimizer(lambda numbers, start: optax.adam(1e-2))
    plan = Plan(problem.total_steps, num_marks=2)
    result = jax.jit(lambda key: train(training, adam, None, key, plan))(jax.random.key(0))
    variance = np.var(training.family.dataset.test.targets)
    assert result.final_loss < 0.75 * variance < result.curve[0]
    assert np.isnan(result.final_accuracy)


def test_networks_for_tokens_are_refused_where_there_are_none():
    problem = dataclasses.replace(SECOND[5], network={"name": "lstm"})
    with pytest.raises(ValueError, match="network 'lstm' reads token ids; diabetes has none"):
        build(problem, None)
