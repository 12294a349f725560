"""What `control` cannot work with is said in one line."""

import jax
import jax.numpy as jnp
import optax
import pytest

import ganno_jax

from .test_control import PARAMS, make_controller


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"controller": "broad"}, "must be a Controller, such as"),
        ({"num_measured": 0}, "`num_measured` must be a whole number, at least 1; got 0"),
        ({"every": 2.5}, "`every` must be a whole number"),
        ({"total_steps": 0}, "`total_steps` must be a whole number, at least 1; got 0"),
    ],
)
def test_settings_that_cannot_work_are_named(changes, message):
    settings = {"controller": make_controller(), "total_steps": 8} | changes
    with pytest.raises(ValueError, match=message):
        ganno_jax.control(optax.identity(), **settings)


def test_a_loss_per_example_and_foreign_gradients_are_named():
    optimizer = ganno_jax.control(optax.identity(), make_controller(), 8)
    state = optimizer.init(PARAMS)
    with pytest.raises(ValueError, match=r"one number, the mean loss; got shape \(5,\)"):
        optimizer.update(PARAMS, state, PARAMS, value=jnp.ones(5))
    with pytest.raises(ValueError, match="the gradients have the structure"):
        optimizer.update({"dense0": jnp.ones(2)}, state, PARAMS, value=1.0)


@pytest.mark.parametrize(
    "whole",
    [
        optax.adam(1e-3),
        optax.sgd(0.1, 0.9),
        optax.adamw(1e-3),
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)),
        optax.contrib.muon(1e-3),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    ],
    ids=["adam", "sgd", "adamw", "warm-up from zero", "muon", "clipped adamw"],
)
def test_a_whole_optimizer_is_no_direction(whole):
    optimizer = ganno_jax.control(whole, make_controller(), 8)
    with pytest.raises(ValueError, match="goes against the gradient, as a whole optimizer does"):
        optimizer.init(PARAMS)


def test_complex_parameters_are_refused_with_the_way_out():
    params = {"dense0": jnp.ones((2, 2), jnp.complex64)}
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
    with pytest.raises(ValueError, match=r"optax\.contrib\.split_real_and_imaginary"):
        optimizer.init(params)
    wrapped = optax.contrib.split_real_and_imaginary(optimizer)
    updates, _ = wrapped.update(params, wrapped.init(params), params)
    assert jnp.iscomplexobj(updates["dense0"])


def test_a_state_of_another_direction_is_named():
    states = [
        ganno_jax.control(d, make_controller(), 8) for d in (optax.trace(0.9), optax.identity())
    ]
    with pytest.raises(ValueError, match=r"another controller or direction: .*direction\.trace"):
        states[1].update(PARAMS, states[0].init(PARAMS), PARAMS)


def test_a_state_of_another_version_names_both():
    old, new = (
        ganno_jax.control(d, make_controller(), 8) for d in (optax.trace(0.9), optax.identity())
    )
    state = old.init(PARAMS)
    earlier = state._replace(outline=state.outline.replace(version="0.0.7"))
    said = rf"another version of the library, 0\.0\.7, and here it is {ganno_jax.__version__}: "
    with pytest.raises(ValueError, match=said):
        new.update(PARAMS, earlier, PARAMS)
    updates, _ = old.update(PARAMS, earlier, PARAMS)  # what fits is used as it is
    assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)
