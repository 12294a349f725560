"""Parameters that are split over devices train as whole ones do, and never meet on one device."""

import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.sharding import NamedSharding, PartitionSpec
from optax.contrib import MuonDimensionNumbers
from optax.contrib._muon import orthogonalize_via_newton_schulz

import ganno_jax
from ganno_jax.inner.layers import by_module
from ganno_jax.inner.muon import POLYNOMIALS
from ganno_jax.inner.split_muon import orthogonalize_split

P = PartitionSpec
STEPS = 5
SPECS = {
    "dense0": {"bias": P("data"), "kernel": P(None, "data")},
    "dense1": {"bias": P(), "kernel": P("data", None)},
}
X = jnp.linspace(-1, 1, 36).reshape(12, 3)


@pytest.fixture(autouse=True)
def _programs_are_compiled_anew():
    """jaxlib 0.10.2 crashes now and then in programs for several CPU devices that it reads from its cache."""
    jax.config.update("jax_enable_compilation_cache", False)
    reset_cache()  # whether it is in use is asked once
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    reset_cache()


def first_params(key):
    first, second = jax.random.split(key)
    return {
        "dense0": {"bias": jnp.zeros(6), "kernel": jax.random.normal(first, (3, 6)) / 2},
        "dense1": {"bias": jnp.zeros(3), "kernel": jax.random.normal(second, (6, 3)) / 2},
    }


def loss_fn(params, x):
    hidden = jnp.tanh(x @ params["dense0"]["kernel"] + params["dense0"]["bias"])
    out = hidden @ params["dense1"]["kernel"] + params["dense1"]["bias"]
    return jnp.mean(jnp.square(out - jnp.sin(3 * x)))


def made(name, **settings):
    controller = ganno_jax.load(name)
    return ganno_jax.optimizer(STEPS, controller, every=2, **settings)


def descend(optimizer, params, state, found_fn):
    def one(carry, _):
        params, state = carry
        loss, gradient = found_fn(params)
        updates, state = optimizer.update(gradient, state, params, value=loss)
        return (optax.apply_updates(params, updates), state), (loss, state.rates)

    (params, _), history = jax.lax.scan(one, (params, state), length=STEPS)
    return params, history


def alone(optimizer, params):
    found_fn = jax.value_and_grad(partial(loss_fn, x=X))
    return jax.jit(lambda p: descend(optimizer, p, optimizer.init(p), found_fn))(params)


def mesh():
    return jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])


def put(params, where):
    return jax.tree.map(lambda w, s: jax.device_put(w, NamedSharding(where, s)), params, SPECS)


def collectives(compiled):
    found = r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    return re.findall(found, compiled.as_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nadamw", "muon"])
def test_an_explicit_mesh_changes_no_number_and_gathers_no_parameter(key, name):
    params, optimizer, where = first_params(key), made(name), mesh()
    split = put(params, where)
    state = optimizer.init(split)  # outside of any mesh
    whole = NamedSharding(where, P(None, None))

    def found_fn(params):
        def loss(params):
            biases = jax.tree.map(lambda w: w if w.ndim == 2 else w[None], params)
            return loss_fn(jax.tree.map(lambda w: jax.sharding.reshard(w, whole), biases), X)

        return jax.value_and_grad(loss)(params)

    run = jax.jit(partial(descend, optimizer, found_fn=found_fn))
    found, history = run(split, state)
    wanted, wanted_history = alone(optimizer, params)
    chex.assert_trees_all_close((found, history), (wanted, wanted_history), rtol=1e-3, atol=1e-5)
    assert found["dense0"]["kernel"].sharding.spec == P(None, "data")
    step = jax.jit(lambda p, s: optimizer.update(p, s, p, value=1.0))
    assert set(collectives(step.lower(split, state).compile())) == {"all-reduce"}
    _, after = step(split, state)
    step(split, after)
    assert step._cache_size() == 1


@pytest.mark.slow
@pytest.mark.parametrize("name, check_vma", [("nadamw", True), ("muon", True), ("muon", False)])
def test_parts_inside_shard_map_change_no_number_and_are_not_gathered(key, name, check_vma):
    params, optimizer, where = first_params(key), made(name, specs=SPECS), mesh()

    def part(w, spec):
        axis = next((i for i, names in enumerate(spec) if names), None)
        if axis is None:
            return w
        size = w.shape[axis] // 2
        return jax.lax.dynamic_slice_in_dim(w, jax.lax.axis_index("data") * size, size, axis)

    def gathered(w, spec):
        for axis, names in enumerate(spec):
            if names:
                w = jax.lax.all_gather(w, names, axis=axis, tiled=True)
        return w if any(spec) else jax.lax.pcast(w, "data", to="varying")

    def found_fn(parts):
        """As FSDP has it: whole in the pass, of each device's half of the data, averaged."""
        half = jax.lax.dynamic_slice_in_dim(X, jax.lax.axis_index("data") * 6, 6)
        whole = jax.tree.map(gathered, parts, SPECS)
        loss, gradient = jax.value_and_grad(loss_fn)(whole, half)
        gradient = jax.lax.pmean(gradient, "data")
        return loss, jax.tree.map(part, gradient, SPECS)

    def run(parts):
        return descend(optimizer, parts, optimizer.init(parts), found_fn)

    split = put(params, where)
    over = partial(jax.shard_map, mesh=where, check_vma=check_vma)
    found, (losses, rates) = jax.jit(
        over(run, in_specs=(SPECS,), out_specs=(SPECS, (P("data"), P())))
    )(split)
    wanted, (_, wanted_rates) = alone(made(name), params)
    chex.assert_trees_all_close((found, rates), (wanted, wanted_rates), rtol=1e-3, atol=1e-5)
    assert np.isfinite(losses).all()

    def update(parts):
        return optimizer.update(parts, optimizer.init(parts), parts, value=1.0)[0]

    step = jax.jit(over(update, in_specs=(SPECS,), out_specs=SPECS))
    assert set(collectives(step.lower(split).compile())) == {"all-reduce"}


BOTH_SIDES = {
    "dense0": {"bias": P("model"), "kernel": P("data", "model")},
    "dense1": {"bias": P(), "kernel": P("model", None)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name, num_gathers", [("nadamw", 0), ("muon", 3)])
def test_on_two_axes_only_a_matrix_that_is_split_on_both_sides_meets(key, name, num_gathers):
    """For the products of Muon alone, once in each branch: measured before the first decision, later, and the step."""
    keys = jax.random.split(key, 2)
    params = {
        "dense0": {"bias": jnp.zeros(6), "kernel": jax.random.normal(keys[0], (4, 6)) / 2},
        "dense1": {"bias": jnp.zeros(4), "kernel": jax.random.normal(keys[1], (6, 4)) / 2},
    }
    where = jax.make_mesh((2, 2), ("data", "model"), devices=jax.devices()[:4])
    split = jax.tree.map(
        lambda w, spec: jax.device_put(w, NamedSharding(where, spec)), params, BOTH_SIDES
    )
    optimizer = made(name)
    gradient = jax.tree.map(lambda w: jnp.sin(3 * w) + 0.1, params)
    split_gradient = jax.tree.map(lambda g, w: jax.device_put(g, w.sharding), gradient, split)
    step = jax.jit(lambda g, s, p: optimizer.update(g, s, p, value=1.0))
    state = optimizer.init(split)
    found, after = step(split_gradient, state, split)
    wanted, _ = step(gradient, optimizer.init(params), params)
    chex.assert_trees_all_close(found, wanted, rtol=1e-3, atol=1e-5)
    assert found["dense0"]["kernel"].sharding.spec == P("data", "model")
    kinds = collectives(step.lower(split_gradient, after, split).compile())
    assert set(kinds) <= {"all-reduce", "all-gather"}
    assert kinds.count("all-gather") == num_gathers


@pytest.mark.parametrize(
    "shape, rows, columns, spec",
    [
        ((8, 4), (0,), (1,), P("data", None)),
        ((8, 4), (0,), (1,), P(None, "data")),
        (
            (4, 2, 3),
            (0, 1),
            (2,),
            P(
                "data",
            ),
        ),
        ((4, 2, 4), (0,), (1, 2), P(None, None, "data")),
        ((4, 2, 4), (0,), (1, 2), P("data", None, "model")),
        ((4, 12), (0,), (1,), P("model", "data")),
        ((12, 4), (0,), (1,), P("model", "data")),
        (
            (2, 4, 3),
            (1,),
            (2,),
            P(
                "data",
            ),
        ),
        (
            (2, 20),
            (0,),
            (1,),
            P(
                "data",
            ),
        ),
    ],
)
def test_a_split_matrix_is_orthogonalized_as_a_whole_one(key, shape, rows, columns, spec):
    x = jax.random.normal(key, shape)
    axes = MuonDimensionNumbers(rows, columns)
    split = tuple((n,) if n else () for n in (*spec, None, None, None)[: len(shape)])
    wanted = orthogonalize_via_newton_schulz(x, jnp.asarray(POLYNOMIALS), 3, dimension_numbers=axes)

    def one(part):
        return orthogonalize_split(part, axes, split, True, POLYNOMIALS, 1e-8)

    where = jax.make_mesh((2, 2), ("data", "model"), devices=jax.devices()[:4])
    over = jax.shard_map(one, mesh=where, in_specs=spec, out_specs=spec, check_vma=False)
    np.testing.assert_allclose(
        jax.jit(over)(jax.device_put(x, NamedSharding(where, spec))), wanted, atol=1e-5
    )
    np.testing.assert_allclose(
        orthogonalize_split(x, axes, split, False, POLYNOMIALS, 1e-8), wanted, atol=1e-5
    )


def test_specs_that_do_not_fit_are_named(key):
    params = first_params(key)
    optimizer = made("nadamw", specs={"dense0": P()})
    with pytest.raises(ValueError, match="`specs` must be a tree of PartitionSpecs"):
        optimizer.init(params)
    assert optimizer is not None
    assert by_module(params).names == ("dense0", "dense1")
