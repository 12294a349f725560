"""Networks that grow or shrink, and states of another controller."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest

import ganno_jax

from .test_control import make_controller


def network(width, depth=2):
    sizes = [3, *[width] * (depth - 1), 2]
    keys = jax.random.split(jax.random.key(0), depth)
    return {
        f"dense{i}": {"kernel": jax.random.normal(keys[i], (m, n)) / 2, "bias": jnp.zeros(n)}
        for i, (m, n) in enumerate(itertools.pairwise(sizes))
    }


def trained(optimizer, params, state, count=5):
    for _ in range(count):
        gradient = jax.tree.map(lambda w: w + 0.1, params)
        updates, state = optimizer.update(gradient, state, params, value=1.0)
        params = optax.apply_updates(params, updates)
    return params, state


def momentum(state):
    return state.by_policy.direction.trace


def made(**settings):
    return ganno_jax.control(optax.trace(0.9), make_controller(recurrent=True), 20, **settings)


def test_a_state_for_the_same_network_stays_as_it_is():
    optimizer = made()
    params, state = trained(optimizer, network(4), optimizer.init(network(4)))
    chex.assert_trees_all_equal(ganno_jax.migrate(state, params, params, optimizer), state)


def test_a_grown_network_keeps_what_it_had_and_goes_on():
    optimizer = optax.chain(optax.clip_by_global_norm(9.0), made())
    params, state = trained(optimizer, network(4), optimizer.init(network(4)))
    wider = network(6, depth=3)
    wider["dense0"]["kernel"] = wider["dense0"]["kernel"].at[:, :4].set(params["dense0"]["kernel"])
    with pytest.raises(ValueError, match=r"2 layers, .* 3: dense2 differ.*ganno_jax\.migrate\("):
        optimizer.update(wider, state, wider, value=1.0)
    moved = ganno_jax.migrate(state, params, wider, optimizer)
    old, new = state[1], moved[1]
    kept = momentum(new)["dense0"]["kernel"]
    np.testing.assert_array_equal(kept[:, :4], momentum(old)["dense0"]["kernel"])
    np.testing.assert_array_equal(kept[:, 4:], 0)
    np.testing.assert_array_equal(momentum(new)["dense2"]["kernel"], 0)
    np.testing.assert_array_equal(new.rates[:2], old.rates)
    np.testing.assert_array_equal(new.features[:2], old.features)
    assert int(new.step) == int(old.step) == 5
    params, moved = trained(optimizer, wider, moved)
    chex.assert_tree_all_finite(params)
    assert int(moved[1].step) == 10


@pytest.mark.slow
def test_a_pruned_network_keeps_the_rows_of_the_layers_that_are_left():
    optimizer = made()
    big = network(4, depth=3)
    params, state = trained(optimizer, big, optimizer.init(big))
    small = {name: params[name] for name in ("dense0", "dense2")}
    moved = ganno_jax.migrate(state, params, small, optimizer)
    np.testing.assert_array_equal(moved.rates, state.rates[jnp.array([0, 2])])
    np.testing.assert_array_equal(
        momentum(moved)["dense2"]["bias"], momentum(state)["dense2"]["bias"]
    )
    trained(optimizer, small, moved, 1)


def test_another_controller_takes_the_moments_over():
    first, params = made(), network(4)
    params, state = trained(first, params, first.init(params))
    other = make_controller(recurrent=False)
    second = ganno_jax.control(optax.trace(0.9), other, 20)
    with pytest.raises(ValueError, match=r"another controller or direction: .*migrate"):
        second.update(params, state, params, value=1.0)
    moved = ganno_jax.migrate(state, params, params, second)
    chex.assert_trees_all_equal(momentum(moved), momentum(state))
    assert int(moved.step) == 5
    trained(second, params, moved, 1)


def test_a_checkpoint_of_another_controller_is_carried_on(tmp_path):
    """Restored under the optimizer that wrote it, then moved: the way that docs/control.md gives."""
    first, params = made(), network(4)
    params, state = trained(first, params, first.init(params))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", first.init(params))
    chex.assert_trees_all_equal(restored, state)
    second = ganno_jax.control(optax.trace(0.9), make_controller(recurrent=False), 20)
    moved = ganno_jax.migrate(restored, params, params, second)
    chex.assert_trees_all_equal(momentum(moved), momentum(state))
    trained(second, params, moved, 1)


def test_a_state_without_a_control_is_named():
    params = network(4)
    with pytest.raises(ValueError, match="holds 0 states of `control`, the optimizer makes 1"):
        ganno_jax.migrate(optax.adam(1e-3).init(params), params, params, made())
