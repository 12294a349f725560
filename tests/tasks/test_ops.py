"""All routes of convolution and pooling are one function, forward and backward."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.tasks import ops

OWN_ROUTES = ("im2col", "batch_last", "shifted", "direct")

# Sums of up to 5 * 5 * 3 float32 products taken in another order, values of order 10.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}

CASES = [  # image, kernel size, strides, padding
    ((8, 8), 3, 1, "SAME"),
    ((7, 9), 3, 2, "SAME"),
    ((6, 5), 5, 1, "SAME"),
    ((7, 6), 1, 2, "SAME"),
    ((7, 8), 3, 2, "VALID"),
]


def images(size, channels=3, batch=2, seed=0):
    shape = (batch, *size, channels)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def weights(size, cin=3, cout=4, seed=1):
    shape = (size, size, cin, cout)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def conv_by_loops(x, kernel, strides, padding):
    """The definition in NumPy, float64."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    k = kernel.shape[0]
    if padding == "SAME":
        totals = [max((-(-n // strides) - 1) * strides + k - n, 0) for n in x.shape[1:3]]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in totals), (0, 0)])
    rows = range(0, x.shape[1] - k + 1, strides)
    columns = range(0, x.shape[2] - k + 1, strides)
    out = [
        [np.einsum("bijc,ijco->bo", x[:, r : r + k, c : c + k], kernel) for c in columns]
        for r in rows
    ]
    return np.moveaxis(np.array(out), 2, 0)


@pytest.mark.parametrize("route", ["native", *OWN_ROUTES])
@pytest.mark.parametrize(("size", "k", "strides", "padding"), CASES)
def test_every_route_is_the_convolution_by_definition(route, size, k, strides, padding):
    x, kernel = images(size), weights(k)
    conv = partial(ops.conv, strides=strides, padding=padding, route=route)
    ours = jax.jit(conv)(x, kernel)
    np.testing.assert_allclose(ours, conv_by_loops(x, kernel, strides, padding), **CLOSE)


@pytest.mark.parametrize("route", OWN_ROUTES)
@pytest.mark.parametrize(("size", "k", "strides", "padding"), CASES[:3])
def test_gradients_and_tangents_under_vmap_over_kernels_equal_native(
    route, size, k, strides, padding
):
    xs = jnp.stack([images(size, seed=i) for i in range(2)])
    kernels = jnp.stack([weights(k, seed=i) for i in range(2)])

    def derivatives(route):
        def loss(x, kernel):
            y = ops.conv(x, kernel, strides=strides, padding=padding, route=route)
            return jnp.mean(jnp.sin(y))

        def one(x, kernel):
            gradients = jax.grad(loss, (0, 1))(x, kernel)
            return gradients, jax.jvp(loss, (x, kernel), (x[::-1], kernel[::-1]))

        return jax.jit(jax.vmap(one))(xs, kernels)

    chex.assert_trees_all_close(derivatives(route), derivatives("native"), **CLOSE)


@pytest.mark.parametrize("route", OWN_ROUTES)
def test_one_training_is_the_same_in_a_batch_and_alone(route):
    x = images((6, 6))
    kernels = jnp.stack([weights(3, seed=i) for i in range(3)])
    conv = jax.jit(lambda kernel: ops.conv(x, kernel, route=route))
    batched = jax.vmap(conv)(kernels)
    alone = jnp.stack([conv(kernel) for kernel in kernels])
    chex.assert_trees_all_close(batched, alone, **CLOSE)


def test_the_default_route_makes_no_grouped_convolution_on_a_cpu():
    assert ops.resolve_route("auto") == "direct"
    x, kernels = images((6, 6), channels=16), weights(3, cin=16)[None]
    text = jax.jit(jax.vmap(ops.conv, (None, 0))).lower(x, kernels).as_text()
    assert "feature_group_count = 1 : i64" in text
    assert text.count("feature_group_count") == text.count("feature_group_count = 1 : i64")
    text = jax.jit(jax.vmap(ops.conv, (None, 0))).lower(images((6, 6)), weights(3)[None]).as_text()
    assert "convolution" not in text  # few products per output: patches are written


def test_pooling_takes_the_layout_in_which_the_convolution_leaves_its_result():
    assert ops.pooling_route("auto", (2, 6, 6, 3), (3, 3, 3, 4)) == "batch_last"
    assert ops.pooling_route("auto", (2, 6, 6, 16), (3, 3, 16, 4)) == "direct"
    assert ops.pooling_route("im2col", (2, 6, 6, 3), (3, 3, 3, 4)) == "im2col"


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("cin", [2, 16])  # patches are written; packed on the fly
def test_all_derivatives_of_the_direct_route_equal_native(cin, padding):
    x, kernel = images((7, 6), cin), weights(3, cin)

    def derivatives(route):
        def loss(x, kernel):
            return jnp.mean(jnp.sin(ops.conv(x, kernel, padding=padding, route=route)))

        def along(gradient):  # the Hessian times the arguments
            return jax.jvp(gradient, (x, kernel), (x, kernel))

        return jax.jit(along, static_argnums=0)(jax.grad(loss, (0, 1)))

    chex.assert_trees_all_close(derivatives("direct"), derivatives("native"), **CLOSE)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (1, 3)])
def test_the_direct_route_under_vmap_is_a_loop_over_it(axes):
    x, kernel = images((6, 6), 16), weights(3, 16)
    stacked = [
        array if axis is None else jnp.stack([array, 2 * array, array - 1], axis)
        for array, axis in zip((x, kernel), axes, strict=True)
    ]
    conv = jax.jit(lambda x, kernel: ops.conv(x, kernel, route="direct"))
    loop = [
        conv(*(a if n is None else jnp.take(a, i, n) for a, n in zip(stacked, axes, strict=True)))
        for i in range(3)
    ]
    chex.assert_trees_all_close(jax.vmap(conv, axes)(*stacked), jnp.stack(loop), **CLOSE)


def test_max_pool_drops_incomplete_windows_and_takes_the_largest():
    x = jnp.arange(25.0).reshape(1, 5, 5, 1)
    expected = np.array([[6.0, 8.0], [16.0, 18.0]]).reshape(1, 2, 2, 1)
    for route in ("native", *OWN_ROUTES):
        np.testing.assert_array_equal(ops.max_pool(x, 2, route=route), expected)
        np.testing.assert_array_equal(ops.max_pool(x, 5, route=route).ravel(), [24.0])


@pytest.mark.parametrize("pool", [ops.max_pool, ops.avg_pool])
@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_pooling_routes_agree_forward_and_backward(pool, size):
    x = images(size)

    def loss(x, route):
        return jnp.sum(jnp.sin(pool(x, 2, route=route)))

    expected = jax.value_and_grad(loss)(x, "native")
    for route in ("im2col", "batch_last"):
        chex.assert_trees_all_close(jax.value_and_grad(loss)(x, route), expected, **CLOSE)


def test_equal_entries_of_a_window_share_its_gradient():
    x = jnp.asarray([[3.0, 3.0], [1.0, 3.0]]).reshape(1, 2, 2, 1)
    for route in ("im2col", "batch_last", "direct"):
        gradient = jax.grad(lambda x, r=route: ops.max_pool(x, 2, route=r).sum())(x)
        np.testing.assert_allclose(gradient.ravel(), [1 / 3, 1 / 3, 0, 1 / 3])


def test_avg_pool_is_the_mean_of_each_window():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    for route in ("native", "im2col", "batch_last"):
        mean = ops.avg_pool(x, 2, route=route).ravel()
        np.testing.assert_allclose(mean, [2.5, 4.5, 10.5, 12.5])


def test_wrong_arguments_are_named():
    x, kernel = images((4, 4)), weights(3)
    with pytest.raises(ValueError, match=r"no route 'fft'; there are: auto, native"):
        ops.conv(x, kernel, route="fft")
    with pytest.raises(ValueError, match="`strides`"):
        ops.conv(x, kernel, strides=0)
    with pytest.raises(ValueError, match="cin"):
        ops.conv(x[..., :2], kernel)
    with pytest.raises(ValueError, match="does not fit"):
        ops.conv(x, weights(5), padding="VALID")
    with pytest.raises(ValueError, match="'SAME' or 'VALID'"):
        ops.conv(x, kernel, padding="CIRCULAR")
    with pytest.raises(ValueError, match="`window`"):
        ops.max_pool(x, 5)
