"""Rates in force: after a spike, in late layers, after updates without any gradient; and what agents see of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax
from ganno_jax.door.rates import FIRST_SHARE, LONGEST
from ganno_jax.env.features import FEATURES
from ganno_jax.env.whole_update import SMALLEST_SHARE, known_log_ratios

from .harm import mlp
from .test_control import PARAMS, make_controller

RATE = FEATURES.index("rate")


def follow(gradients, values=None, **settings):
    """Updates and states of an optimizer of 40 steps and four decisions, one of each update."""
    optimizer = ganno_jax.control(optax.identity(), make_controller(), 40, **settings)
    state, seen = optimizer.init(PARAMS), []
    for number, gradient in enumerate(gradients):
        value = 1.0 if values is None else values[number]
        updates, state = optimizer.update(gradient, state, PARAMS, value=value)
        seen.append((updates, state))
    return seen


def second_layer_times(*factors):
    return [
        {**PARAMS, "dense1": jax.tree.map(lambda w, f=f: f * w, PARAMS["dense1"])} for f in factors
    ]


def shown_rates(state):
    return 10 ** (3 * state.features[:, RATE])


def test_after_a_spike_agents_see_half_the_rate():
    states = [state for _, state in follow([PARAMS] * 21, [1.0] * 19 + [50.0, 1.0])]
    assert int(states[-1].spikes) == 1
    np.testing.assert_allclose(shown_rates(states[10]), states[9].rates, rtol=1e-4)
    np.testing.assert_allclose(shown_rates(states[20]), 0.5 * states[19].rates, rtol=1e-4)


def test_agents_see_the_share_of_a_late_layer_and_of_one_asleep_what_was_decided():
    seen = follow(second_layer_times(*[0.0] * 18, 1.0, 1.0, 1.0))
    states = [state for _, state in seen]
    np.testing.assert_array_equal(states[9].by_policy.rates_in_force[1], 0)
    np.testing.assert_allclose(shown_rates(states[10]), states[9].rates, rtol=1e-4)
    share = jnp.array([1.0, 0.1 + 0.9 * 1 / 4])  # one step after it woke, of a rise of four
    np.testing.assert_allclose(shown_rates(states[20]), share * states[19].rates, rtol=1e-4)


def test_after_updates_without_a_gradient_the_training_begins_at_the_last_decision_they_passed():
    nothing = jax.tree.map(jnp.zeros_like, PARAMS)
    states = [state for _, state in follow([nothing] * 25 + [PARAMS] * 6)]
    assert (int(states[24].skipped), int(states[24].step)) == (25, 0)
    np.testing.assert_array_equal(states[24].features, 0)
    first = states[25]
    assert (int(first.step), int(first.by_policy.decided.decision)) == (21, 3)
    np.testing.assert_allclose(first.by_policy.rates_in_force, FIRST_SHARE * first.rates)
    np.testing.assert_allclose(first.features[:, FEATURES.index("progress")], 0.5)
    np.testing.assert_allclose(states[30].by_policy.rates_in_force, first.rates)
    few = [state for _, state in follow([nothing] * 9 + [PARAMS])]
    assert int(few[-1].step) == 1
    np.testing.assert_array_equal(few[-1].by_policy.rates_in_force, few[-1].rates)


def test_a_gradient_far_above_all_that_the_last_decision_knew_of_takes_a_short_step():
    leap = 10 * LONGEST
    gradients = second_layer_times(*[1.0] * 12, leap)
    updates, state = follow(gradients, safety=False)[-1]
    rate = FIRST_SHARE * state.rates[1] / 10  # as of a gradient as long as the longest taken whole
    np.testing.assert_allclose(updates["dense1"]["kernel"], -rate * leap, rtol=1e-5)
    np.testing.assert_allclose(updates["dense0"]["kernel"], -state.rates[0], rtol=1e-5)
    below = second_layer_times(*[1.0] * 12, 0.9 * LONGEST)
    updates, state = follow(below, safety=False)[-1]
    wanted = -0.9 * LONGEST * state.rates[1]
    np.testing.assert_allclose(updates["dense1"]["kernel"], wanted, rtol=1e-5)


@pytest.mark.parametrize("small, counts", [(1.1 * SMALLEST_SHARE, True), (1e-5, False)])
def test_a_layer_that_hardly_moves_takes_the_mean_of_the_others(small, counts):
    ratios = jnp.array([2.0, 8.0, 2.0 * small * 4])
    logs, mean = known_log_ratios(ratios)
    known = np.log(ratios) if counts else np.log(ratios[:2])
    np.testing.assert_allclose(mean, known.mean(), rtol=1e-5)
    np.testing.assert_allclose(logs[2], known[2] if counts else mean, rtol=1e-5)
    np.testing.assert_allclose(logs[:2], np.log([2.0, 8.0]), rtol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_size_of_an_update_does_not_depend_on_the_decay(decay):
    """Rates of every decision are those without it, where the first gradients are small beside the weights too."""

    def optimizer(num_steps):
        return ganno_jax.optimizer(num_steps, ganno_jax.load("nadamw"), weight_decay=decay)

    params = jax.tree.map(lambda w: 10 * w, mlp())
    state = optimizer(60).init(params)
    gradient = jax.tree.map(lambda w: 1e-6 * jnp.sign(w), params)
    _, state = optimizer(60).update(gradient, state, params, value=1.0)
    updates, _ = optimizer(60).update(gradient, state, params, value=1.0)
    rates = state.by_policy.decided.rates
    plain = ganno_jax.optimizer(60, ganno_jax.load("nadamw"), weight_decay=0.0)
    _, other = plain.update(gradient, plain.init(params), params, value=1.0)
    np.testing.assert_array_equal(rates, other.by_policy.decided.rates)
    steps = [
        float(optax.tree.norm(updates[n]) / optax.tree.norm(params[n]))
        for n in ("dense0", "dense1")
    ]
    assert max(steps) < 0.5  # of its weights, a layer moves less than half in a step


def test_what_a_layer_forgets_is_of_what_the_mask_says():
    only_biases = jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "bias", PARAMS)
    ones = jax.tree.map(jnp.ones_like, PARAMS)

    def first_update(mask):
        optimizer = ganno_jax.optimizer(8, decay_mask=mask)
        return optimizer.update(PARAMS, optimizer.init(ones), ones, value=1.0)

    bare, state = first_update(lambda _: False)
    for mask, decayed in ((None, "kernel"), (only_biases, "bias")):
        updates, masked = first_update(mask)
        np.testing.assert_array_equal(masked.forgetting, state.forgetting)
        forgetting = -jnp.expm1(-state.forgetting / 8)
        for layer, forgotten in zip(("dense0", "dense1"), forgetting, strict=True):
            for name, update in updates[layer].items():
                forgot = np.subtract(update, bare[layer][name])
                wanted = -forgotten if name == decayed else 0.0
                np.testing.assert_allclose(forgot, wanted, rtol=1e-4, atol=1e-7)
