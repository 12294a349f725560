"""Decays, the schedules of the search and the sign rules against the published formulas in NumPy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax.rules as rules
from ganno_jax.rules.functions import OPERAND_FNS, RuleConfig, Signals
from ganno_jax.rules.language import OPERANDS

T = 20
STEPS = np.arange(T + 6)
CLIPPED = np.minimum(STEPS, T)


def values(schedule):
    return np.array([float(schedule(jnp.int32(t))) for t in STEPS])


def test_decays_equal_the_published_formulas():
    linear = np.maximum(0, (T - CLIPPED) / T)
    np.testing.assert_allclose(values(rules.linear_decay(T)), linear, atol=1e-6)
    for n in (0.5, 2.0):
        cosine = 0.5 * (1 + np.cos(2 * np.pi * n * CLIPPED / T))
        np.testing.assert_allclose(values(rules.cosine_decay(T, n)), cosine, atol=1e-6)
    for n in (1.0, 4.0):
        restart = 0.5 * (1 + np.cos(np.pi * ((n * CLIPPED) % T) / T))
        np.testing.assert_allclose(values(rules.restart_decay(T, n)), restart, atol=1e-6)


def test_all_operands_are_different_functions():
    random = np.random.default_rng(0)
    normal, uniform, g, w, m = random.normal(size=(5, 16)).astype(np.float32)
    signals = [
        Signals(g, w, m, g**2 + 0.1, m**3, normal, uniform, jnp.int32(t), T, RuleConfig())
        for t in range(T)
    ]
    found = {
        name: np.stack([np.broadcast_to(function(s), 16) for s in signals])
        for name, function in OPERAND_FNS.items()
    }
    assert set(found) == set(OPERANDS)
    for one, other in itertools.combinations(OPERANDS, 2):
        assert not np.allclose(found[one], found[other], rtol=1e-3), (one, other)


def test_decays_are_cut_to_zero_after_the_given_periods():
    cosine = values(rules.cosine_decay(T, 2.0, zero_after=1.0))
    uncut = values(rules.cosine_decay(T, 2.0))
    np.testing.assert_array_equal(cosine, np.where(2.0 * CLIPPED / T >= 1.0, 0.0, uncut))
    restart = values(rules.restart_decay(T, 4.0, zero_after=2.0))
    uncut = values(rules.restart_decay(T, 4.0))
    np.testing.assert_array_equal(restart, np.where(4.0 * CLIPPED / T >= 2.0, 0.0, uncut))


def test_linear_cosine_equals_the_published_formula():
    schedule = rules.linear_cosine(0.3, T, num_periods=1.5, alpha=0.1, beta=0.02)
    cosine = 0.5 * (1 + np.cos(2 * np.pi * 1.5 * CLIPPED / T))
    expected = 0.3 * ((0.1 + (T - CLIPPED) / T) * cosine + 0.02)
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-4, atol=1e-6)
    assert float(rules.linear_cosine(0.3, T)(T)) == pytest.approx(0.3 * 0.001, rel=1e-4)


def test_noisy_linear_cosine_adds_noise_of_the_published_variance():
    quiet = rules.linear_cosine(1.0, T)
    same = rules.noisy_linear_cosine(1.0, T, seed=0, initial_variance=0.0)
    np.testing.assert_allclose(values(same), values(quiet), atol=1e-6)
    step = 9
    cosine = 0.5 * (1 + np.cos(np.pi * step / T))
    noises = [
        (float(rules.noisy_linear_cosine(1.0, T, seed=seed)(step)) - float(quiet(step))) / cosine
        for seed in range(400)
    ]
    assert np.std(noises) == pytest.approx(1 / 10**0.275, rel=0.15)  # 400 draws: 4 deviations
    assert np.mean(noises) == pytest.approx(0.0, abs=0.12)
    noisy = rules.noisy_linear_cosine(1.0, T, seed=3)
    np.testing.assert_array_equal(values(noisy), values(noisy))


DECAYS = {
    "": (None, lambda t: 1.0),
    "_ld": (rules.linear_decay(T), lambda t: (T - t) / T),
    "_cd": (rules.cosine_decay(T), lambda t: 0.5 * (1 + math.cos(math.pi * t / T))),
    "_rd": (rules.restart_decay(T), lambda t: 0.5 * (1 + math.cos(math.pi * ((2 * t) % T) / T))),
}


@pytest.mark.parametrize("suffix", DECAYS)
@pytest.mark.parametrize("name", ["power_sign", "add_sign"])
def test_sign_rules_equal_the_published_update_and_their_text(name, suffix):
    decay_fn, factor = DECAYS[suffix]
    make = getattr(rules, name)
    base, alpha = 10.0, 3.0
    parameter = {"base": base} if name == "power_sign" else {"alpha": alpha}
    ours = make(0.1, decay_fn=decay_fn)
    other = make(0.1, decay_m=0.8, decay_fn=decay_fn, **parameter)
    text = rules.optimizer(f"{name}{suffix}", 0.1, total_steps=T)
    states = [tx.init(jnp.zeros(5)) for tx in (ours, other, text)]
    rng, m, m_other = np.random.default_rng(1), np.zeros(5), np.zeros(5)
    for t in range(7):
        g = rng.normal(size=5) * (1 if t < 4 else -1)
        m, m_other = 0.9 * m + 0.1 * g, 0.8 * m_other + 0.2 * g
        agreement = factor(t) * np.sign(g) * np.sign(m)
        agreement_other = factor(t) * np.sign(g) * np.sign(m_other)
        if name == "power_sign":
            expected, expected_other = np.exp(agreement) * g, base**agreement_other * g
        else:
            expected, expected_other = (1 + agreement) * g, (alpha + agreement_other) * g
        updates = []
        for index, tx in enumerate((ours, other, text)):
            update, states[index] = tx.update(jnp.asarray(g), states[index])
            updates.append(np.asarray(update))
        np.testing.assert_allclose(updates[0], -0.1 * expected, rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(updates[1], -0.1 * expected_other, rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(updates[2], -0.1 * expected, rtol=2e-5, atol=1e-7)


def test_unscaled_sign_rules_are_the_direction_without_rate_and_sign():
    g = jnp.array([0.5, -2.0])
    for scale, whole in (
        (rules.scale_by_power_sign(), rules.power_sign(0.1)),
        (rules.scale_by_add_sign(), rules.add_sign(0.1)),
    ):
        direction, _ = scale.update(g, scale.init(g))
        update, _ = whole.update(g, whole.init(g))
        np.testing.assert_allclose(update, -0.1 * np.asarray(direction), rtol=1e-6)


def test_sign_rules_keep_one_slot_per_weight():
    params = jnp.zeros(100)

    def numbers(tx):
        return sum(np.size(leaf) for leaf in jax.tree.leaves(tx.init(params)))

    assert 100 <= numbers(rules.power_sign(0.1)) < 105
    assert 200 <= numbers(optax.adam(0.1)) < 205
