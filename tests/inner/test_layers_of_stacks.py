"""Layers of stacks that Flax names by its metadata."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

import ganno_jax
from ganno_jax.controllers import Controller
from ganno_jax.inner.layers import by_module
from ganno_jax.inner.stacks import stacks_by_metadata
from ganno_jax.policies import FixedRates


def scanned():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            init = nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out"))
            return nn.Dense(3, kernel_init=init, use_bias=False)(x), None

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            blocks = nn.scan(
                Block,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=4,
                metadata_params={nn.PARTITION_NAME: "layers"},
            )
            x, _ = blocks()(x, None)
            return nn.Dense(2, name="head")(x)

    return Net().init(jax.random.key(0), jnp.ones((1, 3)))["params"]


def test_boxed_parameters_have_a_rate_for_each_layer_of_a_stack():
    params, rates = scanned(), jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])
    optimizer = ganno_jax.control(optax.identity(), Controller(FixedRates(rates), 1), total_steps=4)
    state = optimizer.init(params)
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, state = jax.jit(optimizer.update)(gradient, state, params, value=1.0)
    assert jax.tree.structure(updates) == jax.tree.structure(params)  # boxes included
    np.testing.assert_array_equal(state.rates, rates)
    moved = nn.meta.unbox(updates)
    blocks = moved["ScanBlock_0"]["Dense_0"]["kernel"]
    np.testing.assert_array_equal(blocks, -jnp.broadcast_to(rates[:4, None, None], (4, 3, 3)))
    np.testing.assert_array_equal(moved["head"]["kernel"], -jnp.full((3, 2), 5.0))


def test_metadata_of_flax_says_what_is_stacked():
    params = scanned()
    ((path, count),) = stacks_by_metadata(params).items()
    assert path.endswith("Dense_0/kernel")
    assert count == 1
    assert by_module(params, stacks_by_metadata(params)).num_layers == 5
    assert stacks_by_metadata(nn.meta.unbox(params)) == {}

    class Deep(nnx.Module):
        def __init__(self):
            self.blocks = nnx.Param(jnp.ones((4, 3, 3)), out_sharding=("layers", None, None))
            self.head = nnx.Param(jnp.ones((3, 2)))

    with nnx.use_eager_sharding(False):
        assert stacks_by_metadata(nnx.state(Deep(), nnx.Param)) == {"blocks": 1}
