"""What a network computes: masked units, routes, normalization, precision, the order of inputs."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.tasks import networks

from .test_networks import image_like, initialize, tokens


def mean_loss(module, params, x, **options):
    return jnp.mean(jnp.sin(3 * module.apply({"params": params}, x, **options)))


def test_a_masked_mlp_computes_and_learns_as_a_narrower_one(key):
    x = image_like(4, 6)
    wide, narrow = networks.MLP((8, 6), num_classes=3), networks.MLP((4, 2), num_classes=3)
    width = jnp.asarray([0.5, 1 / 3])
    params = initialize(wide, key, x, width=width)["params"]

    def cut(tree):
        sizes = {"dense0": (6, 4), "dense1": (4, 2), "dense2": (2, 3)}
        return {
            name: {"kernel": tree[name]["kernel"][:i, :o], "bias": tree[name]["bias"][:o]}
            for name, (i, o) in sizes.items()
        }

    loss, gradients = jax.jit(jax.value_and_grad(lambda p, w: mean_loss(wide, p, x, width=w)))(
        params, width
    )
    narrow_step = jax.jit(jax.value_and_grad(lambda p: mean_loss(narrow, p, x)))
    expected, narrow_gradients = narrow_step(cut(params))
    chex.assert_trees_all_close((loss, cut(gradients)), (expected, narrow_gradients), rtol=1e-5)
    # Nothing else has a gradient or a weight.
    for tree, part in ((gradients, narrow_gradients), (params, cut(params))):
        chex.assert_trees_all_close(
            sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)),
            sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(part)),
            rtol=1e-5,
        )


def test_a_masked_random_cnn_is_a_smaller_member_of_its_family(key):
    x = image_like(2, 8, 8, 1)
    wide, narrow = networks.random_cnn((4, 6, 5)), networks.random_cnn((2, 3, 4))
    params = initialize(wide, key, x, width=jnp.asarray([0.5, 0.5, 0.8]))["params"]
    sizes = {"conv0": (1, 2), "conv1": (2, 3), "conv2": (3, 4)}
    small = {
        name: {"kernel": params[name]["kernel"][:, :, :i, :o], "bias": params[name]["bias"][:o]}
        for name, (i, o) in sizes.items()
    }
    dense = params["dense0"]["kernel"].reshape(4, 5, 10)[:, :4].reshape(16, 10)
    small["dense0"] = {"kernel": dense, "bias": params["dense0"]["bias"]}
    width = jnp.asarray([0.5, 0.5, 0.8])
    chex.assert_trees_all_close(
        jax.jit(wide.apply)({"params": params}, x, width=width),
        jax.jit(narrow.apply)({"params": small}, x),
        rtol=1e-5,
        atol=1e-6,  # sums in another order
    )


def test_one_width_per_training_is_one_vmap(key):
    x = image_like(2, 6)
    module = networks.MLP((8,))
    widths = jnp.asarray([0.25, 1.0])
    params = jax.vmap(lambda w: initialize(module, key, x, width=w)["params"])(widths)
    assert (params["dense0"]["kernel"] != 0).any(1).sum(-1).tolist() == [2, 8]


def test_routes_give_the_same_network(key):
    x = image_like(2, 9, 9, 2)
    cnn = {route: networks.CNN((3, 4), route=route) for route in ("native", "auto")}
    params = initialize(cnn["native"], key, x)["params"]
    values = {
        route: jax.jit(jax.value_and_grad(lambda p, m=module: mean_loss(m, p, x)))(params)
        for route, module in cnn.items()
    }
    # Float32 sums in another order.
    chex.assert_trees_all_close(values["auto"], values["native"], rtol=1e-4, atol=1e-6)


def test_pooling_before_the_bias_is_the_usual_cnn(key):
    x = image_like(2, 8, 8, 1)
    params = initialize(networks.CNN((3,)), key, x)["params"]
    params["conv0"]["bias"] = jnp.asarray([0.3, -0.2, 0.1])
    y = jax.lax.conv_general_dilated(
        x, params["conv0"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    y = jax.nn.relu(y + params["conv0"]["bias"])
    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    expected = y.reshape(2, -1) @ params["dense0"]["kernel"] + params["dense0"]["bias"]
    ours = jax.jit(networks.CNN((3,)).apply)({"params": params}, x)
    chex.assert_trees_all_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_the_step_size_features_can_differentiate_forward_with_the_default_route(key):
    x = image_like(2, 8, 8, 1)
    module = networks.CNN((2, 3))
    params = initialize(module, key, x)["params"]
    direction = jax.tree.map(lambda p: jnp.cos(100 * p), params)

    @jax.jit
    def both_modes(params, direction):
        loss = partial(mean_loss, module, x=x)
        return jax.jvp(loss, (params,), (direction,))[1], jax.grad(loss)(params)

    slope, gradient = both_modes(params, direction)
    inner = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, direction)))
    np.testing.assert_allclose(slope, inner, rtol=1e-4, atol=1e-5)


TINY = {"stage_sizes": (1,), "channels": 2, "widen": 2}


def test_batch_statistics_move_by_a_tenth_and_only_in_training(key):
    x = image_like(4, 4, 4, 1)
    module = networks.ResNet(**TINY)
    variables = initialize(module, key, x)
    forward = jax.jit(module.apply, static_argnames=("train", "mutable"))
    logits, new = forward(variables, x, train=False, mutable=("batch_stats",))
    assert logits.shape == (4, 10)
    chex.assert_trees_all_equal(new["batch_stats"], variables["batch_stats"])
    _, new = forward(variables, x, train=True, mutable=("batch_stats",))
    y = jax.lax.conv_general_dilated(
        x,
        variables["params"]["stem"]["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    stem = new["batch_stats"]["stem_norm"]
    np.testing.assert_allclose(stem["mean"], 0.1 * y.mean((0, 1, 2)), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(stem["var"], 0.9 + 0.1 * y.var((0, 1, 2)), rtol=1e-5)


def test_group_norm_has_no_state_and_keeps_examples_apart(key):
    x = image_like(4, 4, 4, 1)
    module = networks.ResNet(norm="group", **TINY)
    variables = initialize(module, key, x)
    assert set(variables) == {"params"}
    forward = jax.jit(partial(module.apply, train=True))
    changed = forward(variables, x.at[1:].set(0.0))
    chex.assert_trees_all_close(changed[0], forward(variables, x)[0], atol=1e-5)


@pytest.mark.slow
def test_remat_changes_nothing_but_memory(key):
    x = image_like(2, 4, 4, 1)
    gradients = []
    params = initialize(networks.ResNet(norm="group", **TINY), key, x)["params"]
    for remat in (False, True):
        module = networks.ResNet(norm="group", remat=remat, **TINY)
        gradients.append(
            jax.jit(jax.grad(lambda p, m=module: mean_loss(m, p, x, train=True)))(params)
        )
    chex.assert_trees_all_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "module",
    [
        networks.ResNet(dtype=jnp.bfloat16, norm="group", **TINY),
        networks.CNN((4, 4), dtype=jnp.bfloat16),
        networks.MLP((4,), dtype="bfloat16"),
    ],
    ids=["resnet", "cnn", "mlp"],
)
def test_bfloat16_computation_keeps_float32_parameters_and_logits(key, module):
    x = image_like(2, 4, 4, 1)
    variables = jax.eval_shape(lambda k: module.init(k, x), key)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    text = jax.jit(module.apply).lower(variables, x).as_text()
    assert "bf16" in text
    assert jax.eval_shape(module.apply, variables, x).dtype == jnp.float32


@pytest.mark.parametrize("name", ["gru", "lstm", "transformer"])
def test_language_models_do_not_look_ahead(key, name):
    module = networks.build(name, vocab_size=5)
    x = tokens(2, 6, 5)
    changed = x.at[:, 4:].set((x[:, 4:] + 1) % 5)
    variables = initialize(module, key, x)
    before, after = map(partial(jax.jit(module.apply), variables), (x, changed))
    chex.assert_trees_all_close(before[:, :4], after[:, :4], atol=1e-6)
    assert jnp.abs(before[:, 4] - after[:, 4]).max() > 1e-3


def test_a_mixer_without_its_patch_perceptrons_takes_patches_in_any_order(key):
    x = image_like(2, 8, 8, 1)
    module = networks.Mixer(features=8, patch_features=3, num_blocks=1)
    params = initialize(module, key, x)["params"]
    apply = jax.jit(lambda params, x: module.apply({"params": params}, x))
    swapped = jnp.concatenate([x[:, 4:], x[:, :4]], 1)  # the upper two patches and the lower two
    assert jnp.abs(apply(params, x) - apply(params, swapped)).max() > 1e-3
    params["block0"]["dense1"] = jax.tree.map(jnp.zeros_like, params["block0"]["dense1"])
    chex.assert_trees_all_close(apply(params, x), apply(params, swapped), atol=1e-5)


def test_a_category_is_looked_up_in_its_own_column_only(key):
    x = jnp.asarray([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]])
    module = networks.Tabular(cardinalities=(2, 2), features=4, num_blocks=1)
    params = initialize(module, key, x)["params"]

    @jax.jit
    def of_row(params, x):
        return jax.grad(lambda p: module.apply({"params": p}, x).sum())(params)

    gradient = of_row(params, x[:1])
    assert (np.abs(gradient["embed0"]["embedding"]).sum(1) > 0).tolist() == [False, True]
    assert (np.abs(gradient["embed1"]["embedding"]).sum(1) > 0).tolist() == [True, False]
    with pytest.raises(ValueError, match="2 columns of categories first; got"):
        module.apply({"params": params}, x[:, :1])
