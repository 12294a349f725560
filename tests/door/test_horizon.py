"""A training that becomes longer or shorter than was planned."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest

import ganno_jax


def problem(key):
    inputs = jax.random.normal(jax.random.fold_in(key, 0), (64, 6))
    targets = jnp.argmax(inputs[:, :3], axis=-1)
    params = {
        "dense0": {"kernel": 0.4 * jax.random.normal(key, (6, 8)), "bias": jnp.zeros(8)},
        "dense1": {"kernel": 0.4 * jax.random.normal(key, (8, 3)), "bias": jnp.zeros(3)},
    }

    def loss(params):
        hidden = jax.nn.tanh(inputs @ params["dense0"]["kernel"] + params["dense0"]["bias"])
        logits = hidden @ params["dense1"]["kernel"] + params["dense1"]["bias"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, targets))

    return params, loss


def descend(optimizer, params, state, loss, count):
    """Losses, and how far each update goes."""

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), (value, optax.tree.norm(updates))

    (params, state), (losses, sizes) = jax.lax.scan(step, (params, state), length=count)
    return params, state, np.asarray(losses), np.asarray(sizes)


def test_an_extended_training_goes_on_without_a_jump(key):
    params, loss = problem(key)
    short = ganno_jax.optimizer(60)
    params, state, before, sizes = descend(short, params, short.init(params), loss, 60)
    long = ganno_jax.optimizer(240)
    state = ganno_jax.extend({"inner": state}, 240)["inner"]
    params, state, after, more = descend(long, params, state, loss, 180)
    assert after.max() < before[-1] * 1.05
    assert after[-1] < 0.8 * before[-1]
    assert more[:24].max() > 3 * sizes[-1]  # rates came back up,
    assert more[0] < 0.3 * more[:40].max()  # slowly
    assert int(state.step) == 240
    assert int(state.overrun) == 0
    assert int(state.by_policy.decided.decision) == 30


def test_a_shortened_training_ends_at_its_last_decision(key):
    params, loss = problem(key)
    long = ganno_jax.optimizer(240)
    params, state, *_ = descend(long, params, long.init(params), loss, 40)
    short = ganno_jax.optimizer(60)
    state = ganno_jax.extend(state, 60)
    _, state, _, sizes = descend(short, params, state, loss, 20)
    assert int(state.by_policy.decided.decision) == 30
    assert sizes[-1] < 0.2 * sizes[:4].max()


def by_bytes(state, like, tmp_path):
    return flax.serialization.from_bytes(like, flax.serialization.to_bytes(state))


def by_orbax(state, like, tmp_path):
    checkpointer = orbax.checkpoint.StandardCheckpointer()
    checkpointer.save(tmp_path / "state", state)
    checkpointer.wait_until_finished()
    return checkpointer.restore(tmp_path / "state", like)


@pytest.mark.parametrize("stored", [by_bytes, by_orbax])
@pytest.mark.parametrize("total_steps, every", [(90, None), (40, None), (30, 2)])
def test_a_state_restored_under_another_plan_goes_on_by_the_new_one(
    key, tmp_path, stored, total_steps, every
):
    params, loss = problem(key)
    short = ganno_jax.optimizer(30, every=3)
    params, state, *_ = descend(short, params, short.init(params), loss, 25)
    other = ganno_jax.optimizer(total_steps, every=every)
    restored = stored(state, other.init(params), tmp_path)
    _, after, _, sizes = descend(other, params, restored, loss, total_steps - 25)
    clock = after.outline.clock
    assert int(after.by_policy.decided.decision) == clock.decisions
    assert int(after.overrun) == 0
    if every is None:  # as by `extend`
        extended = ganno_jax.extend(state, total_steps)
        extended = extended._replace(outline=restored.outline)
        np.testing.assert_array_equal(
            descend(other, params, extended, loss, total_steps - 25)[3], sizes
        )


def test_updates_past_the_end_are_counted_and_keep_their_rates(key):
    params, loss = problem(key)
    optimizer = ganno_jax.optimizer(30)
    params, state, *_ = descend(optimizer, params, optimizer.init(params), loss, 30)
    rates = state.rates
    _, state, *_ = descend(optimizer, params, state, loss, 7)
    assert int(state.overrun) == 7
    assert ganno_jax.metrics(state)["overrun"] == 7.0
    np.testing.assert_array_equal(state.rates, rates)


def test_what_cannot_be_is_one_line(key):
    params, loss = problem(key)
    optimizer = ganno_jax.optimizer(30)
    _, state, *_ = descend(optimizer, params, optimizer.init(params), loss, 10)
    with pytest.raises(ValueError, match="at least the 10 updates that were made; got 9"):
        ganno_jax.extend(state, 9)
    with pytest.raises(ValueError, match="must hold a state of `control`; it holds none"):
        ganno_jax.extend(optax.adam(1e-3).init(params), 100)
    for wrong in (12.5, None, "x"):
        with pytest.raises(ValueError, match="`total_steps` must be a whole number, at least 1"):
            ganno_jax.extend(state, wrong)
    with pytest.raises(
        ValueError, match=r"of a training of 30 updates .*extend\(state, total_steps=90"
    ):
        ganno_jax.optimizer(90).update(params, state, params, value=1.0)
