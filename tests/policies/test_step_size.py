"""Step-size controllers: smoothing by hand, rates by formula, the env and the evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import Env
from ganno_jax.env.features import FEATURES
from ganno_jax.env.observation import Observation
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.evaluation import evaluate
from ganno_jax.inner.layers import KINDS
from ganno_jax.learners import make_mesh
from ganno_jax.policies.step_size import (
    REFERENCE,
    StepSizePolicy,
    batched,
    constant_rate,
    empty_smoothing,
    perturbed,
    reference,
    smooth,
    tied,
)

from ..probes import mlp_training

KEY = jax.random.key(0)


def observation_at(step: int, initial_rate: float = 0.1) -> Observation:
    """Of two dense layers, with features that are zero."""
    features = jnp.zeros((2, len(FEATURES))).at[:, FEATURES.index("kind_dense")].set(1.0)
    return Observation(
        features=features,
        mask=jnp.ones(2, bool),
        rates=jnp.full(2, initial_rate),
        largest_relative_steps=jnp.ones(2),
        initial_rate=jnp.float32(initial_rate),
        loss=jnp.float32(1.0),
        step=jnp.int32(step),
        total_steps=jnp.int32(100),
        interval=1,
        example_features=jnp.zeros((2, 2)),
    )


@pytest.fixture(scope="module")
def started():
    return observation_at(1)


def seen(observation, features):
    return observation.replace(example_features=jnp.asarray(features, jnp.float32))


def test_smoothing_follows_the_sequence_by_hand():
    sequence = [(-4.0, 1.0), (-6.0, 1.0), (-5.0, 3.0)]
    mean, uncertainty = np.zeros(2), np.zeros(2)
    state = empty_smoothing(1)
    for t, phi in enumerate(sequence, start=1):
        state, smoothed = smooth(state, jnp.asarray([phi]), 0.9)
        mean = 0.9 * mean + 0.1 * np.asarray(phi)
        corrected = mean / (1 - 0.9**t)
        uncertainty = 0.9 * uncertainty + 0.1 * (np.asarray(phi) - corrected) ** 2
        expected = [*corrected, *(uncertainty / (1 - 0.9**t))]
        np.testing.assert_allclose(smoothed[0], expected, rtol=1e-4, atol=1e-5)
    # Two steps by hand: m = (0.9 * 0.1 * -4 + 0.1 * -6) / 0.19 = -5.0526, u = 0.1 * (-6 + 5.0526)^2 / 0.19.
    state, _ = smooth(empty_smoothing(1), jnp.asarray([sequence[0]]), 0.9)
    _, smoothed = smooth(state, jnp.asarray([sequence[1]]), 0.9)
    np.testing.assert_allclose(smoothed[0, 0], -0.96 / 0.19, rtol=1e-5)
    np.testing.assert_allclose(smoothed[0, 2], 0.1 * (-6 + 0.96 / 0.19) ** 2 / 0.19, rtol=1e-4)


def test_the_first_features_are_their_own_mean_without_uncertainty():
    _, smoothed = smooth(empty_smoothing(1), jnp.asarray([[-7.0, -2.0]]), 0.9)
    np.testing.assert_allclose(smoothed, [[-7.0, -2.0, 0.0, 0.0]], rtol=1e-5, atol=1e-6)


def test_the_rate_is_the_exponential_of_the_weighted_features(started):
    policy = StepSizePolicy(jnp.asarray([0.1, 0.2, 0.3, 0.4, -2.0]))
    state = policy.init(started)
    state, rates = policy.act(state, seen(started, [[-8.0, -1.0]] * 2), KEY)
    np.testing.assert_allclose(rates, np.exp(0.1 * -8 + 0.2 * -1 - 2.0), rtol=1e-5)
    _, rates = policy.act(state, seen(started, [[-6.0, -1.0]] * 2), KEY)
    mean = (0.09 * -8 + 0.1 * -6) / 0.19
    uncertainty = 0.1 * (-6 - mean) ** 2 / 0.19
    expected = np.exp(0.1 * mean + 0.2 * -1 + 0.3 * uncertainty - 2.0)
    np.testing.assert_allclose(rates, expected, rtol=1e-4)


def test_before_the_first_step_the_rate_is_the_initial_one_and_nothing_is_remembered():
    observation = observation_at(0, initial_rate=0.037)
    policy = reference("rmsprop_1")
    state, rates = policy.act(policy.init(observation), observation, KEY)
    np.testing.assert_allclose(rates, 0.037, rtol=1e-6)
    assert state.count == 0


def test_controllers_run_in_the_evaluation_and_zero_weights_are_a_constant_rate():
    env = Env.create(
        mlp_training(rate=0.1).with_example_features(),
        LogLossDecrease(),
        num_decisions=6,
        interval=1,
        num_measured=1,
        num_reward=4,
    )
    constant = constant_rate(0.05)
    policies = batched(jnp.stack([reference("momentum_1").theta, constant.theta]))
    curves = evaluate(env, policies, jax.random.split(KEY, 2), make_mesh(), num_policies=2)
    np.testing.assert_allclose(curves.rates[:, :, 0], 0.1, rtol=1e-6)  # the initial rate
    np.testing.assert_allclose(curves.rates[1, :, 1:], 0.05, rtol=1e-5)
    # A global controller gives all layers one rate; a feedback rule changes it, in each run in its own way.
    np.testing.assert_array_equal(curves.rates[0, ..., 0], curves.rates[0, ..., 1])
    assert np.unique(curves.rates[0, :, 1:, 0]).size == 10


def test_features_per_layer_give_rates_per_layer(started):
    policy = reference("rmsprop_1")
    features = [[-8.0, -1.0], [-12.0, -1.0]]
    _, rates = policy.act(policy.init(started), seen(started, features), KEY)
    np.testing.assert_allclose(rates[0] / rates[1], np.exp(4 * 0.166), rtol=1e-4)


def test_weights_per_kind_are_those_of_the_layers_kind(started):
    theta = jnp.zeros((len(KINDS), 5)).at[:, -1].set(jnp.log(jnp.asarray([0.1, 0.2, 0.3, 0.4])))
    _, rates = StepSizePolicy(theta).act(empty_smoothing(2), started, KEY)
    np.testing.assert_allclose(rates, 0.1, rtol=1e-5)  # both layers are dense, the first kind


@pytest.mark.parametrize("bias, rate", [(-50.0, 1e-8), (50.0, 10.0)])
def test_rates_stay_within_bounds(started, bias, rate):
    policy = StepSizePolicy(jnp.asarray([0.0, 0.0, 0.0, 0.0, bias]))
    _, rates = policy.act(policy.init(started), started, KEY)
    np.testing.assert_allclose(rates, rate, rtol=1e-5)


def test_a_diverged_trainings_features_leave_rates_that_are_numbers(started):
    policy = reference("rmsprop_1")
    _, rates = policy.act(policy.init(started), seen(started, [[np.nan, np.inf]] * 2), KEY)
    assert np.isfinite(rates).all()


def test_reference_rates_at_zero_features_are_in_the_published_range():
    rates = [np.exp(theta[-1]) for name, theta in REFERENCE.items() if name.startswith("rmsprop")]
    assert len(rates) == 5
    assert min(rates) == pytest.approx(0.005, abs=5e-4)
    assert max(rates) == pytest.approx(0.023, abs=5e-4)


def test_reference_controllers_of_momentum_are_tied():
    thetas = [theta for name, theta in REFERENCE.items() if name.startswith("momentum")]
    assert len(thetas) == 5
    for m1, m2, u1, u2, _ in thetas:
        assert (m1, u1) == (-m2, u2)
    assert tied((1.0, 2.0, 3.0)) == (1.0, -1.0, 2.0, 2.0, 3.0)


def test_perturbed_weights_stay_within_the_share():
    theta = np.asarray(REFERENCE["rmsprop_3"])
    others = perturbed(theta, 0.2, 50, seed=0)
    assert np.abs(others - theta).max() > 0
    assert (np.abs(others - theta) <= 0.2 * np.abs(theta) + 1e-12).all()


def test_missing_features_and_wrong_shapes_are_refused(started):
    policy = constant_rate(0.1)
    with pytest.raises(ValueError, match="with_example_features"):
        policy.act(policy.init(started), started.replace(example_features=None), KEY)
    with pytest.raises(ValueError, match=r"shape \[5\], or \[4, 5\].*got \[3\]"):
        StepSizePolicy(jnp.zeros(3)).act(policy.init(started), started, KEY)
    with pytest.raises(ValueError, match="no reference controller 'adam_1'; there are: rmsprop_1"):
        reference("adam_1")
