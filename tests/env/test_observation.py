"""Features: bounded, finite, and only what an Optax update sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import FEATURES
from ganno_jax.env.features import GLOBAL_FEATURES
from ganno_jax.env.observation import observe
from ganno_jax.env.observation_memory import empty_memory
from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.inner.hyperparameters import LayerHyperparameters
from ganno_jax.inner.layers import by_module
from ganno_jax.inner.statistics import Summary
from ganno_jax.tasks import from_linen, networks
from ganno_jax.tasks.distributions import Constant

from ..probes import blobs, mlp_env, mlp_init, quick_jit, reset, step

LAYERS = by_module(jax.eval_shape(mlp_init, jax.random.key(0)))


@quick_jit
def look(memory, summary, rates, initial_rate=0.1, step=3, total_steps=12, steps_per_epoch=0.0):
    numbers = jnp.float32(initial_rate), jnp.int32(step), jnp.int32(total_steps)
    return observe(memory, summary, rates, *numbers, LAYERS, 3, steps_per_epoch)


def summary(value=0.5):
    one, per_layer = jnp.asarray(value, jnp.float32), jnp.full(2, value, jnp.float32)
    return Summary(*[one] * 4, *[per_layer] * 6)


def column(observation, name):
    return np.asarray(observation.features[:, FEATURES.index(name)])


@pytest.mark.parametrize("rate", [0.0, 0.1, 1e38, np.nan])
@pytest.mark.parametrize("value", [0.0, -1.0, 1e-38, 1e38, np.inf, -np.inf, np.nan])
def test_features_are_bounded_and_finite_whatever_comes_in(value, rate):
    memory, rates = empty_memory(2, jnp.float32(0.1)), jnp.full(2, rate)
    for inputs in (summary(), summary(value), summary()):
        memory, observation = look(memory, inputs, rates, rate)
        assert np.isfinite(observation.features).all()
        assert np.abs(observation.features).max() <= 3.0


def test_features_are_bounded_and_finite_without_a_budget():
    _, observation = look(empty_memory(2, jnp.float32(0.1)), summary(), jnp.ones(2), 0.1, 0, 0)
    assert np.isfinite(observation.features).all()


def test_at_the_first_window_nothing_has_changed():
    _, observation = look(empty_memory(2, jnp.float32(0.1)), summary(3.7), jnp.full(2, 0.1))
    for name in (
        "loss_gain",
        "loss_change",
        "loss_trend",
        "loss_excess",
        "rate_change",
        "rate_drift",
        "rate_contrast",
        "gradient_change",
    ):
        np.testing.assert_allclose(column(observation, name), 0.0, atol=1e-6, err_msg=name)


def test_features_are_those_computed_by_hand():
    memory = empty_memory(2, jnp.float32(0.1))
    memory, _ = look(memory, summary(2.0), jnp.full(2, 0.1), step=0)
    now = Summary(
        loss=jnp.float32(1.5),
        loss_spread=jnp.float32(0.3),
        loss_slope=jnp.float32(-0.6),
        loss_largest=jnp.float32(1.8),
        gradient_rms=jnp.asarray([0.2, 4.0]),
        direction_rms=jnp.asarray([0.4, 2.0]),
        weight_rms=jnp.asarray([0.8, 0.5]),
        agreement=jnp.asarray([0.25, -0.5]),
        alignment=jnp.asarray([1.0, 0.375]),
        sizes=jnp.asarray([40.0, 27.0]),
    )
    chosen = LayerHyperparameters(jnp.asarray([0.2, 0.05]), jnp.asarray([0.09, 9.99]))
    _, observation = look(
        memory, now, chosen, step=3, total_steps=12, steps_per_epoch=jnp.float32(2.0)
    )
    fall = np.log(1.5 / 2.0)
    expected = {
        "progress": 0.25,
        "remaining": np.log10(10.0) / 5,
        "loss_level": np.log(1.5) / 5,
        "loss_gain": fall / 5,
        "loss_change": fall,
        "loss_trend": (0.5 - 0.15) * fall,  # shares of the new value in the two means
        "loss_excess": 0.0,
        "loss_spread": np.log10(0.2) / 2,
        "loss_peak": np.log(1.2),
        "loss_slope": -0.4,
        "epochs": np.log10(1 + 6) / 3,
        "epoch": np.log10(1 + 1.5) / 3,
        "first_pass": np.log(1.5) / 5,  # the window began with the training
        "memorized": 0.0,
        "rate": np.log10([0.2, 0.05]) / 3,
        "rate_change": np.log([2.0, 0.5]) / 2,
        "rate_drift": np.log10([2.0, 0.5]) / 3,
        "rate_contrast": np.log10([2.0, 0.5]) / 2,
        "gradient": np.log10([0.2, 4.0]) / 3,
        "gradient_change": np.log([0.1, 2.0]) / 2,
        "weight": np.log10([0.8, 0.5]) / 2,
        "relative_update": np.log10([0.1, 0.2]) / 3,
        "direction_gain": np.log10([2.0, 0.5]) / 3,
        # Relative steps of 1 at first, now 0.5 and 4; the largest one faded for a quarter of the training.
        "direction_fall": [(np.log(0.5) + 0.25) / 2, 0.0],
        "agreement": [0.25, -0.5],
        "alignment": [1.0, 0.375],
        "depth": [0, 1],
        "is_first": [1, 0],
        "is_last": [0, 1],
        "size": np.log10([40, 27]) / 7,
        "kind_dense": 1,
        "kind_conv": 0,
        "kind_norm": 0,
        "kind_other": 0,
        "forgetting": [-0.5, 0.5],
        "weight_growth": np.log([0.4, 0.25]) / 2,
    }
    assert set(expected) == set(FEATURES)
    for name, value in expected.items():
        np.testing.assert_allclose(
            column(observation, name), np.broadcast_to(value, 2), rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_the_largest_relative_step_is_kept_and_survives_what_is_not_finite():
    memory, largest = empty_memory(2, jnp.float32(0.1)), []
    for value in (1.0, np.inf, np.nan):
        now = summary().replace(
            direction_rms=jnp.asarray([0.4, value]), weight_rms=jnp.asarray([0.8, 0.5])
        )
        memory, observation = look(memory, now, jnp.full(2, 0.1), step=3, total_steps=12)
        largest.append(observation.largest_relative_steps)
    np.testing.assert_allclose(largest[0], [0.5, 2.0], rtol=1e-5)
    np.testing.assert_allclose(largest[2], [0.5, 2.0 * np.exp(-0.5)], rtol=1e-5)


def test_a_masked_network_is_seen_as_the_one_that_is_really_narrower(key):
    seen, small = [], None
    for units, width in ((32, None), (128, Constant(0.25))):
        module = networks.build("mlp", num_classes=3, features=(units,))
        family = from_linen(module, blobs(), width=width)
        training = Training.create(family, named("momentum", Constant(0.1)), 8)
        state = quick_jit(training.init)(key)
        if small is None:
            small = state.params
        else:  # the same weights: those of units that are in use come first
            state = state.replace(params=jax.tree.map(_embed, small, state.params))
        summary = quick_jit(training.first_look)(state)
        numbers = jnp.float32(0.1), jnp.int32(3), jnp.int32(9)
        memory = empty_memory(2, jnp.float32(0.1))
        seen.append(observe(memory, summary, jnp.full(2, 0.1), *numbers, training.layers, 3)[1])
    np.testing.assert_allclose(seen[0].features, seen[1].features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(*(x.largest_relative_steps for x in seen), rtol=1e-4)


def _embed(small, large):
    return jnp.zeros_like(large).at[tuple(slice(n) for n in small.shape)].set(small)


def test_global_features_are_the_same_for_all_layers():
    _, observation = look(empty_memory(2, jnp.float32(0.1)), summary(), jnp.asarray([0.1, 0.2]))
    shared = np.asarray(observation.features[:, : len(GLOBAL_FEATURES)])
    np.testing.assert_array_equal(shared[0], shared[1])


def test_reward_examples_do_not_reach_the_observation(key):
    env = mlp_env()
    family = env.training.family
    task = family.sample(jax.random.split(key, 4)[0])  # as `Training.init` draws it
    train, paying = family.dataset.train, family.reward_indices(task)
    other = train.replace(inputs=train.inputs.at[paying].multiply(-3))
    family = family.replace(dataset=family.dataset.replace(train=other))
    changed = env.replace(training=env.training.replace(family=family))
    seen, losses = [], []
    for e in (env, changed):
        first, _ = reset(e, key)
        second, _ = step(e, first, jnp.full(2, 0.3))
        seen.append((first.observation, second.observation))
        losses.append(second.outcome.reward_loss)
    jax.tree.map(np.testing.assert_array_equal, *seen)
    assert not np.allclose(*losses)


def test_what_was_seen_before_is_compared_with_the_end_of_the_first_pass():
    memory, rates = empty_memory(2, jnp.float32(0.1)), jnp.full(2, 0.1)
    # Windows of three steps that end at 3, 6, 9, 12 of 12; a pass takes five steps, so the second window began in it.
    for end, loss in ((3, 2.0), (6, 1.0), (9, 0.5), (12, 0.25)):
        memory, observation = look(memory, summary(loss), rates, 0.1, end, 12, 5.0)
        expected = {3: 0.0, 6: 0.0, 9: np.log(0.5), 12: np.log(0.25)}[end]
        np.testing.assert_allclose(column(observation, "memorized"), expected, atol=1e-6)
    np.testing.assert_allclose(column(observation, "epochs"), np.log10(1 + 12 / 5) / 3, rtol=1e-6)
    np.testing.assert_allclose(column(observation, "epoch"), np.log10(1 + 12 / 5) / 3, rtol=1e-6)


def test_of_data_of_unknown_size_no_passes_are_counted():
    _, observation = look(empty_memory(2, jnp.float32(0.1)), summary(), jnp.full(2, 0.1))
    assert not column(observation, "epochs").any()
    assert not column(observation, "epoch").any()


def test_forgetting_in_force_is_seen():
    chosen = LayerHyperparameters(jnp.full(2, 0.1), jnp.asarray([0.0, 0.99]))
    _, observation = look(empty_memory(2, jnp.float32(0.1)), summary(), chosen)
    np.testing.assert_allclose(column(observation, "forgetting"), [-1.0, 0.0], atol=1e-6)
    np.testing.assert_array_equal(observation.forgetting, chosen.forgetting)
