"""The Optax door where users take it: other libraries' parameters, other dtypes, several devices, bad first steps."""

import contextlib
from functools import partial

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import PartitionSpec

import ganno_jax
from ganno_jax import rules
from ganno_jax.checkpoint import Checkpoints
from ganno_jax.env import make_mesh
from ganno_jax.env.base_shapes import flat_shape
from ganno_jax.env.features import FEATURES
from ganno_jax.env.hidden_loss import WITHOUT_LOSS
from ganno_jax.env.whole_update import RelativeUpdate
from ganno_jax.policies.agents import as_one

from .test_control import PARAMS, descend, make_controller, toy_loss

X = jnp.linspace(-1, 1, 10).reshape(5, 2)


def relative_controller():
    return make_controller(RelativeUpdate(flat_shape, sharing=0.75))


def step(optimizer, params, state, change_gradient=lambda g: g, change_loss=lambda x: x):
    loss, gradient = jax.value_and_grad(toy_loss)(params, X)
    updates, state = optimizer.update(
        change_gradient(gradient), state, params, value=change_loss(loss)
    )
    return optax.apply_updates(params, updates), state


@pytest.mark.parametrize("broken", ["gradient", "loss"])
def test_a_broken_first_update_is_as_if_it_had_not_been(broken):
    optimizer = ganno_jax.control(optax.trace(0.9), relative_controller(), 8)
    nan = partial(jax.tree.map, lambda x: x * jnp.nan)
    change = {"change_gradient" if broken == "gradient" else "change_loss": nan}
    params, state = step(optimizer, PARAMS, optimizer.init(PARAMS), **change)
    chex.assert_trees_all_equal(params, PARAMS)
    assert (int(state.step), int(state.skipped)) == (0, 1)
    _, state = step(optimizer, params, state)
    _, wanted = step(optimizer, PARAMS, optimizer.init(PARAMS))
    chex.assert_trees_all_equal(state.parts._replace(skipped=wanted.skipped), wanted.parts)


def test_a_frozen_layer_does_not_change_the_rates_of_the_others():
    actions = RelativeUpdate(flat_shape, sharing=1.0)
    controller = make_controller(actions)

    def first_rates(params):
        optimizer = ganno_jax.control(optax.identity(), controller, 8)
        gradient = {name: jax.tree.map(jnp.ones_like, part) for name, part in params.items()}
        if "frozen" in gradient:
            gradient["frozen"] = jnp.zeros(3)
        _, state = optimizer.update(gradient, optimizer.init(params), params, value=1.0)
        return dict(zip(state.layer_names, actions_removed(state), strict=True))

    def actions_removed(state):
        return state.rates / jnp.exp(actions.alpha * jnp.tanh(state.actions))

    params = {"dense0": jnp.full(4, 2.0), "dense1": jnp.full(4, 0.5)}
    wanted, found = first_rates(params), first_rates({**params, "frozen": jnp.ones(3)})
    for name in wanted:
        assert jnp.allclose(found[name], wanted[name])
    assert jnp.allclose(found["frozen"], wanted["dense0"])  # one denominator for all


def test_a_direction_that_is_not_finite_is_skipped():
    optimizer = ganno_jax.control(rules.compile("log(g)"), make_controller(), 8)
    params = {"dense0": jnp.ones(3)}
    gradient = {"dense0": jnp.array([1.0, 0.0, 2.0])}
    updates, state = optimizer.update(gradient, optimizer.init(params), params, value=1.0)
    assert jnp.array_equal(updates["dense0"], jnp.zeros(3))
    assert int(state.skipped) == 1


def test_actions_and_names_of_layers_stand_in_the_state():
    controller = relative_controller()
    optimizer = ganno_jax.control(optax.identity(), controller, 8)
    _, state = step(optimizer, PARAMS, optimizer.init(PARAMS))
    assert state.layer_names == ("dense0", "dense1")
    assert state.actions.shape == (2,)
    assert jnp.all(state.actions != 0)
    two = controller.replace(policy=as_one([controller.policy, controller.policy]))
    optimizer = ganno_jax.control(optax.identity(), two, 8)
    _, both = step(optimizer, PARAMS, optimizer.init(PARAMS))
    assert jnp.allclose(both.actions, jnp.stack([state.actions] * 2))


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_state_goes_through_an_orbax_checkpoint(tmp_path, recurrent):
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(recurrent=recurrent), 8)
    (_, state), _ = descend(optimizer, PARAMS, num_steps=3)
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(3, state, {})
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        chex.assert_trees_all_equal(checkpoints.restore(3, optimizer.init(PARAMS)), state)


def test_gradients_of_another_dtype_go_through_a_scan():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
    half = partial(jax.tree.map, lambda g: g.astype(jnp.bfloat16))

    def one(carry, _):
        return step(optimizer, *carry, change_gradient=half), None

    carry = (PARAMS, optimizer.init(PARAMS))
    (params, state), _ = jax.lax.scan(one, carry, None, length=8)
    assert int(state.step) == 8
    chex.assert_tree_all_finite(params)


@pytest.mark.slow
def test_double_precision_may_be_on():
    with jax.enable_x64(True):
        params = jax.tree.map(lambda w: np.asarray(w, np.float64), PARAMS)
        optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
        (params, state), _ = descend(optimizer, params, num_steps=8)
    chex.assert_tree_all_finite(params)
    assert params["dense1"]["kernel"].dtype == np.float64
    assert state.rates.dtype == np.float32


@pytest.mark.slow
def test_data_split_over_devices_and_gradients_averaged_are_as_on_one_device():
    mesh = make_mesh(jax.devices()[:2])
    data = jnp.linspace(-1, 1, 16).reshape(8, 2)
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 6)

    def train(mean):
        def run(params, data):
            def one(carry, _):
                params, state = carry
                found = jax.value_and_grad(toy_loss)(params, data)
                loss, gradient = mean(found)
                updates, state = optimizer.update(gradient, state, params, value=loss)
                return (optax.apply_updates(params, updates), state), state.rates

            return jax.lax.scan(one, (params, optimizer.init(params)), None, length=6)[1]

        return run

    whole, split = PartitionSpec(), PartitionSpec(mesh.axis_names[0])

    def mean_over_devices(found):
        return jax.lax.pmean(found, mesh.axis_names[0])

    # Without `check_vma` a derivative by parameters that are whole on each device is that of its own part.
    several = jax.shard_map(
        train(mean_over_devices),
        mesh=mesh,
        in_specs=(whole, split),
        out_specs=whole,
        check_vma=False,
    )
    assert jnp.allclose(several(PARAMS, data), train(lambda x: x)(PARAMS, data), rtol=1e-4)


@pytest.mark.slow
def test_each_device_may_have_a_training_of_its_own():
    mesh = make_mesh(jax.devices()[:2])
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 6)
    scales = jnp.array([1.0, 0.5])
    split = PartitionSpec(mesh.axis_names[0])

    def run(scale):
        params = jax.tree.map(lambda w: w * scale[0], PARAMS)
        (_, state), _ = descend(optimizer, params, num_steps=6)
        return state.rates[None]

    found = jax.shard_map(run, mesh=mesh, in_specs=split, out_specs=split)(scales)
    wanted = jnp.concatenate([run(scales[i : i + 1]) for i in range(2)])
    assert jnp.allclose(found, wanted, rtol=1e-4)


def test_the_optimizer_of_nnx_takes_it():
    model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Linear(3, 1, rngs=nnx.Rngs(1)))
    control = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
    optimizer = nnx.Optimizer(model, control, wrt=nnx.Param)
    for _ in range(8):
        loss, gradient = nnx.value_and_grad(lambda model: jnp.mean(jnp.square(model(X) - 0.3)))(
            model
        )
        optimizer.update(model, gradient, value=loss)
    assert optimizer.opt_state.rates.shape == (2,)


def test_a_module_of_equinox_may_be_the_tree_of_labels():
    model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
    params = eqx.filter(model, eqx.is_array)
    labels = jax.tree.map(lambda w: "matrix" if w.ndim == 2 else "vector", params)
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8, layers=labels)
    assert optimizer.init(params).layer_names == ("matrix", "vector")


def test_a_linen_train_state_needs_no_loss():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 4)
    state = TrainState.create(apply_fn=toy_loss, params=PARAMS, tx=optimizer)
    for _ in range(4):
        gradients = jax.grad(toy_loss)(state.params, X)
        state = state.apply_gradients(grads=gradients)
    assert int(state.opt_state.step) == 4
    assert float(toy_loss(state.params, X)) < float(toy_loss(PARAMS, X))
    hidden = [FEATURES.index(name) for name in WITHOUT_LOSS]
    np.testing.assert_array_equal(
        state.opt_state.features[:, hidden], [list(np.float32(list(WITHOUT_LOSS.values())))] * 2
    )


def test_a_loss_below_zero_is_found_out_and_shown_to_nobody():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
    state = optimizer.init(PARAMS)
    seen = []
    for value in (1.0, -1.0, 50.0, 1.0):
        _, state = optimizer.update(PARAMS, state, PARAMS, value=value)
        seen.append(bool(state.signed_loss))
    assert seen == [False, True, True, True]
    assert int(state.spikes) == 0
    assert float(state.features[0, FEATURES.index("loss_level")]) == 0.0


def test_numbers_may_be_injected_and_counts_are_named_as_static():
    make, controller = optax.inject_hyperparams(ganno_jax.control), make_controller()
    with pytest.raises(ValueError, match=r"static_args=\(\"controller\", \"total_steps\""):
        make(optax.identity(), controller, total_steps=8).init(PARAMS)
    static = ("direction", "controller", "total_steps", "every", "num_measured")
    make = optax.inject_hyperparams(ganno_jax.control, static_args=static)
    optimizer = make(optax.identity(), controller, total_steps=8, weight_decay=0.1)
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, value=1.0)
    assert float(state.hyperparams["weight_decay"]) == np.float32(0.1)


def test_matrices_decay_unless_a_mask_says_otherwise():
    zeros = jax.tree.map(lambda w: jnp.zeros_like(w).at[(0,) * w.ndim].set(1e-6), PARAMS)
    for mask, decayed in (
        (None, {"kernel"}),
        ({"dense0": True, "dense1": False}, {"bias", "kernel"}),
    ):
        optimizer = ganno_jax.control(
            optax.identity(), make_controller(), 8, weight_decay=0.5, decay_mask=mask
        )
        ones = jax.tree.map(jnp.ones_like, PARAMS)
        updates, state = optimizer.update(zeros, optimizer.init(ones), ones, value=1.0)
        step = -0.5 * state.rates[0]
        for name, update in updates["dense0"].items():
            np.testing.assert_allclose(
                update.ravel()[1], step if name in decayed else 0.0, rtol=1e-5
            )
        assert (float(updates["dense1"]["kernel"][1, 0]) != 0) == (mask is None)


def test_stacked_layers_have_their_own_rates():
    params = {
        "blocks": {"kernel": jnp.stack([jnp.eye(2), 10 * jnp.eye(2)])},
        "head": jnp.ones((2, 1)),
    }
    optimizer = ganno_jax.control(optax.identity(), relative_controller(), 8, stacked={"blocks": 1})
    updates, state = optimizer.update(params, optimizer.init(params), params, value=1.0)
    assert state.layer_names == ("blocks[0]", "blocks[1]", "head")
    found = updates["blocks"]["kernel"][:, 0, 0] / params["blocks"]["kernel"][:, 0, 0]
    np.testing.assert_allclose(found, -state.rates[:2], rtol=1e-6)


def test_python_numbers_and_eager_updates_compile_once():
    optimizer = ganno_jax.control(counting := _Counting(), make_controller(), 8)
    state = optimizer.init(PARAMS)
    tried = counting.traces
    for value in (1.0, 2, jnp.ones(())):
        _, state = optimizer.update(PARAMS, state, PARAMS, value=value)
    first = counting.traces - tried
    for value in range(12):  # through all decisions and past the end
        _, state = optimizer.update(PARAMS, state, PARAMS, value=float(value))
    assert int(state.overrun) > 0
    assert counting.traces - tried == first <= 4  # once, and in the branches that measure


class _Counting(optax.GradientTransformation):
    """Identity that counts how often it is traced."""

    traces = 0

    def __new__(cls):
        def update(updates, state, params=None):
            made.traces += 1
            return updates, state

        made = super().__new__(cls, lambda params: (), update)
        return made
