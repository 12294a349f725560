"""The Optax door: the same rates as in the env, anywhere that Optax works, and no harm from bad numbers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax
from ganno_jax.controllers import Controller
from ganno_jax.env.actions import DirectRate
from ganno_jax.env.features import FEATURES
from ganno_jax.policies.agents import AgentPolicy, init_actor
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import empty_normalizer


def make_controller(actions=None, recurrent=False, decisions=4) -> Controller:
    """Agents with random weights, large enough that what they see changes what they do."""
    actions = DirectRate(1e-3, 0.1) if actions is None else actions
    actor = Actor(actions.num_actions, hidden=8, recurrent=recurrent, num_numbers=len(actions.sets))
    params = init_actor(actor, len(FEATURES), jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [w + 0.3 * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    policy = AgentPolicy(
        actor=actor,
        params=jax.tree.unflatten(structure, leaves),
        normalizer=empty_normalizer(len(FEATURES)),
        feature_mask=jnp.ones(len(FEATURES)),
        actions=actions,
    )
    return Controller(policy, decisions, {"family": "none", "seed": 1})


PARAMS = {
    "dense0": {"bias": jnp.zeros(3), "kernel": jnp.ones((2, 3))},
    "dense1": {"kernel": jnp.ones((3, 1))},
}


def toy_loss(params, x):
    hidden = jnp.tanh(x @ params["dense0"]["kernel"] + params["dense0"]["bias"])
    return jnp.mean(jnp.square(hidden @ params["dense1"]["kernel"] - 0.3)) + 0.01


def descend(optimizer, params, num_steps=12):
    x = jnp.linspace(-1, 1, 10).reshape(5, 2)

    def step(carry, _):
        params, state = carry
        loss, gradient = jax.value_and_grad(toy_loss)(params, x)
        updates, state = optimizer.update(gradient, state, params, value=loss)
        return (optax.apply_updates(params, updates), state), (loss, state.rates)

    carry, history = jax.lax.scan(step, (params, optimizer.init(params)), None, length=num_steps)
    return carry, history


@pytest.mark.parametrize(
    "params",
    [PARAMS, [jnp.ones((2, 2)), [jnp.ones(3), {"w": jnp.ones((1, 2))}]], (jnp.ones(4),)],
    ids=["linen", "nested lists", "one leaf"],
)
def test_any_pytree_is_controlled(params):
    optimizer = ganno_jax.control(optax.scale_by_adam(), make_controller(), 8)
    update = jax.jit(optimizer.update)
    updates, state = update(params, optimizer.init(params), params, value=jnp.ones(()))
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    assert np.all(state.rates > 0)


def test_rates_stay_within_the_bounds_of_the_action_space():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 12, every=2)
    _, (_, rates) = descend(optimizer, PARAMS)
    assert np.all(rates >= 1e-3 * (1 - 1e-5))
    assert np.all(rates <= 0.1 * (1 + 1e-5))


def test_decisions_fall_every_so_many_updates_and_end_with_the_budget():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 6, every=3)
    _, (_, rates) = descend(optimizer, PARAMS, num_steps=12)
    changed = np.any(np.diff(np.asarray(rates), axis=0) != 0, axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changed) + 1, [3])


def test_a_batch_of_controlled_trainings_equals_one_after_another():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 12, every=3)
    batch = jax.tree.map(lambda w: jnp.stack([w, 0.5 * w]), PARAMS)
    (params, _), _ = jax.jit(jax.vmap(lambda p: descend(optimizer, p)))(batch)
    one = jax.jit(lambda p: descend(optimizer, p))
    for number, scale in enumerate((1.0, 0.5)):
        (alone, _), _ = one(jax.tree.map(lambda w, s=scale: s * w, PARAMS))
        chex.assert_trees_all_close(
            jax.tree.map(lambda w, n=number: w[n], params), alone, rtol=1e-4
        )


def test_gradient_accumulation_passes_the_loss_on():
    optimizer = optax.MultiSteps(ganno_jax.control(optax.trace(0.9), make_controller(), 4), 2)
    state = optimizer.init(PARAMS)
    update = jax.jit(optimizer.update)
    for expected in (0, 1, 1, 2):
        _, state = update(PARAMS, state, PARAMS, value=jnp.ones(()))
        assert int(state.inner_opt_state.step) == expected


def test_donated_state_and_second_call_without_a_new_trace():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 12)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state):
        loss, gradient = jax.value_and_grad(toy_loss)(params, jnp.ones((5, 2)))
        updates, state = optimizer.update(gradient, state, params, value=loss)
        return optax.apply_updates(params, updates), state

    donating = jax.jit(step, donate_argnums=(0, 1))
    params = jax.tree.map(jnp.copy, PARAMS)
    state = optimizer.init(params)
    for _ in range(3):
        params, state = donating(params, state)
    assert int(state.step) == 3


@pytest.mark.parametrize("bad", ["gradient", "loss"])
def test_a_broken_update_changes_nothing_but_its_count(bad):
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 12)
    state = optimizer.init(PARAMS)
    _, state = optimizer.update(PARAMS, state, PARAMS, value=jnp.ones(()))
    gradient = jax.tree.map(lambda w: w * jnp.nan, PARAMS) if bad == "gradient" else PARAMS
    value = jnp.ones(()) if bad == "gradient" else jnp.inf
    updates, after = optimizer.update(gradient, state, PARAMS, value=value)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))
    assert int(after.skipped) == 1
    chex.assert_trees_all_equal(after.parts._replace(skipped=state.skipped), state.parts)


def test_a_loss_spike_halves_the_rates_for_a_while():
    optimizer = ganno_jax.control(optax.identity(), make_controller(), 40, every=20)
    state = optimizer.init(PARAMS)
    calm = PARAMS
    for _ in range(11):
        calm, state = optimizer.update(PARAMS, state, PARAMS, value=1.0)
    spiked, state = optimizer.update(PARAMS, state, PARAMS, value=50.0)
    chex.assert_trees_all_close(spiked, jax.tree.map(lambda u: 0.5 * u, calm))
    np.testing.assert_allclose(state.by_policy.rates_in_force, 0.5 * state.rates)
    for _ in range(25):
        _, state = optimizer.update(PARAMS, state, PARAMS, value=1.0)
    assert float(state.backoff) == 1.0
    assert (int(state.skipped), int(state.spikes)) == (0, 1)


def test_layers_by_function_and_by_label_tree():
    by_function = ganno_jax.control(
        optax.identity(), make_controller(), 4, layers=lambda path: path[-1]
    )
    assert by_function.init(PARAMS).rates.shape == (2,)  # all kernels, all biases
    labels = {"dense0": {"bias": "a", "kernel": "b"}, "dense1": {"kernel": "c"}}
    by_labels = ganno_jax.control(optax.identity(), make_controller(), 4, layers=labels)
    assert by_labels.init(PARAMS).rates.shape == (3,)


def test_wrong_use_is_said_in_one_line():
    controller = make_controller()
    optimizer = ganno_jax.control(optax.identity(), controller, 4)
    state = optimizer.init(PARAMS)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer.update(PARAMS, state, value=jnp.ones(()))
    fewer = {"dense0": PARAMS["dense0"]}
    with pytest.raises(ValueError, match="2 layers, the parameters have 1"):
        optimizer.update(fewer, state, fewer, value=jnp.ones(()))
    with pytest.raises(ValueError, match="must be one of `control`, from its `init`; got tuple"):
        optimizer.update(PARAMS, (), PARAMS, value=jnp.ones(()))
    with pytest.raises(ValueError, match="tree of labels"):
        ganno_jax.control(optax.identity(), controller, 4, layers={"a": 1}).init(PARAMS)
    with pytest.raises(ValueError, match="total_steps"):
        ganno_jax.control(optax.identity(), controller, 0)
    with pytest.raises(ValueError, match="initial_rate"):
        ganno_jax.control(optax.identity(), controller, 4, initial_rate=-1.0)
