"""Layers of networks as libraries name and stack them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ganno_jax.inner import apply_rates
from ganno_jax.inner.layer_names import kind_of, path_names
from ganno_jax.inner.layers import (
    by_module,
    squared_norms,
)

from .test_layers import tree

# Layers in order, one a line: its path, its own leaves, and after a + the norms and biases that join it. Each list has
# two blocks of the network, whose numbers text would order the wrong way round.
FAMILIES = {
    "BERT": """
        bert/embeddings/position_embeddings: embedding
        bert/embeddings/token_type_embeddings: embedding
        bert/embeddings/word_embeddings: embedding + bert/embeddings/LayerNorm
        bert/encoder/layer/2/attention/self/key: kernel bias
        bert/encoder/layer/2/attention/self/query: kernel bias
        bert/encoder/layer/2/attention/self/value: kernel bias
        bert/encoder/layer/2/attention/output/dense: kernel bias + bert/encoder/layer/2/attention/output/LayerNorm
        bert/encoder/layer/2/intermediate/dense: kernel bias
        bert/encoder/layer/2/output/dense: kernel bias + bert/encoder/layer/2/output/LayerNorm
        bert/encoder/layer/10/attention/self/key: kernel bias
        bert/encoder/layer/10/attention/self/query: kernel bias
        bert/encoder/layer/10/attention/self/value: kernel bias
        bert/encoder/layer/10/attention/output/dense: kernel bias + bert/encoder/layer/10/attention/output/LayerNorm
        bert/encoder/layer/10/intermediate/dense: kernel bias
        bert/encoder/layer/10/output/dense: kernel bias + bert/encoder/layer/10/output/LayerNorm
        bert/pooler/dense: kernel bias
        classifier: kernel bias
    """,
    "BERT with tied words": """
        bert/embeddings/word_embeddings: embedding + bert/embeddings/LayerNorm
        bert/encoder/layer/10/output/dense: kernel bias + bert/encoder/layer/10/output/LayerNorm
        cls/predictions/transform/dense: kernel bias + cls/predictions/transform/LayerNorm cls/predictions/bias
    """,
    "GPT-2": """
        transformer/wpe: embedding
        transformer/wte: embedding
        transformer/h/2/attn/c_attn: kernel bias + transformer/h/2/ln_1
        transformer/h/2/attn/c_proj: kernel bias + transformer/h/2/ln_2
        transformer/h/2/mlp/c_fc: kernel bias
        transformer/h/2/mlp/c_proj: kernel bias
        transformer/h/10/attn/c_attn: kernel bias + transformer/h/10/ln_1
        transformer/h/10/attn/c_proj: kernel bias + transformer/h/10/ln_2
        transformer/h/10/mlp/c_fc: kernel bias
        transformer/h/10/mlp/c_proj: kernel bias + transformer/ln_f
        lm_head: kernel
    """,
    "Llama": """
        model/embed_tokens: embedding
        model/layers/2/self_attn/k_proj: kernel + model/layers/2/input_layernorm/weight
        model/layers/2/self_attn/q_proj: kernel
        model/layers/2/self_attn/v_proj: kernel
        model/layers/2/self_attn/o_proj: kernel + model/layers/2/post_attention_layernorm/weight
        model/layers/2/mlp/gate_proj: kernel
        model/layers/2/mlp/up_proj: kernel
        model/layers/2/mlp/down_proj: kernel
        model/layers/10/self_attn/k_proj: kernel + model/layers/10/input_layernorm/weight
        model/layers/10/self_attn/q_proj: kernel
        model/layers/10/self_attn/v_proj: kernel
        model/layers/10/self_attn/o_proj: kernel + model/layers/10/post_attention_layernorm/weight
        model/layers/10/mlp/gate_proj: kernel
        model/layers/10/mlp/up_proj: kernel
        model/layers/10/mlp/down_proj: kernel + model/norm/weight
        lm_head: kernel
    """,
    "T5": """
        shared: embedding
        encoder/block/2/layer/0/SelfAttention/k: kernel + encoder/block/2/layer/0/layer_norm/weight
        encoder/block/2/layer/0/SelfAttention/q: kernel
        encoder/block/2/layer/0/SelfAttention/v: kernel
        encoder/block/2/layer/0/SelfAttention/relative_attention_bias: embedding
        encoder/block/2/layer/0/SelfAttention/o: kernel
        encoder/block/2/layer/1/DenseReluDense/wi_0: kernel + encoder/block/2/layer/1/layer_norm/weight
        encoder/block/2/layer/1/DenseReluDense/wi_1: kernel
        encoder/block/2/layer/1/DenseReluDense/wo: kernel
        encoder/block/10/layer/0/SelfAttention/q: kernel + encoder/block/10/layer/0/layer_norm/weight
        encoder/block/10/layer/0/SelfAttention/o: kernel
        encoder/block/10/layer/1/DenseReluDense/wi: kernel + encoder/block/10/layer/1/layer_norm/weight
        encoder/block/10/layer/1/DenseReluDense/wo: kernel + encoder/final_layer_norm/weight
        decoder/block/2/layer/0/SelfAttention/q: kernel + decoder/block/2/layer/0/layer_norm/weight
        decoder/block/2/layer/0/SelfAttention/o: kernel
        decoder/block/2/layer/1/EncDecAttention/q: kernel + decoder/block/2/layer/1/layer_norm/weight
        decoder/block/2/layer/1/EncDecAttention/o: kernel
        decoder/block/2/layer/2/DenseReluDense/wi: kernel + decoder/block/2/layer/2/layer_norm/weight
        decoder/block/2/layer/2/DenseReluDense/wo: kernel
        decoder/block/10/layer/0/SelfAttention/q: kernel + decoder/block/10/layer/0/layer_norm/weight
        decoder/block/10/layer/1/EncDecAttention/q: kernel + decoder/block/10/layer/1/layer_norm/weight
        decoder/block/10/layer/2/DenseReluDense/wi: kernel + decoder/block/10/layer/2/layer_norm/weight
        decoder/block/10/layer/2/DenseReluDense/wo: kernel + decoder/final_layer_norm/weight
        lm_head: kernel
    """,
    "a ViT of Linen": """
        cls_token:
        embedding: kernel bias
        positions:
        encoderblock_2/MultiHeadDotProductAttention_0/key: kernel bias
        encoderblock_2/MultiHeadDotProductAttention_0/query: kernel bias
        encoderblock_2/MultiHeadDotProductAttention_0/value: kernel bias
        encoderblock_2/MultiHeadDotProductAttention_0/out: kernel bias
        encoderblock_2/Dense_0: kernel bias + encoderblock_2/LayerNorm_0
        encoderblock_2/Dense_1: kernel bias + encoderblock_2/LayerNorm_1
        encoderblock_10/MultiHeadDotProductAttention_0/query: kernel bias
        encoderblock_10/MultiHeadDotProductAttention_0/out: kernel bias
        encoderblock_10/Dense_0: kernel bias
        encoderblock_10/Dense_1: kernel bias + norm
        head: kernel bias
    """,
}


def layers_of(family):
    """Of each layer, in order: its name and the paths of all its leaves."""
    found = {}
    for line in family.strip().splitlines():
        name, _, rest = line.strip().partition(":")
        own, _, joined = rest.partition(" + ")
        joined = [
            leaf
            for path in joined.split()
            for leaf in ([path] if path.endswith(("weight", "bias")) else leaves(path))
        ]
        found[name] = {*(f"{name}/{leaf}" for leaf in own.split()), *joined} or {name}
    return found


def leaves(norm):
    return [f"{norm}/scale", f"{norm}/bias"]


def nested(paths):
    """A nested dict with a matrix or a vector at each path."""
    params = {}
    for path in paths:
        *modules, last = path.split("/")
        at = params
        for part in modules:
            at = at.setdefault(part, {})
        at[last] = jnp.ones((2, 2) if last in ("kernel", "embedding", "positions") else 2)
    return params


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_known_networks_follow_the_data_and_have_their_norms(family):
    wanted = layers_of(FAMILIES[family])
    params = nested(sorted(set().union(*wanted.values()), reverse=True))
    layers = by_module(params)
    assert layers.names == tuple(wanted)
    assert members(layers, params) == list(wanted.values())


def members(layers, params):
    """The paths of the leaves of each layer."""
    keyed = jax.tree_util.tree_leaves_with_path(params)
    paths = ["/".join(path_names(path)) for path, _ in keyed]
    return [{paths[i] for i in group} for group in layers.leaves]


def test_a_list_of_modules_is_in_its_order_however_long_it_is():
    class Block(nnx.Module):
        def __init__(self, rngs):
            self.out, self.norm = nnx.Linear(2, 2, rngs=rngs), nnx.LayerNorm(2, rngs=rngs)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(3, 2, rngs=rngs)
            self.layers = nnx.List([Block(rngs) for _ in range(12)])
            self.norm = nnx.LayerNorm(2, rngs=rngs)
            self.head = nnx.Linear(2, 3, rngs=rngs)

    params = nnx.state(Net(nnx.Rngs(0)), nnx.Param)
    layers = by_module(params)
    assert layers.names == ("embed", *(f"layers/{i}/out" for i in range(12)), "head")
    assert layers.sizes == (6, *[10] * 11, 14, 9)  # the last norm joins the last block

    class Deep(eqx.Module):
        layers: list[eqx.nn.Linear]
        head: eqx.nn.Linear

    key = jax.random.key(0)
    linear = eqx.nn.Linear(2, 2, key=key)
    deep = Deep([linear] * 12, linear)
    assert by_module(deep).names == (*(f"layers/{i}" for i in range(12)), "head")
    assert by_module({"body": deep}).names[9:12] == tuple(f"body/layers/{i}" for i in (9, 10, 11))


def test_a_norm_behind_a_stack_joins_the_layer_behind_it():
    block = tree("attn", "mlp", input_norm=("scale", "bias"))
    params = {
        **tree("embed", "head", norm=("scale", "bias")),
        "blocks": jax.tree.map(lambda x: jnp.stack([x, x]), block),
    }
    layers = by_module(params, stacked={"blocks": 1})
    blocks = [f"blocks/{m}[{i}]" for i in range(2) for m in ("attn", "mlp")]
    assert layers.names == ("embed", *blocks, "head")
    assert layers.sizes == (9, 15, 9, 15, 9, 15)


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
