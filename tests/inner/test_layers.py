"""Which leaves form a layer, and what is added up over them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

from ganno_jax.inner import LayerMap, apply_rates
from ganno_jax.inner.layer_names import kind_of
from ganno_jax.inner.layers import (
    by_labels,
    by_module,
    by_path,
    inner_products,
    squared_norms,
)
from ganno_jax.inner.sizes import sizes_in_use
from ganno_jax.inner.stacks import stacks_by_metadata


def tree(*modules, **leaves):
    """Modules with a kernel and a bias; further ones by their leaves' names."""
    params = {name: {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)} for name in modules}
    return params | {n: {leaf: jnp.ones(3) for leaf in parts} for n, parts in leaves.items()}


def members(layers: LayerMap, params):
    """Names of the leaves of each layer."""
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(params)]
    return [{paths[i] for i in group} for group in layers.leaves]


def test_layers_are_ordered_as_people_count():
    layers = by_module(tree("dense10", "dense2", "dense0"))
    assert layers.names == ("dense0", "dense2", "dense10")


def test_inputs_come_first_and_outputs_last():
    layers = by_module(tree("head", "block1", "stem", "block0"))
    assert layers.names == ("stem", "block0", "block1", "head")


def test_a_norm_joins_the_layer_of_its_number():
    norm = ("scale", "bias")
    params = tree("conv0", "conv1", "dense", norm0=norm, norm1=norm)
    layers = by_module(params)
    assert layers.names == ("conv0", "conv1", "dense")
    assert members(layers, params)[1] == {
        "['conv1']['kernel']",
        "['conv1']['bias']",
        "['norm1']['scale']",
        "['norm1']['bias']",
    }
    assert layers.sizes == (15, 15, 9)


def test_a_norm_does_not_join_a_layer_whose_number_only_ends_like_its_own():
    params = tree("first", "second10", norm0=("scale", "bias"))
    assert "['norm0']['scale']" in members(by_module(params), params)[0]


def test_a_norm_without_a_number_joins_the_layer_before_it():
    params = {"block": tree("attention", "mlp", norm=("scale", "bias")), **tree("head")}
    layers = by_module(params)
    assert layers.names == ("block/attention", "block/mlp", "head")
    assert "['block']['norm']['scale']" in members(layers, params)[1]


def test_every_leaf_is_in_exactly_one_layer():
    params = {"a": tree("x0", "x1", bn0=("scale", "bias")), "b": jnp.ones(4), **tree("head")}
    layers = by_module(params)
    flat = sorted(i for group in layers.leaves for i in group)
    assert flat == list(range(len(jax.tree.leaves(params))))
    assert sum(layers.sizes) == sum(x.size for x in jax.tree.leaves(params))
    for leaf, (layer,) in enumerate(layers.leaf_layers):
        assert leaf in layers.leaves[layer]


def test_kinds_follow_from_the_largest_leaf():
    params = {
        "layer0": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)},
        "layer1": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
        "layer2": {"scale": jnp.ones(3), "shift": jnp.ones(3)},
        "layer3": {"temperature": jnp.ones(())},
    }
    assert by_module(params).kinds == ("conv", "dense", "norm", "other")


def test_a_label_tree_groups_leaves_as_in_optax_multi_transform():
    params = tree("dense0", "dense1", "dense2")
    labels = jax.tree.map(lambda _: 0, params) | {"dense1": {"kernel": 1, "bias": 0}}
    layers = by_labels(params, labels)
    assert layers.names == ("0", "1")
    updates = apply_rates(params, layers, jnp.asarray([0.1, 0.5]))
    theirs = optax.multi_transform({0: optax.sgd(0.1), 1: optax.sgd(0.5)}, labels)
    expected, _ = theirs.update(params, theirs.init(params))
    jax.tree.map(np.testing.assert_array_equal, updates, expected)


def test_integer_labels_are_the_order_of_the_layers():
    params = tree("a", "b", "c")
    labels = {
        n: jax.tree.map(lambda _, i=i: i, params[n]) for n, i in zip("abc", (10, 9, 0), strict=True)
    }
    assert by_labels(params, labels).names == ("0", "9", "10")


def test_a_label_tree_of_another_structure_is_refused():
    with pytest.raises(ValueError, match="structure of the parameters"):
        by_labels(tree("dense0"), {"dense1": 0})


def test_a_label_stands_for_all_that_is_below_it():
    params = {"trunk": tree("dense0", "dense1"), "head": tree("dense0")}
    layers = by_labels(params, {"trunk": "a", "head": "b"})
    assert layers.names == ("a", "b")
    assert layers.sizes == (18, 9)


def test_the_array_of_an_nnx_variable_is_no_layer_of_its_own():
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.dense = nnx.Linear(2, 3, rngs=rngs)
            self.norm = nnx.BatchNorm(3, rngs=rngs)
            self.head = nnx.Linear(3, 1, rngs=rngs)

    params = nnx.state(Net(nnx.Rngs(0)), nnx.Param)
    layers = by_module(params)
    assert layers.names == ("dense", "head")
    assert layers.sizes == (2 * 3 + 3 + 3 + 3, 3 + 1)
    assert by_path(params, lambda path: path[-1]).names == ("bias", "kernel", "scale")


def test_a_function_of_the_path_names_the_layers():
    params = {"block0": tree("conv0", "conv1"), "block1": tree("conv0")}
    layers = by_path(params, lambda path: path[0])
    assert layers.names == ("block0", "block1")
    assert layers.sizes == (18, 9)


def test_a_network_without_parameters_is_refused():
    with pytest.raises(ValueError, match="no parameters"):
        by_module({})


def test_a_single_array_is_one_layer():
    assert by_module(jnp.ones(5)).sizes == (5,)


def test_layer_sums_are_those_of_numpy(key):
    params = tree("dense0", "dense1")
    layers = by_module(params)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    left = structure.unflatten(
        [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )
    right = jax.tree.map(jnp.cos, left)

    def flat(x, name):
        return np.concatenate([np.ravel(leaf) for leaf in x[name].values()])

    for i, name in enumerate(layers.names):
        products = inner_products(left, right, layers)
        np.testing.assert_allclose(products[i], flat(left, name) @ flat(right, name), rtol=1e-5)
        np.testing.assert_allclose(
            squared_norms(left, layers)[i], np.sum(flat(left, name) ** 2), rtol=1e-5
        )


def test_rates_keep_the_type_of_the_weights():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), tree("dense0"))
    updates = apply_rates(params, by_module(params), jnp.asarray([0.5]))
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}


def test_parameters_of_masked_units_are_not_in_use():
    kernel = jnp.ones((3, 4)).at[:, 1:].set(0.0)
    params = {
        "dense0": {"kernel": kernel, "bias": jnp.zeros(4)},
        "dense1": {"kernel": jnp.ones((4, 2)).at[1:].set(0.0), "bias": jnp.zeros(2)},
        "dense2": {"kernel": jnp.zeros((2, 5)), "bias": jnp.zeros(5)},  # as some last layers start
    }
    in_use = sizes_in_use(params, by_module(params))
    np.testing.assert_array_equal(in_use, [3 + 1, 2 + 2, 10 + 5])
    whole = jax.tree.map(jnp.ones_like, params)
    np.testing.assert_array_equal(sizes_in_use(whole, by_module(whole)), [16, 10, 15])


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
