"""Every network: shapes, number of parameters, order of layers, masks that make it narrower."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.tasks import networks


def num_parameters(module, x):
    shapes = jax.eval_shape(lambda key: module.init(key, x), jax.random.key(0))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def image_like(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def tokens(batch, length, vocab_size):
    return jnp.asarray(np.random.default_rng(0).integers(0, vocab_size, (batch, length)))


# name, settings, input shape or tokens, parameters counted by hand
MEMBERS = [
    ("softmax", {}, (2, 8, 8, 1), 64 * 10 + 10),
    ("mlp", {"features": (32,)}, (2, 8, 8, 1), 64 * 32 + 32 + 32 * 10 + 10),
    ("cnn", {}, (2, 28, 28, 1), 160 + (144 * 32 + 32) + (7 * 7 * 32 * 10 + 10)),
    (
        "deep_cnn",
        {},
        (2, 8, 8, 3),
        (27 * 32 + 32) + (288 * 32 + 32) + (288 * 64 + 64) + (576 * 64 + 64) + (256 * 10 + 10),
    ),
    (
        "random_cnn",
        {},
        (2, 8, 8, 1),
        (9 * 9 + 9) + (81 * 24 + 24) + (216 * 249 + 249) + (4 * 249 * 10 + 10),
    ),
    ("resnet18", {}, (2, 32, 32, 3), 11_173_962),
    (
        "resnet8",
        {"channels": 2},
        (2, 8, 8, 1),
        (18 + 4) + (36 + 36 + 8) + (72 + 144 + 8 + 16 + 8) + (288 + 576 + 32 + 32 + 16) + 90,
    ),
    (
        "wide_resnet",
        {"channels": 2, "widen": 2, "blocks": 1},
        (2, 8, 8, 1),
        (18 + 4)
        + (72 + 144 + 16 + 8 + 8)
        + (288 + 576 + 32 + 32 + 16)
        + (1152 + 2304 + 64 + 128 + 32)
        + 170,
    ),
    (
        "vit",
        {"features": 8, "num_blocks": 1, "heads": 2},
        (2, 8, 8, 1),
        (16 * 8 + 8) + 4 * 8 + (16 + 8 * 24 + 24 + 72 + 16 + 8 * 32 + 32 + 32 * 8 + 8) + 16 + 90,
    ),
    (
        "transformer",
        {"vocab_size": 5, "features": 8, "num_blocks": 1, "heads": 2, "max_length": 6},
        (2, 6),
        40 + 48 + (16 + 8 * 24 + 24 + 72 + 16 + 8 * 32 + 32 + 32 * 8 + 8) + 16 + 45,
    ),
    (
        "gru",
        {"vocab_size": 5, "features": (3,), "embed_features": 4},
        (2, 6),
        20 + 3 * (4 * 3 + 3) + 3 * 3 * 3 + 3 + (3 * 5 + 5),
    ),
    (
        "lstm",
        {"vocab_size": 5, "features": (3,), "embed_features": 4},
        (2, 6),
        20 + 4 * (4 * 3 + 3 * 3 + 3) + (3 * 5 + 5),
    ),
    (
        "resnet14",
        {"channels": 2},
        (2, 8, 8, 1),
        (18 + 4)
        + 2 * (36 + 36 + 8)
        + (72 + 144 + 8 + 16 + 8)
        + (144 + 144 + 16)
        + (288 + 576 + 32 + 32 + 16)
        + (576 + 576 + 32)
        + 90,
    ),
    (
        "mixer",
        {"features": 8, "patch_features": 3, "num_blocks": 1},
        (2, 8, 8, 1),
        (16 * 8 + 8) + (16 + (4 * 3 + 3) + (3 * 4 + 4)) + (16 + 8 * 32 + 32 + 32 * 8 + 8) + 16 + 90,
    ),
    (
        "tabular",
        {
            "cardinalities": (3, 2),
            "num_classes": 10,
            "embed_features": 4,
            "features": 6,
            "num_blocks": 1,
        },
        (2, 5, "table"),
        (12 + 8) + ((8 + 3) * 6 + 6) + (12 + 6 * 12 + 12 + 12 * 6 + 6) + 12 + 70,
    ),
    ("autoencoder", {"features": (3,)}, (2, 4, 4, 1), 16 * 3 + 3 + 3 * 16 + 16),
    ("cart_pole", {"features": (3,)}, (2, 9, "episode"), (4 * 3 + 3) + (3 + 1)),
]


def initialize(module, key, x, **options):
    """`module.init` in one compiled call: quicker than a compiled call per operation."""
    return jax.jit(lambda key: module.init(key, x, **options))(key)


def example(shape):
    if shape[-1] == "table":  # two columns of categories below 2 and numbers
        return image_like(*shape[:2]).at[:, :2].set(1.0)
    if shape[-1] == "episode":  # a start and chances
        return image_like(*shape[:2])
    return tokens(*shape, 5) if len(shape) == 2 else image_like(*shape)


def test_every_network_is_a_member_of_the_table_below():
    assert {name for name, *_ in MEMBERS} == set(networks.NETWORKS)


@pytest.mark.parametrize(
    ("name", "settings", "shape", "parameters"), MEMBERS, ids=lambda v: str(v)[:12]
)
def test_parameters_are_as_many_as_counted_by_hand_and_outputs_have_their_shape(
    name, settings, shape, parameters
):
    module, x = networks.build(name, **settings), example(shape)
    assert num_parameters(module, x) == parameters
    variables = jax.eval_shape(lambda key: module.init(key, x), jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables["params"]))
    y = jax.eval_shape(lambda v: module.apply(v, x, train=False), variables)
    classified = (*shape, 5) if len(shape) == 2 else (shape[0], 10)
    assert y.shape == {"autoencoder": shape, "cart_pole": (2, 2)}.get(name, classified)
    assert y.dtype == jnp.float32


def test_layers_sorted_naturally_are_in_order_of_depth():
    def order(module, x):
        params = jax.eval_shape(lambda key: module.init(key, x), jax.random.key(0))["params"]

        def natural(name):
            return [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]

        return sorted(params, key=natural)

    x = image_like(1, 8, 8, 1)
    assert order(networks.MLP((4,) * 11), x) == [f"dense{i}" for i in range(12)]
    assert order(networks.CNN((2, 2)), x) == ["conv0", "conv1", "dense0"]


def test_he_normal_weights_have_variance_two_over_fan_in_and_biases_are_zero(key):
    params = initialize(networks.MLP((400,)), key, image_like(1, 300))["params"]
    variance = np.var(params["dense0"]["kernel"])
    # 120,000 draws: the variance is known to 0.4 %.
    np.testing.assert_allclose(variance, 2 / 300, rtol=0.02)
    assert not params["dense0"]["bias"].any()
    masked = initialize(networks.MLP((400,)), key, image_like(1, 300), width=0.25)["params"]
    active = masked["dense1"]["kernel"][:100]
    np.testing.assert_allclose(np.var(active), 1 / 100, rtol=0.15)
    assert not masked["dense1"]["kernel"][100:].any()


def test_unknown_names_and_impossible_sizes_say_what_is_needed():
    with pytest.raises(ValueError, match=r"no network 'cnnn'; there are: softmax, mlp, cnn"):
        networks.build("cnnn")
    with pytest.raises(ValueError, match="`features` must be at least 1"):
        networks.MLP((32, 0))
    with pytest.raises(ValueError, match="`num_classes`"):
        networks.build("cnn", num_classes=-1)
    with pytest.raises(ValueError, match="no activation 'sin'"):
        networks.MLP(activation="sin")
    with pytest.raises(ValueError, match="`pools` needs one entry per convolution, 2"):
        networks.CNN((2, 3), pools=(2,))
    with pytest.raises(ValueError, match="no norm 'layer'"):
        networks.ResNet(norm="layer")
    with pytest.raises(ValueError, match="`heads` must divide"):
        networks.build("vit", features=10, heads=4)
    with pytest.raises(ValueError, match="one per hidden layer"):
        networks.MLP((4, 4)).init(jax.random.key(0), jnp.ones((1, 2)), width=jnp.ones(3))
