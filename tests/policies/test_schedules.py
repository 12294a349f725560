"""Every schedule against Optax's twin or PyTorch's documented formula; policies by the clock."""

import inspect
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.env.observation import Observation
from ganno_jax.policies.schedule_formulas import cosine
from ganno_jax.policies.schedule_parts import whole_steps
from ganno_jax.policies.schedule_rises import cosine_warm_restarts
from ganno_jax.policies.schedules import (
    DISPLAY_NAMES,
    HANDCRAFTED,
    SCHEDULES,
    SchedulePolicy,
    named,
)

TOTAL = 420  # divisible by all that the defaults divide by
PEAK = 0.3
TOTALS = (1, 12, 30, 100, TOTAL, 1001, 3000)
STEPS = jnp.arange(3000)


def observation(step=0, total_steps=TOTAL, interval=20, initial_rate=0.1, num_layers=2):
    return Observation(
        features=jnp.zeros((num_layers, 1)),
        mask=jnp.ones(num_layers, bool),
        rates=jnp.full(num_layers, initial_rate),
        largest_relative_steps=jnp.ones(num_layers),
        initial_rate=jnp.asarray(initial_rate),
        loss=jnp.asarray(1.0),
        step=jnp.asarray(step),
        total_steps=jnp.asarray(total_steps),
        interval=interval,
    )


def knots(*points):
    """Straight lines through (step, factor)."""
    steps, factors = zip(*points, strict=True)
    return lambda step: PEAK * np.interp(step, steps, factors)


def inverse_sqrt_by_hand(step):
    count = np.arange(1, TOTAL + 1)[step]
    return PEAK * np.where(count <= 42, count / 42, np.sqrt(42 / count))


def linear_cosine_by_hand(step):
    done = np.asarray(step) / TOTAL
    return PEAK * ((1 - done) * (1 + np.cos(np.pi * done)) / 2 + 0.001) / 1.001


def one_cycle_by_hand(step):
    """Two cosines, ending at steps 0.3 T - 1 and T - 1 as PyTorch documents."""
    up, down = np.cos(np.pi * step / 125), np.cos(np.pi * (step - 125) / (419 - 125))
    rise = 1.0 + (1 / 25 - 1.0) * (1 + up) / 2
    fall = 1 / 25e4 + (1.0 - 1 / 25e4) * (1 + down) / 2
    return PEAK * np.where(step <= 125, rise, fall)


TWINS = {
    "constant": optax.constant_schedule(PEAK),
    "step": optax.piecewise_constant_schedule(PEAK, {140: 0.1, 280: 0.1}),
    "multi_step": optax.piecewise_constant_schedule(PEAK, {210: 0.1, 315: 0.1}),
    "exponential": optax.exponential_decay(PEAK, TOTAL, 0.01),
    "polynomial": optax.polynomial_schedule(PEAK, 0.0, 2, TOTAL),
    "linear": optax.linear_schedule(PEAK, 0.0, TOTAL),
    "cosine": optax.cosine_decay_schedule(PEAK, TOTAL),
    "cosine_warm_restarts": optax.join_schedules(
        [optax.cosine_decay_schedule(PEAK, length) for length in (60, 120, 240)], [60, 180]
    ),
    "cyclic": knots(
        (0, 0.1), (70, 1.0), (140, 0.1), (210, 0.55), (280, 0.1), (350, 0.325), (420, 0.1)
    ),
    "one_cycle": one_cycle_by_hand,
    "warmup_cosine": optax.warmup_cosine_decay_schedule(0.01 * PEAK, PEAK, 42, TOTAL),
    "warmup_stable_decay": knots((0, 0.01), (42, 1.0), (336, 1.0), (420, 0.0)),
    "inverse_sqrt": inverse_sqrt_by_hand,
    "linear_cosine": linear_cosine_by_hand,
}


@pytest.fixture(params=SCHEDULES)
def name(request):
    return request.param


@cache
def followed(name):
    """The rates of the first 3000 steps for every total: one jitted, batched call."""
    rows = jax.jit(jax.vmap(SCHEDULES[name], in_axes=(None, 0, None)))
    return dict(zip(TOTALS, np.asarray(rows(STEPS, jnp.array(TOTALS), PEAK)), strict=True))


def test_every_schedule_equals_its_twin(name):
    steps = np.arange(TOTAL)
    theirs = np.broadcast_to(TWINS[name](steps), TOTAL)
    # Optax computes (1 + cos)/2 in single precision, which cancels where the rate is small.
    np.testing.assert_allclose(followed(name)[TOTAL][:TOTAL], theirs, rtol=2e-5, atol=1e-7 * PEAK)


def test_the_peak_is_the_largest_rate_and_all_rates_are_positive(name):
    for total in (12, 30, 100, 1001, 3000):
        rates = followed(name)[total][:total]
        np.testing.assert_allclose(rates.max(), PEAK, rtol=1e-6)
        assert rates.min() > 0.0


def test_rates_stay_finite_and_below_the_peak_past_the_end_and_in_a_training_of_one_step(name):
    for total in TOTALS:
        rates = followed(name)[total]
        assert np.all(np.isfinite(rates))
        assert np.all((rates >= 0.0) & (rates <= PEAK * (1 + 1e-6)))


def test_a_single_python_step_gives_the_rate_of_the_batch(name):
    rate = SCHEDULES[name](100, TOTAL, PEAK)
    assert rate.shape == ()
    np.testing.assert_allclose(rate, followed(name)[TOTAL][100], rtol=1e-5)


def test_every_number_may_be_batched_and_acts(name):
    """Lane i of a batch has number i changed; each lane equals the schedule called alone."""
    schedule, steps = jax.jit(SCHEDULES[name]), jnp.arange(0, TOTAL, 7)
    parameters = list(inspect.signature(SCHEDULES[name]).parameters.values())[3:]
    defaults = {p.name: jnp.asarray(p.default, float) for p in parameters}
    lanes = [defaults | {p.name: 1.2 * defaults[p.name] + 0.05} for p in parameters]
    if not lanes:
        assert name == "constant"
        return
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
    batched = jax.jit(jax.vmap(lambda lane: SCHEDULES[name](steps, TOTAL, PEAK, **lane)))(stacked)
    unchanged = schedule(steps, TOTAL, PEAK, **defaults)
    np.testing.assert_allclose(unchanged, followed(name)[TOTAL][:TOTAL:7], rtol=1e-5, atol=1e-8)
    for rates, lane in zip(batched, lanes, strict=True):
        np.testing.assert_allclose(rates, schedule(steps, TOTAL, PEAK, **lane), rtol=1e-5)
        assert not np.allclose(rates, unchanged, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize(
    "growth, lengths", [(1.0, (60,) * 7), (2.0, (60, 120, 240)), (3.0, (60, 180))]
)
def test_warm_restarts_begin_every_period_at_the_peak(growth, lengths):
    rates = cosine_warm_restarts(jnp.arange(TOTAL), TOTAL, PEAK, growth=growth)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    at_peak = np.flatnonzero(np.isclose(rates, PEAK, rtol=1e-6))
    np.testing.assert_array_equal(at_peak, starts[starts < TOTAL])
    for start, length in zip(starts, lengths, strict=False):
        within = np.arange(length)
        expected = PEAK * (1 + np.cos(np.pi * within / length)) / 2
        np.testing.assert_allclose(rates[start : start + length], expected, atol=1e-6)


def test_warm_restarts_are_exact_at_every_restart_of_many_horizons():
    """The closed form takes a logarithm; rounding must not move a restart by a step."""
    jitted = jax.jit(cosine_warm_restarts)
    for total in (7, 50, 333, 7_000, 700_000):
        lengths = max(round(total / 7), 1) * 2.0 ** np.arange(7)
        restarts = jnp.asarray(np.cumsum(lengths).astype(int))
        np.testing.assert_allclose(jitted(restarts, total, PEAK), PEAK, rtol=1e-6)
        before = PEAK * np.sin(np.pi / 2 / lengths) ** 2
        np.testing.assert_allclose(jitted(restarts - 1, total, PEAK), before, rtol=1e-2, atol=1e-11)


def test_final_factor_is_the_share_of_the_peak_at_the_end():
    for name in ("exponential", "linear", "cosine", "warmup_cosine", "warmup_stable_decay"):
        final = named(name)(TOTAL, TOTAL, PEAK, final_factor=0.2)
        np.testing.assert_allclose(final, 0.2 * PEAK, rtol=1e-6)


def test_no_warmup_begins_at_the_peak():
    for name in ("warmup_cosine", "warmup_stable_decay", "inverse_sqrt"):
        np.testing.assert_allclose(named(name)(0, TOTAL, PEAK, warmup=0.0), PEAK, rtol=1e-6)


def test_every_schedule_has_a_display_name_and_nine_are_handcrafted():
    assert tuple(DISPLAY_NAMES) == tuple(SCHEDULES)
    assert len(set(DISPLAY_NAMES.values())) == len(SCHEDULES)
    assert len(HANDCRAFTED) == 9
    assert HANDCRAFTED[0] == "step"
    assert HANDCRAFTED[-1] == "one_cycle"


def test_an_unknown_name_is_answered_with_those_that_exist():
    assert named("cosine") is cosine
    with pytest.raises(
        ValueError, match=r"no schedule 'cosin'; there are: constant, step, .*one_cycle"
    ):
        named("cosin")


def test_the_policy_follows_its_schedule_step_by_step_on_every_layer(name, key):
    policy = SchedulePolicy(named(name), peak=PEAK)
    act, state, rates = jax.jit(policy.act), policy.init(observation()), []
    for step in range(0, 60, 20):
        state, block = act(state, observation(step=step, num_layers=3), key)
        assert block.shape == (20, 3)
        rates.append(block)
    expected = np.tile(followed(name)[TOTAL][:60, None], 3)
    np.testing.assert_allclose(np.concatenate(rates), expected, rtol=1e-5)


def test_without_a_peak_the_policy_takes_the_initial_rate(key):
    _, rates = SchedulePolicy(cosine).act((), observation(initial_rate=0.7), key)
    np.testing.assert_allclose(rates[0], 0.7, rtol=1e-6)


def test_a_sweep_is_a_vmap_over_peaks_and_numbers(key):
    policies = SchedulePolicy(
        cosine, peak=jnp.array([0.1, 0.2]), numbers={"final_factor": jnp.array([0.0, 0.5])}
    )
    seen = observation(step=400)
    _, rates = jax.jit(jax.vmap(lambda policy: policy.act((), seen, key)))(policies)
    for row, peak, final in zip(rates, (0.1, 0.2), (0.0, 0.5), strict=True):
        expected = cosine(jnp.arange(400, 420), TOTAL, peak, final)
        np.testing.assert_allclose(row[:, 1], expected, rtol=1e-5)


def test_a_sweep_may_name_its_axes(key):
    axes = SchedulePolicy(cosine, peak=0)
    act = jax.vmap(lambda policy: policy.act((), observation(), key)[1], in_axes=(axes,))
    rates = act(SchedulePolicy(cosine, peak=jnp.array([0.1, 0.2])))
    np.testing.assert_allclose(rates[:, 0, 0], [0.1, 0.2], rtol=1e-6)


def test_a_number_that_the_schedule_does_not_take_is_named():
    with pytest.raises(ValueError, match=r"among final_factor for this schedule; got power"):
        SchedulePolicy(cosine, numbers={"power": 2.0})


def test_any_function_of_the_same_form_is_a_schedule(key):
    policy = SchedulePolicy(
        lambda step, total_steps, peak: peak * (step + 1) / total_steps, peak=1.0
    )
    _, rates = policy.act((), observation(step=40), key)
    np.testing.assert_allclose(rates[:, 0], np.arange(41, 61) / TOTAL, rtol=1e-6)


def test_whole_steps_are_rounded_to_the_nearest():
    np.testing.assert_array_equal(whole_steps(jnp.array([0.3, 0.1, 0.0]), 30), [9, 3, 0])
    assert whole_steps(0.001, 30, at_least=1) == 1
