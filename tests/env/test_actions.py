"""Action spaces against their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import Observation
from ganno_jax.env.actions import DirectRate, RateMultipliers, ScheduleResidual
from ganno_jax.env.base_shapes import SHAPES, flat_shape, warmup_cosine_shape
from ganno_jax.env.whole_update import Forgetting, RelativeUpdate, WholeUpdate


def observation(rates=(0.1, 0.4), step=30, relative=(2.0, 0.5)):
    return Observation(
        features=jnp.zeros((2, 1)),
        mask=jnp.ones(2, bool),
        rates=jnp.asarray(rates),
        largest_relative_steps=jnp.asarray(relative),
        initial_rate=jnp.asarray(0.2),
        loss=jnp.asarray(1.0),
        step=jnp.asarray(step),
        total_steps=jnp.asarray(120),
        interval=60,
    )


def test_multipliers_change_the_rate_by_the_chosen_factor():
    space = RateMultipliers(factors=(0.5, 1.0, 2.0))
    rates = space.apply(observation(), jnp.asarray([2, 1]))
    np.testing.assert_allclose(rates, [0.2, 0.4], rtol=1e-6)


def test_multipliers_stay_within_their_bounds():
    space = RateMultipliers(factors=(0.01, 1.0, 100.0), lowest=0.05, highest=5.0)
    rates = space.apply(observation(), jnp.asarray([0, 2]))
    np.testing.assert_allclose(rates, [0.05, 5.0], rtol=1e-6)


def test_uniform_multipliers_do_not_drift():
    space = RateMultipliers()
    assert space.num_actions == 9
    np.testing.assert_allclose(np.sum(np.log(space.factors)), 0.0, atol=1e-12)


def test_multipliers_that_cannot_keep_a_rate_are_refused():
    with pytest.raises(ValueError, match=r"needs 1\.0"):
        RateMultipliers(factors=(0.5, 2.0))


def test_numbers_out_of_range_are_refused_and_traced_ones_are_taken():
    shape = SHAPES["flat"]
    with pytest.raises(ValueError, match=r"`kappa` must be at least 0; got -1\.0"):
        Forgetting(shape, kappa=-1.0)
    with pytest.raises(ValueError, match="`epoch_exponent` must be at least 0; got nan"):
        Forgetting(shape, epoch_exponent=float("nan"))
    with pytest.raises(ValueError, match=r"`sharing` must be in \[0, 1\]; got 1\.5"):
        RelativeUpdate(shape, sharing=1.5)
    many = jax.vmap(lambda kappa: Forgetting(shape, kappa=kappa))(jnp.arange(3.0))
    assert many.kappa.tolist() == [0, 1, 2]


def test_the_neutral_action_leaves_the_base_as_it_is():
    seen = observation()
    spaces = (
        (RateMultipliers(), seen.rates),
        (ScheduleResidual(flat_shape), jnp.full(2, 0.2)),
        (DirectRate(1e-3, 1e-1), jnp.full(2, 1e-2)),
        (RelativeUpdate(flat_shape, relative_size=0.1), 0.1 / seen.largest_relative_steps),
    )
    for space, base in spaces:
        rates = space.apply(seen, jnp.full(2, space.neutral))
        np.testing.assert_allclose(rates, base, rtol=1e-5)


def test_a_residual_of_zero_is_the_schedule_and_a_large_one_is_bounded():
    space = ScheduleResidual(lambda fraction: 1 - fraction, alpha=1.3)
    middle = 0.5  # of the training: 30 steps done, half of the 60 to come
    rates = space.apply(observation(), jnp.asarray([0.0, 100.0]))
    np.testing.assert_allclose(rates, 0.2 * middle * np.exp([0.0, 1.3]), rtol=1e-5)


def test_a_residual_does_not_remember_the_rates_before():
    space = ScheduleResidual(flat_shape, peak=0.3)
    rates = [space.apply(observation(r), jnp.ones(2)) for r in ((0.1, 0.4), (5.0, 1e-5))]
    np.testing.assert_array_equal(*rates)


def test_a_direct_rate_covers_its_range_on_a_log_scale():
    space = DirectRate(lowest=1e-4, highest=1.0)
    rates = space.apply(observation(), jnp.asarray([0.0, 100.0]))
    np.testing.assert_allclose(rates, [1e-2, 1.0], rtol=1e-4)
    np.testing.assert_allclose(space.apply(observation(), -jnp.full(2, 100.0)), 1e-4, rtol=1e-4)


def test_a_relative_update_has_its_size_whatever_the_scale_of_weights():
    space = RelativeUpdate(flat_shape, relative_size=0.02)
    rates = space.apply(observation(), jnp.zeros(2))
    np.testing.assert_allclose(rates * jnp.asarray([2.0, 0.5]), np.full(2, 0.02), rtol=1e-5)


def test_shared_relative_updates_give_all_layers_one_rate():
    space = RelativeUpdate(flat_shape, alpha=1.5, relative_size=0.02, shared=True)
    rates = space.apply(observation(), jnp.asarray([0.1, 0.5]))
    expected = (
        0.02 * np.exp(1.5 * np.tanh(0.3)) / np.sqrt(2.0 * 0.5)
    )  # over the ratios' geometric mean
    np.testing.assert_allclose(rates, np.full(2, expected), rtol=1e-5)


def test_relative_updates_may_share_part_of_their_denominator():
    space = RelativeUpdate(flat_shape, relative_size=0.02, sharing=0.5)
    mean = np.sqrt(2.0 * 0.5)  # of the ratios, geometric
    np.testing.assert_allclose(
        space.apply(observation(), jnp.zeros(2)),
        0.02 / np.sqrt(mean * np.asarray([2.0, 0.5])),
        rtol=1e-5,
    )
    one = space.replace(sharing=1.0).apply(observation(), jnp.asarray([0.0, 0.5]))
    np.testing.assert_allclose(one, 0.02 / mean * np.exp(2.0 * np.tanh([0.0, 0.5])), rtol=1e-5)


def test_a_relative_update_is_cautious_before_momenta_have_built_up():
    space = RelativeUpdate(flat_shape, relative_size=0.02, first_share=0.25)
    first, later = (space.apply(observation(step=step), jnp.zeros(2)) for step in (0, 1))
    np.testing.assert_allclose(first, 0.25 * later, rtol=1e-5)


def test_a_warmup_over_a_tenth_and_a_straight_fall():
    shape = SHAPES["warmup_linear"](jnp.asarray([0.0, 0.05, 0.1, 0.55, 1.0]))
    np.testing.assert_allclose(shape, [0.04, 0.52, 1.0, 0.5005, 0.001], rtol=1e-5)


def test_the_linear_one_cycle_rises_as_the_other_and_falls_straight():
    shape = SHAPES["linear_one_cycle"](jnp.asarray([0.0, 0.15, 0.3, 0.65, 1.0]))
    np.testing.assert_allclose(shape, [0.04, 0.52, 1.0, 0.5005, 0.001], rtol=1e-4)


def test_the_base_shape_warms_up_and_decays():
    shape = warmup_cosine_shape(jnp.asarray([0.0, 0.1, 0.55, 1.0]))
    np.testing.assert_allclose(shape, [0.1, 1.0, 0.505, 0.01], rtol=1e-4)


def test_forgetting_grows_with_the_number_of_passes_by_its_law():
    space = Forgetting(flat_shape, alpha=2.0, kappa=0.5, epoch_exponent=0.5)
    unknown = space.apply(observation(), jnp.zeros(2))
    np.testing.assert_allclose(unknown, 1.0, rtol=1e-6)  # 2 kappa s, one pass
    often = space.apply(observation().replace(steps_per_epoch=jnp.asarray(7.5)), jnp.zeros(2))
    np.testing.assert_allclose(often, 4.0, rtol=1e-6)  # 120 / 7.5 = 16 passes, their root
    seldom = space.apply(observation().replace(steps_per_epoch=jnp.asarray(480.0)), jnp.zeros(2))
    np.testing.assert_allclose(seldom, 1.0, rtol=1e-6)  # less than one pass counts as one


def test_an_agent_bounds_its_forgetting_by_a_factor():
    space = Forgetting(flat_shape, alpha=1.0, kappa=0.5)
    forgetting = space.apply(observation(), jnp.asarray([-50.0, 50.0]))
    np.testing.assert_allclose(forgetting, [np.exp(-1.0), np.exp(1.0)], rtol=1e-6)
    assert float(Forgetting(flat_shape, kappa=1e6).apply(observation(), jnp.zeros(2))[0]) == 100.0


def test_a_size_with_a_horizon_falls_with_the_length_of_the_training():
    space = RelativeUpdate(flat_shape, relative_size=0.1, sharing=0.0, horizon_exponent=0.5)
    short = space.apply(observation(), jnp.zeros(2))
    long = space.apply(observation().replace(total_steps=jnp.asarray(480)), jnp.zeros(2))
    np.testing.assert_allclose(short / long, 2.0, rtol=1e-6)
    np.testing.assert_allclose(short, 0.1 * 5**0.5 / np.asarray([2.0, 0.5]), rtol=1e-6)


def test_a_whole_update_is_its_two_parts():
    size, forgetting = RelativeUpdate(flat_shape), Forgetting(flat_shape)
    both = WholeUpdate(size, forgetting)
    assert both.sets == ("rates", "forgetting")
    actions = jnp.asarray([[0.3, -0.2], [-0.5, 0.7]])
    found = both.apply(observation(), actions)
    np.testing.assert_array_equal(found.rates, size.apply(observation(), actions[:, 0]))
    np.testing.assert_array_equal(found.forgetting, forgetting.apply(observation(), actions[:, 1]))


def test_where_the_base_forgets_more_its_updates_are_larger():
    size = RelativeUpdate(flat_shape, relative_size=0.02, first_share=1.0)
    forgetting = Forgetting(flat_shape, kappa=0.5, epoch_exponent=0.5)
    alone = WholeUpdate(size, forgetting)
    coupled = WholeUpdate(size, forgetting, coupling=0.25)
    action = jnp.zeros((2, 2))
    for passes, over_training in ((0.2, 0.5), (16.0, 2.0)):
        seen = observation().replace(steps_per_epoch=jnp.float32(120 / passes))
        before, after = alone.apply(seen, action), coupled.apply(seen, action)
        np.testing.assert_allclose(after.rates, before.rates * over_training**0.25, rtol=1e-5)
        np.testing.assert_allclose(after.forgetting, before.forgetting)
        np.testing.assert_allclose(after.forgetting, 2 * over_training, rtol=1e-5)


def test_a_base_is_changed_under_the_same_actions():
    space = WholeUpdate(RelativeUpdate(flat_shape, alpha=2.0), Forgetting(flat_shape, alpha=1.0))
    changed = space.with_size(0.01).with_forgetting(3.0).with_share(0.5)
    assert (changed.size.relative_size, changed.forgetting.kappa) == (0.01, 3.0)
    assert (changed.size.alpha, changed.forgetting.alpha) == (1.0, 0.5)
