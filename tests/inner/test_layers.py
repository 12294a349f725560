"""Which leaves form a layer, and what is added up over them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ganno_jax.inner import LayerMap, apply_rates
from ganno_jax.inner.layers import (
    by_labels,
    by_module,
    by_path,
    inner_products,
    squared_norms,
)
from ganno_jax.inner.sizes import sizes_in_use


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
