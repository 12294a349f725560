"""The mapping that `auto` chooses on a CPU, from shapes alone."""

import jax
import jax.numpy as jnp
import pytest

from ganno_jax.env import advance_trainings, map_trainings
from ganno_jax.env.mapping import AT_ONCE, auto_mapping

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the rule is for CPUs")


def shapes(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_a_convolution_kernel_means_one_training_after_another():
    assert auto_mapping({"kernel": shapes(16, 3, 3, 1, 8), "bias": shapes(16, 8)}) == "map"


def test_keys_alone_mean_one_training_after_another():
    assert auto_mapping(jax.random.split(jax.random.key(0), 64)) == "map"


def test_small_networks_run_side_by_side_within_the_limit():
    assert auto_mapping(shapes(64, 64, 32)) == AT_ONCE // (64 * 32)
    assert auto_mapping(shapes(4, 64, 32)) == "vmap"
    assert auto_mapping(shapes(64, AT_ONCE + 1)) == "map"


def test_chunks_divide_the_trainings():
    assert auto_mapping(shapes(45, AT_ONCE // 16)) == 15


def test_every_mapping_gives_the_same_values():
    x = jnp.arange(12.0).reshape(6, 2)
    for mapping in ("vmap", "map", "auto", 2, 4):
        assert jnp.array_equal(map_trainings(lambda row: row.sum(), mapping, x), x.sum(1))


def decay(state, rate):
    x = state["x"] * rate
    return {"x": x, "key": state["key"]}, jax.random.uniform(state["key"]) + x.sum()


@pytest.mark.parametrize("mapping", ["vmap", "map", "auto", 2, 4, 9])
def test_advancing_gives_what_the_map_gives(mapping):
    states = {"x": jnp.arange(12.0).reshape(6, 2), "key": jax.random.split(jax.random.key(0), 6)}
    rates = jnp.linspace(0.5, 1.5, 6)
    wanted, given = map_trainings(decay, "vmap", states, rates)
    found, also = advance_trainings(decay, mapping, states, rates)
    assert jnp.array_equal(found["x"], wanted["x"])
    assert jnp.array_equal(jax.random.key_data(found["key"]), jax.random.key_data(wanted["key"]))
    assert jnp.allclose(also, given)


@pytest.mark.parametrize("mapping", ["map", 4])
def test_advancing_holds_one_copy_of_the_states(mapping):
    """As the carry of a scan, whose old value the next one replaces."""
    states = jax.ShapeDtypeStruct((64, 4096), jnp.float32)

    def steps(x):  # a loop of its own, as a window of inner steps is
        x = jax.lax.fori_loop(0, 3, lambda _, x: 0.9 * jnp.tanh(x), x)
        return x, x[0]

    def planned(over):
        run = jax.jit(
            lambda states: jax.lax.scan(lambda x, _: over(steps, mapping, x), states, None, 3)
        )
        return run.lower(states).compile().memory_analysis().temp_size_in_bytes

    size = 64 * 4096 * 4
    assert planned(advance_trainings) < 0.2 * size
    assert planned(map_trainings) > 0.9 * size
