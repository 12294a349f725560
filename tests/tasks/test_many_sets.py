"""Many data sets in one: each training draws one, and everything it sees is of that one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from ganno_jax.env import Env, make_mesh
from ganno_jax.env.rewards import TerminalLogLoss
from ganno_jax.evaluation import evaluate
from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.policies import FixedRates
from ganno_jax.tasks import from_arrays, from_functions, sources
from ganno_jax.tasks.distributions import Constant
from ganno_jax.tasks.sources import many_rules

NUM_SETS, SIZE = 4, 50
KEYS = jax.random.split(jax.random.key(0), 12)


def marked(**options):
    """Every example of set k is k, its target 1 + k."""
    numbers = np.repeat(np.arange(NUM_SETS, dtype=np.float32), SIZE)
    return from_arrays(
        numbers[:, None], 1 + numbers, num_sets=NUM_SETS, normalize=False, name="marked", **options
    )


def family(**variation):
    return from_functions(
        lambda key: {"w": jnp.zeros(())},
        lambda params, batch: (params["w"] - batch.targets) ** 2,
        marked(),
        **variation,
    )


def test_every_split_holds_an_equal_part_of_every_set_and_no_example_twice():
    dataset = from_arrays(
        np.arange(NUM_SETS * SIZE, dtype=np.float32)[:, None],
        np.zeros(NUM_SETS * SIZE, np.float32),
        num_sets=NUM_SETS,
        normalize=False,
    )
    splits = dataset.train, dataset.validation, dataset.test
    assert [dataset.count(split) for split in splits] == [30, 10, 10]
    parts = [np.asarray(split.inputs).reshape(NUM_SETS, -1) for split in splits]
    for part in parts:
        np.testing.assert_array_equal(part // SIZE, np.arange(NUM_SETS)[:, None] + 0 * part)
    assert len(np.unique(np.concatenate(parts, 1))) == NUM_SETS * SIZE


def test_batches_and_reward_examples_are_of_the_tasks_own_set_and_apart():
    several = family(num_reward=10, data_fraction=Constant(0.5))
    drawn = set()
    for key in KEYS:
        task = several.sample(key)
        drawn.add(int(task.set_number))
        batches = [several.batch_indices(task, jnp.int32(step), 5) for step in range(4)]
        used = np.concatenate(batches)
        assert len(np.unique(used)) == 10  # half of the 20 that are not set aside, each twice
        paying = np.asarray(several.reward_indices(task))
        assert not set(used) & set(paying.tolist())
        np.testing.assert_array_equal(np.concatenate([used, paying]) // 30, task.set_number)
    assert len(drawn) == NUM_SETS


def test_a_final_loss_is_over_the_own_sets_part_of_a_split():
    training = Training.create(family(), named("sgd", Constant(1.0)), 5)
    env = Env.create(training, TerminalLogLoss(), num_decisions=2, interval=1)
    curves = evaluate(env, FixedRates(jnp.zeros(1)), KEYS, make_mesh(jax.devices()[:1]))
    # No step is taken: the weight stays 0 and the loss is the square of the target.
    targets = [
        1 + int(env.reset(jax.random.fold_in(key, 0))[0].inner.task.set_number) for key in KEYS
    ]
    for losses in (curves.final_loss, curves.selection_loss, curves.report_loss[:, 0]):
        np.testing.assert_allclose(losses, np.square(targets))


@pytest.mark.parametrize("options", [{"num_sets": 3}, {"num_sets": 0}])
def test_sets_must_be_of_one_size(options):
    with pytest.raises(ValueError, match="`num_sets` must divide the number of examples, 10"):
        from_arrays(np.zeros((10, 1), np.float32), np.zeros(10, np.float32), **options)


def test_an_official_test_split_cannot_belong_to_several_sets():
    arrays = np.zeros((10, 1), np.float32), np.zeros(10, np.float32)
    with pytest.raises(ValueError, match="there is no official test split then"):
        from_arrays(*arrays, test=arrays, num_sets=2)


def test_curves_have_few_inputs_and_little_noise():
    """A straight line through the nearest rows leaves little of most of them."""
    dataset = sources.load("generated_curves")
    inputs = np.asarray(dataset.train.inputs).reshape(48, -1, 3)
    targets = np.asarray(dataset.train.targets).reshape(48, -1)
    left = []
    for rows, wanted in zip(inputs, targets, strict=True):
        distances = np.square(rows[:60, None] - rows[None, 60:]).sum(-1)
        errors = []
        for row, target, distance in zip(rows, wanted, distances, strict=False):
            near = 60 + np.argsort(distance)[:20]
            known = np.column_stack([rows[near] - row, np.ones(20)])
            errors.append(np.linalg.lstsq(known, wanted[near], rcond=None)[0][-1] - target)
        left.append(np.median(np.abs(errors)))
    assert np.median(left) < 0.15


@pytest.mark.parametrize(
    "name", ["generated_classifiers", pytest.param("generated_functions", marks=pytest.mark.slow)]
)
def test_generated_sets_differ_in_what_they_are_about_and_in_how_much_of_it_is_chance(name):
    dataset = sources.load(name)
    assert (dataset.num_sets, dataset.count(dataset.train), dataset.input_shape) == (
        48,
        4916,
        (16,),
    )
    inputs = np.asarray(dataset.train.inputs).reshape(48, -1, 16)
    targets = np.asarray(dataset.train.targets).reshape(48, -1)
    np.testing.assert_allclose(inputs.std(1), 1.0, atol=0.25)  # heavy tails in some
    if dataset.num_classes:
        counts = [len(np.unique(row)) for row in targets]
        assert (min(counts), max(counts)) == (2, 8)
    else:
        np.testing.assert_allclose(targets.std(1), 1.0, atol=0.05)
    # How well the ten nearest neighbours tell the target: from not at all to nearly always.
    right = []
    for rows, wanted in zip(inputs, targets, strict=True):
        distances = np.square(rows[:200, None] - rows[None, 200:]).sum(-1)
        near = wanted[200:][np.argsort(distances, 1)[:, :10]]
        if dataset.num_classes:
            found = np.array([np.bincount(row).argmax() for row in near])
            right.append((found == wanted[:200]).mean() - np.bincount(wanted).max() / len(wanted))
        else:
            right.append(1 - np.mean((near.mean(1) - wanted[:200]) ** 2))
    assert min(right) < 0.08
    assert max(right) > 0.4


def test_rules_are_always_right_and_no_class_is_nearly_all():
    """Rows that are equal have one class, and a tree that sees half of a set tells most of the other half."""
    dataset = sources.load("generated_rules")
    inputs = np.asarray(dataset.train.inputs).reshape(48, -1, 10)
    targets = np.asarray(dataset.train.targets).reshape(48, -1)
    assert set(np.unique(inputs)) == {0, 1, 2}
    for rows, wanted in zip(inputs, targets, strict=True):
        number = rows.astype(int) @ 3 ** np.arange(10)
        pairs = {*zip(number.tolist(), wanted.tolist(), strict=True)}
        assert len(pairs) == len(np.unique(number))
        assert np.bincount(wanted).max() <= 0.82 * len(wanted)
    half = len(inputs[0]) // 2
    gains = [
        DecisionTreeClassifier(random_state=0)
        .fit(rows[:half], wanted[:half])
        .score(rows[half:], wanted[half:])
        - np.bincount(wanted[half:]).max() / half
        for rows, wanted in zip(inputs[::8], targets[::8], strict=True)
    ]
    assert min(gains) > 0.1


@pytest.mark.parametrize(
    ("rule", "matters"),
    [("remainders", 3), ("look-ups", 5), ("majorities", 10), ("trees", 10)],
)
def test_a_sort_of_rule_says_all_classes_and_asks_no_more_columns_than_it_may(rule, matters):
    """A row whose columns change one at a time: its class turns on at most so many of them."""
    rows = np.random.default_rng(1).integers(3, size=(4_000, 10))
    say = many_rules.SORTS[rule]
    for seed in range(8):
        classes = say(rows, 3, np.random.default_rng(seed))
        assert set(np.unique(classes)) == {0, 1, 2}
        asked = 0
        for column in range(10):
            changed = rows.copy()
            changed[:, column] = (changed[:, column] + 1) % 3
            asked += np.any(say(changed, 3, np.random.default_rng(seed)) != classes)
        assert asked <= matters


def test_a_line_tells_the_classes_of_scores():
    rows = np.random.default_rng(1).integers(3, size=(2_000, 10))
    for seed in range(4):
        classes = many_rules.SORTS["scores"](rows, 2, np.random.default_rng(seed))
        line = LogisticRegression(C=1e4, max_iter=2_000).fit(rows, classes)
        assert line.score(rows, classes) > 0.995


def test_rules_by_hand():
    """One row for each sort whose columns are all asked."""
    rows = np.array([[0, 0, 1, 1, 1, 2, 2, 1, 0, 1], [2] * 10])
    assert many_rules.SORTS["majorities"](rows, 3, _AllColumns()).tolist() == [1, 2]
    assert many_rules.SORTS["majorities"](rows, 2, _AllColumns()).tolist() == [1, 1]
    assert many_rules.SORTS["remainders"](rows, 4, _AllColumns()).tolist() == [9 % 4, 20 % 4]


class _AllColumns:
    """In the place of a generator: columns in their order, as many as there are."""

    def permutation(self, number):
        return np.arange(number)

    def integers(self, low, high):
        return 10


def test_many_sets_cannot_be_cut():
    with pytest.raises(ValueError, match="many data sets in one, which cannot be made smaller"):
        sources.load("generated_functions", max_examples=100)
