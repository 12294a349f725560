"""The mapping that `auto` chooses on a CPU, from shapes alone."""

import jax
import jax.numpy as jnp
import pytest

from ganno_jax.env import map_trainings
from ganno_jax.env.batching import AT_ONCE, auto_mapping

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
