"""Every direction with equal rates takes the step of its Optax twin."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from ganno_jax.inner import DIRECTIONS, Direction, Hyperparameters, Training, apply_rates
from ganno_jax.inner.directions import named
from ganno_jax.inner.layers import by_module
from ganno_jax.inner.muon import POLYNOMIALS
from ganno_jax.tasks.distributions import Constant

from ..probes import init, mlp_init, mlp_training, quadratic_family, quick_jit, window

NUM_STEPS = 5
NUMBERS = (
    {"rate": 0.1, "m": 0.9, "b2": 0.99, "eps": 1e-8, "decay": 0.03, "clip": 0.5},
    {"rate": 0.02, "m": 0.5, "b2": 0.9, "eps": 1e-4, "decay": 0.3, "clip": 2.0},
)


def matrices(params):
    return jax.tree.map(lambda w: w.ndim >= 2, params)


def twin(name, n, with_decay):
    """Optax's own optimizer with these numbers."""
    decay = n["decay"] if with_decay else 0.0
    optimizer = {
        "sgd": lambda: optax.sgd(n["rate"]),
        "momentum": lambda: optax.sgd(n["rate"], momentum=n["m"]),
        "nesterov": lambda: optax.sgd(n["rate"], momentum=n["m"], nesterov=True),
        "rmsprop": lambda: optax.rmsprop(n["rate"], decay=n["b2"], eps=n["eps"]),
        "adam": lambda: optax.adam(n["rate"], b1=n["m"], b2=n["b2"], eps=n["eps"]),
        "adamw": lambda: optax.adamw(
            n["rate"], b1=n["m"], b2=n["b2"], eps=n["eps"], weight_decay=decay, mask=matrices
        ),
        "nadam": lambda: optax.nadam(n["rate"], b1=n["m"], b2=n["b2"], eps=n["eps"]),
        "nadamw": lambda: optax.nadamw(
            n["rate"], b1=n["m"], b2=n["b2"], eps=n["eps"], weight_decay=decay, mask=matrices
        ),
        "lion": lambda: optax.lion(
            n["rate"], b1=n["m"], b2=n["b2"], weight_decay=decay, mask=matrices
        ),
        "muon": lambda: optax.contrib.muon(
            n["rate"],
            POLYNOMIALS,
            ns_steps=len(POLYNOMIALS),
            beta=n["m"],
            eps=n["eps"],
            weight_decay=decay,
            weight_decay_mask=matrices,
            adam_b1=0.9,
            adam_b2=n["b2"],
            consistent_rms=1.0,
        ),
    }[name]()
    if with_decay and name not in (
        "adamw",
        "nadamw",
        "lion",
        "muon",
    ):  # L2: before the optimizer sees it
        return optax.chain(optax.add_decayed_weights(decay), optimizer)
    return optimizer


def gradients(params, key):
    """A sequence of gradients."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    pairs = zip(keys, leaves, strict=True)
    return structure.unflatten([jax.random.normal(k, (NUM_STEPS, *x.shape)) for k, x in pairs])


def follow(update, state, params, sequence):
    def step(carry, gradient):
        params, state = carry
        updates, state = update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, state), sequence)[0][0]


@pytest.mark.parametrize("extras", ["plain", "clipping and weight decay"])
@pytest.mark.parametrize("name", DIRECTIONS)
def test_equal_rates_take_the_steps_of_the_optax_twin(name, extras, key):
    with_decay, with_clip = "decay" in extras, "clipping" in extras
    params = mlp_init(key)
    layers, sequence = by_module(params), gradients(params, key)
    traces = []

    @quick_jit
    def ours(n):
        traces.append(name)
        optimizer = named(
            name,
            Constant(n["rate"]),
            weight_decay=Constant(n["decay"]) if with_decay else None,
            clip_norm=Constant(n["clip"]) if with_clip else None,
        )
        h = Hyperparameters(n["rate"], n["m"], n["b2"], n["eps"], n["decay"], n["clip"])
        transformation = optimizer.transformation(h)
        rates = jnp.full(layers.num_layers, n["rate"])

        def update(gradient, state, params):
            direction, state = transformation.update(gradient, state, params)
            decays = optimizer.decays(h, layers.num_layers)
            return apply_rates(direction, layers, rates, params, decays), state

        return follow(update, transformation.init(params), params, sequence)

    @quick_jit
    def theirs(n):
        optimizer = twin(name, n, with_decay)
        if with_clip:
            optimizer = optax.chain(optax.clip_by_global_norm(n["clip"]), optimizer)
        return follow(optimizer.update, optimizer.init(params), params, sequence)

    for numbers in NUMBERS:  # traced: both sets run in one program
        numbers = jax.tree.map(jnp.float32, numbers)
        # Additions in another order: rates multiply last here, first there.
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)  # noqa: E731
        jax.tree.map(close, ours(numbers), theirs(numbers))
    assert len(traces) == 1


def test_the_hyperparameters_of_a_training_are_those_that_were_drawn(key):
    optimizer = named("adam", Constant(0.3), momentum=Constant(0.8), clip_norm=Constant(2.0))
    h = optimizer.sample(key)
    assert (h.initial_rate, h.momentum, h.clip_norm) == tuple(jnp.float32([0.3, 0.8, 2.0]))
    assert h.weight_decay == 0.0


def test_an_unknown_direction_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match="'adagrad'; there are: sgd, momentum"):
        named("adagrad", Constant(0.1))


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_rate_zero_freezes_a_layer_and_no_other(name, key):
    training = mlp_training(optimizer=name, weight_decay=Constant(0.1))
    state = init(training, key)
    after, _ = window(training, state, jnp.tile(jnp.asarray([0.0, 0.1]), (4, 1)), 2)
    jax.tree.map(np.testing.assert_array_equal, after.params["dense0"], state.params["dense0"])
    assert not np.allclose(after.params["dense1"]["kernel"], state.params["dense1"]["kernel"])


def test_rate_one_over_the_curvature_lands_on_the_minimum_in_one_step(key):
    curvatures = (0.5, 4.0, 32.0)
    training = Training.create(quadratic_family(curvatures), named("sgd", Constant(1.0)), 1)
    state, _ = quick_jit(training.inner_step)(init(training, key), 1.0 / jnp.asarray(curvatures))
    for weight in jax.tree.leaves(state.params):
        np.testing.assert_array_equal(weight, 0.0)


def test_a_direction_with_its_numbers_is_the_same_in_env_and_door(key):
    direction = Direction("nadamw", momentum=0.7, second_decay=0.95, weight_decay=0.1)
    params = mlp_init(key)
    sequence = gradients(params, key)
    in_env = direction.optimizer(Constant(0.5))
    transformations = (
        direction.transformation(),
        in_env.transformation(in_env.sample(key)),
        optax.nadam(-1.0, b1=0.7, b2=0.95),  # Optax steps downhill; the decay is no part of it
    )
    ours, env, optax_twin = (
        quick_jit(follow, static_argnums=0)(t.update, t.init(params), params, sequence)
        for t in transformations
    )
    jax.tree.map(np.testing.assert_array_equal, ours, env)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4), ours, optax_twin)
    decay = in_env.decays(in_env.sample(key), 2)
    np.testing.assert_allclose(decay, direction.decoupled_decay)
    assert direction.decoupled_decay == 0.1
    assert Direction("adam", weight_decay=0.1).decoupled_decay == 0.0  # L2, which the direction has


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"name": "adamax"}, "no optimizer 'adamax'; there are: sgd"),
        ({"name": "nadam", "momentum": 1.0}, r"`momentum` must be in \[0, 1\); got 1.0"),
        ({"name": "nadam", "second_decay": float("nan")}, "`second_decay` must be in"),
        ({"name": "nadam", "epsilon": 0.0}, "`epsilon` must be positive"),
        ({"name": "nadamw", "weight_decay": -1.0}, "`weight_decay` must be at least 0"),
    ],
)
def test_numbers_that_no_direction_can_have_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Direction(**numbers)
