"""The door against AdamW where trainings go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.door import rates
from ganno_jax.door.state import ControlState
from ganno_jax.env import whole_update

from .harm import (
    CONTROLLED,
    adamw,
    final,
    mlp,
    mlp_loss,
    muon,
    times,
    train,
)

pytestmark = pytest.mark.learning

BY_HEART = 1e-4
"""A loss below which every example is known by heart: ratios of two such losses say nothing."""


def first_is_zero(gradient, value, step):
    return times(gradient, jnp.where(step == 0, 0.0, 1.0)), value


def late(factor, last="dense3", until=50):
    """For so many updates, gradients of all layers but the last are so many times as long."""

    def change(gradient, value, step):
        now = jnp.where(step < until, factor, 1.0)
        return {n: g if n == last else times(g, now) for n, g in gradient.items()}, value

    return change


def flat_until(until):
    def change(gradient, value, step):
        on = jnp.where(step < until, 0.0, 1.0)
        return times(gradient, on), on * value

    return change


def too_large(gradient, value, step):
    return times(gradient, jnp.where(step == 20, 1e6, 1.0)), value


def overflowing(every, count):
    def change(gradient, value, step):
        bad = (step % every == every - 1) & (step < every * count)
        return jax.tree.map(lambda g: jnp.where(bad, jnp.inf, g), gradient), value

    return change


def behind_stop_gradient(params, x, y):
    return mlp_loss(params | {"dense0": jax.lax.stop_gradient(params["dense0"])}, x, y)


def test_a_first_update_without_gradients_does_no_harm_in_a_short_training():
    losses, _, state, _ = train(muon, 100, change=first_is_zero)
    assert float(losses.max()) < 1.1 * float(losses[0])
    assert final(losses) < 0.1 * float(losses[0])
    assert int(state.skipped) == 1


def test_a_layer_behind_stop_gradient_stays_as_it_is_in_a_short_training():
    losses, params, _, _ = train(muon, 100, loss_fn=behind_stop_gradient)
    jax.tree.map(np.testing.assert_array_equal, params["dense0"], mlp()["dense0"])
    assert final(losses) < 0.5 * float(losses[0])


def test_the_head_alone_for_ten_updates_does_no_harm_in_a_short_training():
    params = mlp((64, 64, 64, 10))
    losses = train(muon, 100, params, change=late(0.0, "dense2", until=10)).losses
    before = train(lambda _: optax.sgd(0.0), 100, params).losses
    assert float(jnp.max(losses - before)) <= 0.01
    assert final(losses) < 0.1


def test_a_gradient_a_million_times_too_large_costs_little_in_a_short_training():
    losses, _, state, _ = train(muon, 100, change=too_large)
    assert int(state.limited) == 1
    assert float(losses.max()) < 1.1 * float(losses[0])
    assert final(losses) < 0.1


def test_overflows_cost_their_own_steps_only_in_a_short_training():
    losses, _, state, _ = train(muon, 100, change=overflowing(every=20, count=5))
    assert (int(state.skipped), int(state.step), float(state.backoff)) == (5, 95, 1.0)
    assert final(losses) < 0.1


def test_a_loss_that_is_flat_at_first_does_no_harm_in_a_short_training():
    losses, _, state, _ = train(muon, 100, change=flat_until(20))
    assert float(losses.max()) < 1.1 * float(losses[:20].max())
    assert final(losses) < 0.1
    assert int(state.skipped) == 20
    assert 100 - 4 < int(state.step) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_a_first_update_without_gradients_does_no_harm(ours):
    losses, _, state, _ = train(ours, 600, change=first_is_zero)
    theirs = train(adamw, 600, change=first_is_zero).losses
    assert final(losses) < 2 * final(theirs)
    assert float(losses.max()) < 1.1 * float(losses[0])
    assert int(state.skipped) == 1


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
@pytest.mark.parametrize("factor", [0.0, 1e-6])
def test_layers_whose_gradients_come_after_fifty_updates_do_no_harm(ours, factor):
    """Until then they have none, or next to none."""
    losses = train(ours, 300, mlp((64, 64, 64, 64, 10)), change=late(factor)).losses
    assert float(losses.max()) < 1.1 * float(losses[0])
    assert float(losses[50:].max()) < float(losses[0])
    assert final(losses) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_no_loss_is_above_the_first_one_where_the_head_alone_trained_for_fifty_updates(ours):
    """Above those of the same batches, that is, before anything was learned."""
    params = mlp((64, 64, 64, 10))
    losses = train(ours, 300, params, change=late(0.0, "dense2")).losses
    before = train(lambda _: optax.sgd(0.0), 300, params).losses
    assert float(losses.max()) <= float(before.max())
    assert float(jnp.max(losses - before)) <= 0.01
    assert final(losses) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_gradients_that_suddenly_are_a_hundred_times_as_long_do_little_harm(ours):
    losses = train(ours, 300, mlp((64, 64, 64, 64, 10)), change=late(0.01)).losses
    assert float(losses.max()) < 5 * float(losses[0])  # one step, before rates and moments know
    assert final(losses) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_what_guards_against_tiny_gradients_leaves_an_ordinary_training_as_it_is(ours, monkeypatch):
    guarded = train(ours, 100)
    monkeypatch.setattr(whole_update, "SMALLEST_SHARE", 0.0)
    monkeypatch.setattr(rates, "LONGEST", jnp.inf)
    bare = train(ours, 100)
    np.testing.assert_array_equal(guarded.losses, bare.losses)
    jax.tree.map(np.testing.assert_array_equal, guarded.params, bare.params)


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_a_layer_behind_stop_gradient_stays_as_it_is(ours):
    losses, params, _, _ = train(ours, 300, loss_fn=behind_stop_gradient)
    jax.tree.map(np.testing.assert_array_equal, params["dense0"], mlp()["dense0"])
    assert final(losses) < final(train(adamw, 300, loss_fn=behind_stop_gradient).losses)


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
@pytest.mark.parametrize("until", [50, 100])
def test_a_loss_that_is_flat_at_first_does_no_harm_and_rates_still_fall_to_the_end(ours, until):
    change = flat_until(until)
    losses, _, state, _ = train(ours, 600, change=change)
    assert final(losses) < 1.1 * final(train(adamw, 600, change=change).losses)
    assert float(losses.max()) < 1.1 * float(losses[:until].max())
    assert int(state.skipped) == until
    assert 600 - 20 < int(state.step) <= 600


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_a_gradient_a_million_times_too_large_costs_little(ours):
    losses, _, state, _ = train(ours, 600, change=too_large)
    assert int(state.limited) == 1
    assert final(losses) < max(2 * final(train(ours, 600).losses), BY_HEART)


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
@pytest.mark.parametrize("every, count", [(40, 30), (1, 10)], ids=["every 40", "the first ten"])
def test_overflows_cost_their_own_steps_only(ours, every, count):
    losses, _, state, _ = train(ours, 1200, change=overflowing(every, count))
    assert int(state.skipped) == count
    assert int(state.step) == 1200 - count
    assert float(state.backoff) == 1.0
    assert final(losses) < max(2 * final(train(ours, 1200).losses), BY_HEART)


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_gradients_and_losses_far_off_and_a_batch_of_nan_are_survived(ours):
    def change(gradient, value, step):
        gradient = times(gradient, jnp.where(step % 100 == 50, -20.0, 1.0))
        value = jnp.where(step % 100 == 50, 20 * value + 10, value)
        return times(gradient, jnp.where(step == 300, jnp.nan, 1.0)), value

    losses, _, state, _ = train(ours, 600, change=change)
    assert int(state.skipped) == 1
    assert int(state.spikes) >= 3  # early on losses scatter as far
    assert final(losses) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_batches_of_wrong_labels_are_survived(ours):
    def relabel(y, step):
        return jnp.where(step % 100 == 50, 9 - y, y)

    losses, _, state, _ = train(ours, 600, relabel=relabel)
    assert int(state.spikes) >= 3
    assert final(losses) < 2 * final(train(adamw, 600, relabel=relabel).losses)


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_a_flat_dict_trains_as_a_nested_one(ours):
    nested = mlp()
    flat = {
        f"{letter}{i}": nested[f"dense{i}"][name]
        for i in range(2)
        for letter, name in (("w", "kernel"), ("b", "bias"))
    }

    def loss_fn(params, x, y):
        parts = {
            f"dense{i}": {"kernel": params[f"w{i}"], "bias": params[f"b{i}"]} for i in range(2)
        }
        return mlp_loss(parts, x, y)

    losses = train(ours, 600, flat, loss_fn).losses
    wanted = train(ours, 600).losses
    np.testing.assert_allclose(losses[:100], wanted[:100], rtol=1e-3)
    np.testing.assert_allclose(final(losses), final(wanted), rtol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_unit_of_the_loss_does_not_matter(ours, scale):
    losses = train(ours, 600, loss_fn=lambda p, x, y: scale * mlp_loss(p, x, y)).losses
    assert final(losses) / scale < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_trains_with_moments_in_full(ours, dtype):
    half = jax.tree.map(lambda w: w.astype(dtype), mlp())
    losses, params, state, _ = train(ours, 600, half)
    assert final(losses) < 0.02
    assert params["dense0"]["kernel"].dtype == dtype
    moments = jax.tree.leaves(state.by_policy.direction)
    assert {m.dtype for m in moments} <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}


@pytest.mark.slow
@pytest.mark.parametrize("ours", CONTROLLED)
def test_without_a_loss_training_goes_on_by_what_gradients_show(ours):
    losses, _, state, _ = train(ours, 600, change=lambda gradient, value, step: (gradient, None))
    assert isinstance(state, ControlState)
    assert final(losses) < 0.02
