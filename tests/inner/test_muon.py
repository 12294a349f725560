"""Muon for matrices, NAdam for the rest: against singular values, Optax's NAdam and hand-made routes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import linprog

from ganno_jax.inner import Direction
from ganno_jax.inner.layer_names import path_names
from ganno_jax.inner.muon import POLYNOMIALS, SMALLEST, dimension_numbers, muon_or_nadam, route


def orthogonalized(matrix):
    """Newton and Schulz's iteration acts on singular values alone: here it is done on them."""
    u, s, v = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    s = s / np.linalg.norm(s)
    for a, b, c in POLYNOMIALS:
        s = a * s + b * s**3 + c * s**5
    return u * s @ v


def nearest_to_one(low, high):
    """The odd polynomial of degree five that is nearest to 1 on an interval, and its largest distance."""
    x = np.concatenate([np.geomspace(low, high, 2000), np.linspace(low, high, 2000)])
    powers = np.stack([x, x**3, x**5, np.zeros_like(x)], axis=1)
    distance = np.array([0, 0, 0, 1.0])
    rows = np.concatenate([powers - distance, -powers - distance])
    ones = np.concatenate([np.ones_like(x), -np.ones_like(x)])
    found = linprog(distance, A_ub=rows, b_ub=ones, bounds=[(None, None)] * 4)
    return found.x[:3], found.x[3]


def test_each_polynomial_is_the_best_for_what_those_before_it_leave():
    low, high = SMALLEST, 1.0
    for polynomial in POLYNOMIALS:
        best, distance = nearest_to_one(low, high)
        np.testing.assert_allclose(polynomial, best, atol=2e-3)
        low, high = 1 - distance, 1 + distance
    np.testing.assert_allclose([low, high], [0.7306, 1.2694], atol=1e-3)


def first_direction(params, gradient):
    transformation = muon_or_nadam(0.95, 0.98, 1e-8)
    return transformation.update(gradient, transformation.init(params), params)[0]


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (5, 5)])
def test_a_matrix_takes_its_orthogonalized_gradient_times_the_root_of_the_longer_side(key, shape):
    gradient = {"dense0": {"kernel": jax.random.normal(key, shape)}}
    found = first_direction(gradient, gradient)["dense0"]["kernel"]
    expected = orthogonalized(gradient["dense0"]["kernel"]) * max(shape) ** 0.5
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert 0.6 < np.sqrt(np.mean(np.square(found))) < 1.25


def test_a_convolutions_kernel_is_the_matrix_of_its_patches(key):
    kernel = jax.random.normal(key, (3, 3, 2, 4))
    found = first_direction({"conv0": {"kernel": kernel}}, {"conv0": {"kernel": kernel}})
    expected = orthogonalized(kernel.reshape(18, 4)) * 18**0.5
    np.testing.assert_allclose(found["conv0"]["kernel"].reshape(18, 4), expected, atol=2e-3)


def test_a_stack_of_matrices_is_as_each_of_them(key):
    stack = jax.random.normal(key, (2, 5, 3))
    found = first_direction({"blocks": {"kernel": stack}}, {"blocks": {"kernel": stack}})
    for matrix, mine in zip(stack, found["blocks"]["kernel"], strict=True):
        np.testing.assert_allclose(mine, orthogonalized(matrix) * 5**0.5, atol=2e-3)


def test_vectors_take_the_step_of_optax_nadam(key):
    params = {"dense0": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}}
    transformation = muon_or_nadam(0.95, 0.98, 1e-8)
    twin = optax.nadam(1.0, b1=0.9, b2=0.98)
    state, twin_state = transformation.init(params), twin.init(params["dense0"]["bias"])
    for step in range(4):
        fresh = jax.random.fold_in(key, step)
        gradient = jax.tree.map(lambda x, k=fresh: jax.random.normal(k, x.shape), params)
        direction, state = transformation.update(gradient, state, params)
        update, twin_state = twin.update(gradient["dense0"]["bias"], twin_state)
        np.testing.assert_allclose(direction["dense0"]["bias"], -jnp.asarray(update), rtol=1e-5)


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        (("dense0", "kernel"), (64, 32), "muon"),
        (("dense0", "bias"), (32,), "nadam"),
        (("conv0", "kernel"), (3, 3, 8, 16), "muon"),
        (("blocks", "attention", "kernel"), (6, 64, 64), "muon"),
        (("embed", "embedding"), (96, 32), "nadam"),
        (("transformer", "wte"), (96, 32), "nadam"),
        (("position_embedding",), (1, 24, 32), "nadam"),
        (("norm", "scale"), (1, 1, 32), "nadam"),
    ],
)
def test_leaves_take_the_direction_of_their_role(path, shape, expected):
    found, reason = route(path, shape)
    assert found == expected
    assert reason


@pytest.mark.parametrize(
    ("path", "shape", "rows", "columns"),
    [
        (("attention", "query", "kernel"), (32, 4, 8), (0,), (1, 2)),
        (("attention", "out", "kernel"), (4, 8, 32), (0, 1), (2,)),
        (("blocks", "kernel"), (6, 32, 16), (1,), (2,)),
        (("conv0", "kernel"), (3, 3, 8, 16), (0, 1, 2), (3,)),
    ],
)
def test_rows_are_inputs_and_columns_outputs(path, shape, rows, columns):
    assert dimension_numbers(path, shape) == (rows, columns)


def test_layers_of_a_stack_take_the_steps_that_they_take_apart(key):
    def block(key):
        keys = iter(jax.random.split(key, 6))

        def normal(*shape):
            return jax.random.normal(next(keys), shape)

        return {
            "attention": {
                "query": {"kernel": normal(6, 2, 3), "bias": normal(2, 3)},
                "out": {"kernel": normal(2, 3, 6)},
            },
            "conv": {"kernel": normal(3, 3, 2, 4)},
            "norm": {"scale": normal(6)},
            "dense": {"kernel": normal(6, 4)},
        }

    blocks = [block(jax.random.fold_in(key, i)) for i in range(3)]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
    direction = Direction("muon", momentum=0.95)

    def first(tree, **stacked):
        made = direction.transformation(**stacked)
        return made.update(tree, made.init(tree), tree)[0]

    together = first({"layers": stack}, stacked={"layers": 1})["layers"]
    apart = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[first(b) for b in blocks])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), together, apart)


def test_biases_of_attention_heads_are_vectors():
    assert route(("query", "bias"), (4, 16))[0] == "nadam"
    assert route(("query", "kernel"), (64, 4, 16))[0] == "muon"


@pytest.mark.parametrize("shape", [(3, 3, 2, 4), (3, 2, 4)])
def test_a_convolution_of_equinox_takes_the_direction_of_flax(key, shape):
    kernel = jax.random.normal(key, shape)
    wanted = first_direction({"conv": {"kernel": kernel}}, {"conv": {"kernel": kernel}})
    if len(shape) == 3:
        as_matrix = orthogonalized(kernel.reshape(6, 4)) * 6**0.5
        wanted = {"conv": {"kernel": as_matrix.reshape(shape)}}
    ours = {"conv": {"weight": jnp.moveaxis(kernel, (-1, -2), (0, 1))}}
    found = first_direction(ours, ours)["conv"]["weight"]
    np.testing.assert_allclose(
        jnp.moveaxis(found, (0, 1), (-1, -2)), wanted["conv"]["kernel"], atol=2e-3
    )


def test_modules_of_equinox_have_outputs_first():
    eqx = pytest.importorskip("equinox")
    convolution = eqx.nn.Conv2d(2, 4, 3, key=jax.random.key(0))
    (path, leaf), *_ = jax.tree_util.tree_leaves_with_path({"conv": convolution})
    names = path_names(path)
    assert leaf.shape == (4, 2, 3, 3)
    assert dimension_numbers(names, leaf.shape) == ((1, 2, 3), (0,))
