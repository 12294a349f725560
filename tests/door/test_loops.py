"""Loops that people have: injected numbers, low-rank fine-tuning, loss scaling, full weights beside half ones."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax
from ganno_jax.env.actions import DirectRate
from ganno_jax.env.features import FEATURES
from ganno_jax.env.hidden_loss import WITHOUT_LOSS

from .test_control import PARAMS, make_controller, toy_loss


def test_numbers_of_the_whole_optimizer_may_be_injected_and_the_rest_is_named():
    make = optax.inject_hyperparams(ganno_jax.optimizer)
    with pytest.raises(ValueError, match=r"`total_steps` .*static_args=\(\"controller\", \"total"):
        make(8).init(PARAMS)
    static = ("total_steps", "controller", "steps_per_epoch", "every", "num_measured", "safety")
    make = optax.inject_hyperparams(ganno_jax.optimizer, static_args=static)
    optimizer = make(8, weight_decay=0.1)
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, value=1.0)
    assert float(state.hyperparams["weight_decay"]) == np.float32(0.1)


def descend(optimizer, loss_fn, params, num_steps):
    @jax.jit
    def run(params):
        def step(carry, key):
            params, state = carry
            loss, gradient = jax.value_and_grad(loss_fn)(params, key)
            updates, state = optimizer.update(gradient, state, params, value=loss)
            return (optax.apply_updates(params, updates), state), loss

        keys = jax.random.split(jax.random.key(3), num_steps)
        return jax.lax.scan(step, (params, optimizer.init(params)), keys)

    return run(params)


@pytest.mark.parametrize("name", ["muon", pytest.param("nadamw", marks=pytest.mark.slow)])
def test_a_low_rank_fine_tuning_moves_and_does_not_blow_up(key, name):
    first, second, third = jax.random.split(key, 3)
    frozen = jax.random.normal(first, (16, 16)) / 4
    change = jax.random.normal(second, (16, 2)) @ jax.random.normal(third, (2, 16)) / 16
    params = {
        "dense": {"lora_a": jax.random.normal(key, (16, 4)) / 4, "lora_b": jnp.zeros((4, 16))}
    }

    def loss_fn(params, key):
        x = jax.random.normal(key, (64, 16))
        factors = params["dense"]
        changed = frozen + factors["lora_a"] @ factors["lora_b"]
        return jnp.mean(jnp.square(x @ changed - x @ (frozen + change)))

    optimizer = ganno_jax.optimizer(200, ganno_jax.load(name))
    (params, state), losses = descend(optimizer, loss_fn, params, 200)
    assert state.layer_names == ("dense/lora_a", "dense/lora_b")
    assert float(losses.max()) < 2 * float(losses[0])
    assert float(losses[-20:].mean()) < 0.05 * float(losses[0])
    assert float(jnp.abs(params["dense"]["lora_a"]).max()) < 3


def test_loss_scaling_hands_over_unscaled_numbers_and_an_overflow_costs_its_own_step():
    optimizer = ganno_jax.optimizer(20, ganno_jax.load("nadamw"))

    def updates_of(scale):
        gradient = jax.tree.map(lambda w: (scale * w / 8).astype(jnp.float16), PARAMS)
        unscaled = jax.tree.map(lambda g: g.astype(jnp.float32) / scale, gradient)
        return unscaled, 0.5  # as `aux` of the scaled loss, or divided by the scale

    state, wanted = (optimizer.init(PARAMS) for _ in range(2))
    for scale in (1.0, 2.0**10, 2.0**20, 2.0**5):  # the third is beyond float16
        gradient, value = updates_of(scale)
        _, state = optimizer.update(gradient, state, PARAMS, value=value)
    for _ in range(3):
        _, wanted = optimizer.update(updates_of(1.0)[0], wanted, PARAMS, value=0.5)
    assert int(state.skipped) == 1
    jax.tree.map(
        np.testing.assert_array_equal,
        state.by_policy.decided.rates,
        wanted.by_policy.decided.rates,
    )


X = jnp.linspace(-1, 1, 10).reshape(5, 2)


def looped(optimizer, state_of, *, give_value):
    """A training of eight steps with plain parameters: the state of `control` after it, and the losses."""
    params, losses = PARAMS, []
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for _ in range(8):
        loss, gradient = jax.value_and_grad(toy_loss)(params, X)
        updates, state = update(gradient, state, params, **({"value": loss} if give_value else {}))
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return state_of(state), losses


def sees_a_loss(state):
    columns = jnp.asarray([FEATURES.index(name) for name in WITHOUT_LOSS])
    return not np.allclose(state.features[:, columns], list(WITHOUT_LOSS.values()))


@pytest.mark.parametrize("passes_on", [True, False], ids=["itself", "as a plain transformation"])
def test_gradient_accumulation_hands_the_loss_on_unless_it_is_made_a_plain_transformation(
    passes_on,
):
    many = optax.MultiSteps(ganno_jax.control(optax.trace(0.9), make_controller(), 4), 2)
    optimizer = many if passes_on else optax.with_extra_args_support(many.gradient_transformation())
    state, losses = looped(optimizer, lambda s: s.inner_opt_state, give_value=True)
    assert int(state.step) == 4
    assert sees_a_loss(state) == passes_on
    assert losses[-1] < losses[0]


def test_lookahead_takes_a_loss_and_keeps_it_to_itself():
    """As does every wrapper of Optax that is no `GradientTransformationExtraArgs`."""
    fast = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
    optimizer = optax.with_extra_args_support(optax.lookahead(fast, 3, 0.5))
    params = optax.LookaheadParams.init_synced(PARAMS)
    state, losses = optimizer.init(params), []
    for _ in range(8):
        loss, gradient = jax.value_and_grad(toy_loss)(params.fast, X)
        updates, state = optimizer.update(gradient, state, params, value=loss)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    assert int(state.fast_state.step) == 8
    assert not sees_a_loss(state.fast_state)
    assert losses[-1] < losses[0]


def test_sharpness_aware_minimization_steps_by_what_gradients_show():
    """It blends two states of ours by sums and products, and its `update` takes no loss."""
    ours = ganno_jax.control(optax.trace(0.9), make_controller(), 4)
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(0.01))
    optimizer = optax.contrib.sam(ours, adversary, sync_period=2)
    state, losses = looped(optimizer, lambda s: s.opt_state, give_value=False)
    assert int(state.step) == 4
    chex.assert_tree_all_finite(state)
    assert not sees_a_loss(state)
    assert losses[-1] < losses[0]


def test_full_weights_beside_half_ones_keep_small_updates():
    """The way that the guide names: parameters in float32, cast in the pass."""

    def loss_fn(params, key):
        del key
        half = jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)
        return jnp.mean(jnp.square(half["dense"]["kernel"].astype(jnp.float32) - 2))

    params = {"dense": {"kernel": jnp.ones((4, 4))}}
    actions = DirectRate(1e-4, 1.001e-4)
    optimizer = ganno_jax.control(optax.scale_by_sign(), make_controller(actions), 30)
    (full, _), _ = descend(optimizer, loss_fn, params, 30)
    half = jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)
    (lost, _), _ = descend(optimizer, loss_fn, half, 30)
    np.testing.assert_allclose(full["dense"]["kernel"], 1.003, rtol=1e-4)
    np.testing.assert_array_equal(lost["dense"]["kernel"], 1)  # each update is below its last digit


@pytest.mark.slow
def test_two_controls_in_a_partition_each_see_their_own_part():
    labels = {"dense0": "first", "dense1": "second"}
    both = optax.partition(
        {name: ganno_jax.optimizer(8, ganno_jax.load("nadamw")) for name in ("first", "second")},
        labels,
    )
    state = both.init(PARAMS)
    updates, state = both.update(PARAMS, state, PARAMS, value=1.0)
    alone = ganno_jax.optimizer(8, ganno_jax.load("nadamw"))
    part = {"dense0": PARAMS["dense0"]}
    wanted, _ = alone.update(part, alone.init(part), part, value=1.0)
    jax.tree.map(np.testing.assert_array_equal, updates["dense0"], wanted["dense0"])
    with pytest.raises(ValueError, match="it holds 2"):
        ganno_jax.metrics(state)


@pytest.mark.parametrize("name", ["muon", "broad"])
def test_an_optimizer_may_be_made_inside_of_a_function_that_is_compiled(name):
    def make():
        controller = ganno_jax.load(name)
        if controller.direction is None:
            return ganno_jax.control(optax.trace(0.9), controller, 4)
        return ganno_jax.optimizer(4, controller)

    def update(optimizer):
        state = optimizer.init(PARAMS)
        return optimizer.update(PARAMS, state, PARAMS, value=1.0)[0]

    outside = make()
    inside = jax.jit(lambda: update(make()))()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        inside,
        jax.jit(lambda: update(outside))(),
    )
