"""Layers of networks as libraries name and stack them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from ganno_jax.inner import apply_rates
from ganno_jax.inner.layer_names import kind_of
from ganno_jax.inner.layers import (
    by_module,
    squared_norms,
)
from ganno_jax.inner.stacks import stacks_by_metadata

from .test_layers import tree


def kernels(*names):
    """A nested dict with a matrix at each path."""
    tree = {}
    for name in names:
        at = tree
        for part in name.split("/"):
            at = at.setdefault(part, {})
        at["kernel"] = jnp.ones((2, 2))
    return tree


FAMILIES = {
    "BERT": (
        "embeddings/word_embeddings",
        "encoder/layer/0/attention/self/query",
        "encoder/layer/0/attention/output/dense",
        "encoder/layer/0/intermediate/dense",
        "encoder/layer/0/output/dense",
        "encoder/layer/10/attention/self/query",
        "pooler/dense",
    ),
    "GPT-2": (
        "transformer/wte",
        "transformer/h/0/attn/c_attn",
        "transformer/h/0/attn/c_proj",
        "transformer/h/0/mlp/c_fc",
        "transformer/h/0/mlp/c_proj",
        "transformer/h/2/attn/c_attn",
        "lm_head",
    ),
    "Llama": (
        "model/embed_tokens",
        "model/layers/0/self_attn/k_proj",
        "model/layers/0/self_attn/o_proj",
        "model/layers/0/mlp/gate_proj",
        "model/layers/0/mlp/down_proj",
        "model/layers/1/self_attn/k_proj",
        "lm_head",
    ),
    "T5": (
        "shared",
        "encoder/block/0/layer/0/SelfAttention/q",
        "encoder/block/0/layer/0/SelfAttention/o",
        "encoder/block/0/layer/1/DenseReluDense/wi",
        "encoder/block/0/layer/1/DenseReluDense/wo",
        "decoder/block/0/layer/0/SelfAttention/q",
        "decoder/block/0/layer/1/EncDecAttention/q",
        "decoder/block/0/layer/2/DenseReluDense/wi",
        "lm_head",
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_known_networks_follow_the_data(family):
    assert by_module(kernels(*reversed(FAMILIES[family]))).names == FAMILIES[family]


def test_the_norms_of_a_llama_block_join_its_layers():
    params = kernels(*FAMILIES["Llama"])
    params["model"]["layers"]["0"] |= {"input_layernorm": {"weight": jnp.ones(2)}}
    params["model"] |= {"norm": {"weight": jnp.ones(2)}}
    assert by_module(params).names == FAMILIES["Llama"]


@pytest.mark.parametrize(
    "flat",
    [("w1", "b1", "w2", "b2"), ("w_in", "b_in", "w_out", "b_out"), ("kernel", "bias", "w9", "b9")],
)
def test_vectors_of_a_flat_dict_join_their_matrix(flat):
    params = {n: jnp.ones((2, 3)) if i % 2 == 0 else jnp.ones(3) for i, n in enumerate(flat)}
    layers = by_module(params)
    assert set(layers.names) == {flat[0], flat[2]}
    assert layers.sizes == (9, 9)


def test_attributes_are_layers_in_the_order_of_their_declaration():
    class Net(eqx.Module):
        second: eqx.nn.Linear
        first: eqx.nn.Linear

    key = jax.random.key(0)
    assert by_module(Net(eqx.nn.Linear(2, 2, key=key), eqx.nn.Linear(2, 2, key=key))).names == (
        "second",
        "first",
    )


def test_each_slice_of_a_stack_is_a_layer():
    block = tree("attention", "mlp", norm=("scale", "bias"))
    params = {
        "embed": {"kernel": jnp.ones((5, 3))},
        "blocks": jax.tree.map(lambda x: jnp.stack([x, 2 * x, 3 * x]), block),
        "head": {"kernel": jnp.ones((3, 5))},
    }
    layers = by_module(params, stacked={"blocks": 1})
    blocks = [f"blocks/{m}[{i}]" for i in range(3) for m in ("attention", "mlp")]
    assert layers.names == ("embed", *blocks, "head")
    assert layers.sizes == (15, 9, 15, 9, 15, 9, 15, 15)  # the norm joins the dense layer before it
    assert set(layers.kinds) == {"dense"}
    np.testing.assert_allclose(squared_norms(params, layers)[1:7:2], [9, 36, 81])
    rates = jnp.arange(8.0)
    updates = apply_rates(params, layers, rates)["blocks"]
    np.testing.assert_allclose(updates["attention"]["kernel"][:, 0, 0], [-1, -2 * 3, -3 * 5])
    np.testing.assert_allclose(updates["norm"]["bias"][:, 0], [-2, -2 * 4, -3 * 6])
    assert sum(layers.decayed) == 4  # matrices, not stacks of vectors
    with pytest.raises(ValueError, match=r"`stacked` must give .* 'block': 1 for 0 parameters"):
        by_module(params, stacked={"block": 1})


def test_kinds_of_attention_embeddings_and_short_convolutions_are_known():
    params = {
        "attention": {"query": {"kernel": jnp.ones((4, 2, 2)), "bias": jnp.ones((2, 2))}},
        "conv": {"kernel": jnp.ones((3, 4, 4))},
        "wte": {"embedding": jnp.ones((9, 4))},
    }
    layers = by_module(params)
    assert layers.kinds == ("dense", "dense", "conv")
    assert layers.decayed == (False, True, True, True)  # no bias, whatever its shape
    assert kind_of(("attention", "query", "kernel"), 3) == "attention"
    assert kind_of(("wte", "embedding"), 2) == "embedding"


@pytest.mark.parametrize(
    "names", [("lora_a", "lora_b"), ("kernel_lora_a", "kernel_lora_b"), ("A", "B")]
)
def test_the_factors_of_a_low_rank_change_are_layers_of_their_own(names):
    factors = {names[0]: jnp.ones((4, 2)), names[1]: jnp.zeros((2, 4))}
    layers = by_module({"dense": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)} | factors})
    assert set(layers.names) == {"dense", *(f"dense/{name}" for name in names)}
    inside = by_module({"dense": {"lora": {"down": jnp.ones((4, 2)), "up": jnp.ones((2, 4))}}})
    assert inside.names == ("dense/lora/down", "dense/lora/up")


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
            return nn.Dense(2)(x)

    return Net().init(jax.random.key(0), jnp.ones((1, 3)))["params"]


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
