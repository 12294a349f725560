"""Layers of stacks that Flax names by its metadata, and of those that nobody named."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import ganno_jax
from ganno_jax.controllers import Controller
from ganno_jax.inner.layers import by_module
from ganno_jax.inner.likely_stacks import likely_stacks
from ganno_jax.inner.stacks import stacks_by_metadata
from ganno_jax.policies import FixedRates

from .test_layers_of_networks import FAMILIES, layers_of, nested


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


class Dense(nn.Module):
    bias: bool = True

    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(4, use_bias=self.bias)(x), None


class Attending(nn.Module):
    bias: bool = True

    @nn.compact
    def __call__(self, x, _):
        attention = nn.MultiHeadDotProductAttention(num_heads=2, use_bias=self.bias)
        x = x + attention(nn.LayerNorm(use_bias=self.bias)(x))
        return x + nn.Dense(4, use_bias=self.bias)(nn.Dense(8, use_bias=self.bias)(x)), None


class Net(nn.Module):
    """Three blocks in a scan that says nothing of them, or one after the other."""

    block: type[nn.Module]
    bias: bool = True
    scan: bool = True
    name_of_blocks: str | None = None

    @nn.compact
    def __call__(self, x):
        if self.scan:
            blocks = nn.scan(
                self.block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
            )
            x, _ = blocks(self.bias, name=self.name_of_blocks)(x, None)
        else:
            for _ in range(3):
                x, _ = self.block(self.bias)(x, None)
        return nn.Dense(2, name="head")(x)


def params_of(network, x=None):
    x = jnp.ones((1, 5, 4)) if x is None else x
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda shape: jnp.ones(shape.shape), shapes)


def ones(**shapes):
    return {name: jnp.ones(shape) for name, shape in shapes.items()}


STACKS = [
    (params_of(Net(Dense)), {"ScanDense_0": 1}),
    (params_of(Net(Dense, bias=False)), {"ScanDense_0": 1}),
    (params_of(Net(Dense, name_of_blocks="blocks")), {"blocks": 1}),
    (params_of(Net(Attending, name_of_blocks="blocks")), {"blocks": 1}),
    (params_of(Net(Attending, bias=False, name_of_blocks="blocks")), {"blocks": 1}),
    (
        {"attn": {"query": ones(kernel=(3, 8, 2, 4)), "out": ones(kernel=(3, 2, 4, 8))}},
        {"attn": 1},
    ),
    (
        {"ln": ones(g=(3, 4), b=(3, 4)), **ones(w=(3, 4, 4), positions=(3, 4), head=(4, 2))},
        {"ln": 1, "w": 1},
    ),
    (ones(w=(3, 4, 4), b=(3, 4), w2=(4, 2), b2=(2,)), {"b": 1, "w": 1}),
    (
        {"blocks": {"experts": ones(kernel=(2, 3, 4, 5), bias=(2, 3, 5)), "ln": ones(scale=(2, 4))}}
        | {"more": {"dense": ones(kernel=(2, 4, 4), bias=(2, 4))}},
        {"blocks": 1, "more": 1},
    ),
    (
        {
            "stack": eqx.filter_vmap(lambda key: eqx.nn.Linear(4, 5, key=key))(
                jax.random.split(jax.random.key(0), 3)
            )
        },
        {"stack": 1},
    ),
]


@pytest.mark.parametrize("params, wanted", STACKS)
def test_a_stack_that_nobody_named_is_said(params, wanted):
    said = f"stacked={wanted}"
    assert ganno_jax.describe(params).splitlines()[-1] == f"looks stacked: {said}"
    optimizer = ganno_jax.control(optax.identity(), ganno_jax.load("broad"), total_steps=4)
    with pytest.warns(UserWarning, match="look like several layers in one array") as caught:
        optimizer.init(params)
    assert [said in str(warning.message) for warning in caught] == [True]
    optimizer.init(params)  # warnings are errors here: it is said once
    for stacked in (wanted, {}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ganno_jax.optimizer(total_steps=4, stacked=stacked).init(params)
        assert "looks stacked" not in ganno_jax.describe(params, stacked=stacked)


def attention(**settings):
    return nn.MultiHeadDotProductAttention(num_heads=4, qkv_features=16, **settings)


def recurrent(features):
    """One cell for all steps in time, under a scan."""

    class Recurrent(nn.Module):
        @nn.compact
        def __call__(self, x):
            cell = nn.scan(
                nn.LSTMCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1
            )(features)
            return cell(cell.initialize_carry(jax.random.key(0), x[:, 0].shape), x)

    return Recurrent()


def of_equinox():
    key = jax.random.key(0)
    parts = [
        eqx.nn.Conv2d(16, 16, 3, key=key),
        eqx.nn.LayerNorm((16, 8, 8)),
        eqx.nn.Conv1d(16, 16, 3, key=key),
        eqx.nn.LayerNorm((16, 8)),
        eqx.nn.Linear(16, 16, key=key),
        eqx.nn.MultiheadAttention(2, 16, key=key),
        eqx.nn.GRUCell(16, 16, key=key),
    ]
    return eqx.filter(parts, eqx.is_array)


WIDE = jnp.ones((2, 6, 16))
NO_STACKS = [
    *(nested(sorted(set().union(*layers_of(family).values()))) for family in FAMILIES.values()),
    *(params_of(Net(block, bias, scan=False)) for block in (Dense, Attending) for bias in (0, 1)),
    *(params_of(attention(use_bias=bias), WIDE) for bias in (True, False)),
    params_of(nn.DenseGeneral((4, 4)), WIDE),
    params_of(nn.Conv(16, (3,), use_bias=False), WIDE),
    params_of(nn.Conv(16, (3, 3)), WIDE),
    params_of(nn.LayerNorm(feature_axes=(-2, -1), reduction_axes=(-2, -1)), WIDE),
    params_of(nn.Embed(5, 4), jnp.ones(3, int)),
    params_of(recurrent(16), WIDE),
    of_equinox(),
    {"block": {"experts": ones(kernel=(3, 4, 4), bias=(3, 4)), "ln": ones(scale=(4,))}},
    {"conv1d": ones(kernel=(4, 4, 4), bias=(4,)), "norm": ones(scale=(4, 4))},
    {"attention": {"query": ones(kernel=(3, 3, 4, 4)), "out": ones(kernel=(3, 3, 4, 4))}},
    {"attention": {"qkv": ones(kernel=(3, 3, 2, 4), bias=(3, 2, 4))}},
    {"positions": jnp.ones((3, 4)), "gates": jnp.ones((3, 4)), "w": jnp.ones((4, 4))},
]


@pytest.mark.parametrize("params", NO_STACKS)
def test_what_is_no_stack_is_not_taken_for_one(params):
    assert likely_stacks(params, {}) == {}
    assert "looks stacked" not in ganno_jax.describe(params)


def test_a_stack_beside_one_that_is_named_by_metadata_is_said_with_it():
    params = {"a": scanned(), "b": {"dense": ones(kernel=(3, 4, 4), bias=(3, 4))}}
    found = {"a/ScanBlock_0/Dense_0/kernel": 1, "b": 1}
    assert ganno_jax.describe(params).endswith(f"looks stacked: stacked={found}")


def test_labels_and_stacks_are_not_both_taken():
    params = {"blocks": ones(kernel=(3, 4, 4), bias=(3, 4)), "head": ones(kernel=(4, 2))}
    labels = {"blocks": 0, "head": 1}
    optimizer = ganno_jax.optimizer(4, layers=labels, stacked={"blocks": 1})
    said = r"`stacked` and labels as `layers` do not go together; got \{'blocks': 1\}"
    with pytest.raises(ValueError, match=said):
        optimizer.init(params)
    with pytest.raises(ValueError, match=said):
        ganno_jax.describe(params, layers=labels, stacked={"blocks": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = ganno_jax.optimizer(4, layers=labels).init(params)
    assert state.layer_names == ("0", "1")


@pytest.mark.parametrize("stacked", ["blocks", ["blocks"], {"blocks": "1"}, {"blocks": 1.0}, 1])
def test_what_is_no_dict_of_axes_is_named(stacked):
    params = {"blocks": ones(kernel=(3, 4, 4))}
    for use in (
        lambda: ganno_jax.optimizer(4, stacked=stacked).init(params),
        lambda: ganno_jax.describe(params, stacked=stacked),
        lambda: by_module(params, stacked),
    ):
        with pytest.raises(ValueError, match=r"`stacked` must be a dict from .*; got") as caught:
            use()
        assert repr(stacked) in str(caught.value)
