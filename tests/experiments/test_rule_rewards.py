"""What a searched update rule is paid by, and by what its rate is chosen."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.agents.task import load_data
from experiments.configs.config import NetworkConfig
from experiments.configs.rule_presets import search_digits
from experiments.rules import build, compare
from ganno_jax.env import make_mesh

pytestmark = pytest.mark.usefixtures("_quick_compilation")


@pytest.fixture
def config():
    few = dataclasses.replace(
        search_digits().search,
        num_reward=100,
        rates=(0.01, 0.1),
        compared_steps=3,
        tuning_runs=2,
        num_runs=3,
    )
    small = NetworkConfig("mlp", features=(4,))
    return dataclasses.replace(search_digits(), network=small, compared_network=small, search=few)


def other_labels(split):
    return split.replace(targets=(np.asarray(split.targets) + 1) % 10)


def test_reward_examples_are_in_no_batch_of_their_training_and_in_no_other_split(
    config, monkeypatch
):
    child, family = build.child_of(config), build.reward_family(config)
    first, second = (jax.random.key(seed) for seed in (0, 1))
    rewarded = [set(family.reward_indices(family.sample(key)).tolist()) for key in (first, second)]
    steps = -(-family.num_trainable // config.search.child_batch_size)  # an epoch
    trained = set(np.ravel(child.draw_fn(first, steps)[0]).tolist())
    assert len(rewarded[0]) == 100
    assert not trained & rewarded[0]
    assert trained | rewarded[0] == set(range(family.num_examples))
    assert rewarded[0] != rewarded[1]
    params = child.init_fn(first)
    task = family.sample(first)
    _, (_, metrics) = task.loss(params, {}, family.reward_batch(task), first, False)
    score = float(child.score_fn(params, first))
    np.testing.assert_allclose(score, metrics["accuracy"], rtol=1e-6)

    dataset = load_data(config.data)
    spoilt = dataset.replace(
        validation=other_labels(dataset.validation), test=other_labels(dataset.test)
    )
    monkeypatch.setattr(build, "load_data", lambda data: spoilt)
    assert float(build.child_of(config).score_fn(params, first)) == score
    monkeypatch.setattr(
        build, "load_data", lambda data: dataset.replace(train=other_labels(dataset.train))
    )
    assert float(build.child_of(config).score_fn(params, first)) != score


def test_the_report_split_has_no_say_in_the_choice_of_the_rate(config, monkeypatch):
    mesh = make_mesh(jax.devices()[:1])

    whole = compare.Trainer(config, mesh).rule("g")
    dataset = load_data(config.data)
    spoilt = dataset.replace(test=other_labels(dataset.test))
    monkeypatch.setattr(compare, "load_data", lambda data: spoilt)
    found = compare.Trainer(config, mesh).rule("g")
    assert (found.rate, found.selection_accuracy) == (whole.rate, whole.selection_accuracy)
    assert (found.test_loss != whole.test_loss).all()
