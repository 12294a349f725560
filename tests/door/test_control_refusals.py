"""What `control` cannot work with is said in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax

from .test_control import PARAMS, make_controller

FIRST_AND_OTHERS = {name: "a" if place == 0 else "b" for place, name in enumerate(sorted(PARAMS))}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"controller": "broad"}, "must be a Controller, such as"),
        ({"num_measured": 0}, "`num_measured` must be a whole number, at least 1; got 0"),
        ({"num_measured": True}, "`num_measured` must be a whole number, at least 1; got True"),
        ({"every": 2.5}, "`every` must be a whole number"),
        ({"total_steps": 0}, "`total_steps` must be a whole number, at least 1; got 0"),
        ({"total_steps": None}, "`total_steps` must be a whole number, at least 1; got None"),
        ({"total_steps": 1e4}, r"at least 1; got 10000\.0\.$"),
        ({"initial_rate": 0}, "`initial_rate` must be a finite number above 0; got 0"),
        ({"initial_rate": np.array("a")}, "`initial_rate` must be a finite number above 0; got ar"),
        ({"initial_rate": jnp.complex64(1)}, "`initial_rate` must be a finite number above 0; got"),
        (
            {"initial_rate": jnp.ones(2)},
            "`initial_rate` must be a finite number above 0; got Array",
        ),
        ({"initial_rate": float("inf")}, "`initial_rate` must be a finite number above 0; got inf"),
        ({"initial_rate": optax.constant_schedule(1.0)}, "`initial_rate` must be a finite number"),
        ({"weight_decay": float("nan")}, "`weight_decay` must be a finite number at least 0"),
        ({"weight_decay": -1.0}, r"`weight_decay` must be a finite number at least 0; got -1\.0"),
        ({"weight_decay": "x"}, "`weight_decay` must be a finite number at least 0; got 'x'"),
        ({"steps_per_epoch": "a"}, "`steps_per_epoch` must be a finite number above 0; got 'a'"),
        ({"direction": optax.adam}, "`direction` must be an Optax transformation, .* got adam"),
        ({"direction": "muon"}, "`direction` must be an Optax transformation, .* got 'muon'"),
        ({"direction": None}, "`direction` must be an Optax transformation, .* got None"),
    ],
)
def test_settings_that_cannot_work_are_named(changes, message):
    settings = {"controller": make_controller(), "total_steps": 8} | changes
    with pytest.raises(ValueError, match=message):
        ganno_jax.control(**{"direction": optax.identity(), **settings})


@pytest.mark.parametrize(
    "params, settings, message",
    [
        (PARAMS, {"decay_mask": {"dense0": True}}, "`decay_mask` must be a tree of booleans"),
        (PARAMS, {"decay_mask": ["dense0"]}, "`decay_mask` must be a tree of booleans"),
        (PARAMS, {"decay_mask": jax.tree.map(lambda _: "no", PARAMS)}, "booleans; it holds 'no'"),
        (PARAMS, {"decay_mask": 3.5}, r"`decay_mask` must be a tree of booleans; it holds 3\.5"),
        (PARAMS, {"mu_dtype": "half a float"}, "`mu_dtype` must be a floating dtype, .*'half a f"),
        ({"dense0": {"kernel": jnp.ones((2, 2)), "activation": jax.nn.relu}}, {}, "must be arrays"),
        ({"dense0": 1}, {}, r"must be floating numbers; \['dense0'\] is int32"),
        (
            {"dense0": {"kernel": jnp.ones((2, 2))}, "count": jnp.zeros(3, jnp.int32)},
            {},
            r"must be floating numbers; \['count'\] is int32",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_named_at_init(params, settings, message):
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8, **settings)
    with pytest.raises(ValueError, match=message) as found:
        optimizer.init(params)
    assert "\n" not in str(found.value)


def test_numbers_of_python_and_parts_of_a_mask_are_taken():
    params = {"dense0": {"kernel": jnp.ones((2, 2)), "scale": 1.0}}
    mask = {"dense0": np.bool_(True)}
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8, decay_mask=mask)
    updates, _ = optimizer.update(params, optimizer.init(params), params, value=1.0)
    assert float(updates["dense0"]["scale"]) < 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ganno_jax.load(""), "by its name or the path of its file; got ''"),
        (lambda: ganno_jax.load("/"), "by its name or the path of its file; got '/'"),
        (lambda: ganno_jax.load("./"), r"by its name or the path of its file; got '\./'"),
        (lambda: ganno_jax.load(None), "by its name or the path of its file; got None"),
        (
            lambda: ganno_jax.save("", make_controller()),
            "by its name or the path of its file; got ''",
        ),
        (
            lambda: ganno_jax.save("folder/", make_controller()),
            "by its name or the path of its file; got 'folder/'",
        ),
        (lambda: ganno_jax.save("any", {}), "must be a Controller, .* got dict"),
        (lambda: ganno_jax.migrate({}, {}, {}, "muon"), "Optax transformation .* got str"),
        (lambda: ganno_jax.optimizer(8, size="a"), "`size` must be a finite number above 0"),
        (lambda: ganno_jax.optimizer(8, forgetting=None), "`forgetting` must be a finite number"),
    ],
)
def test_what_is_no_argument_is_one_line(call, message):
    with pytest.raises(ValueError, match=message) as found:
        call()
    assert "\n" not in str(found.value)


def test_a_loss_per_example_and_foreign_gradients_are_named():
    optimizer = ganno_jax.control(optax.identity(), make_controller(), 8)
    state = optimizer.init(PARAMS)
    with pytest.raises(ValueError, match=r"one number, the mean loss; got shape \(5,\)"):
        optimizer.update(PARAMS, state, PARAMS, value=jnp.ones(5))
    with pytest.raises(ValueError, match="the gradients have the structure"):
        optimizer.update({"dense0": jnp.ones(2)}, state, PARAMS, value=1.0)
    shorter = jax.tree.map(lambda w: w[:1], PARAMS)
    with pytest.raises(ValueError, match=r"the gradient of \['dense0'\].* has the shape \(1"):
        optimizer.update(shorter, state, PARAMS, value=1.0)
    whole_numbers = jax.tree.map(lambda w: jnp.ones(w.shape, jnp.int32), PARAMS)
    with pytest.raises(ValueError, match=r"gradients must be floating .*\['dense0'\].* is int32"):
        optimizer.update(whole_numbers, state, PARAMS, value=1.0)
    with pytest.raises(ValueError, match="`value` must be a real number; got a complex one"):
        optimizer.update(PARAMS, state, PARAMS, value=jnp.complex64(1.0))
    with pytest.raises(ValueError, match="the loss is given by the name `value`"):
        optimizer.update(PARAMS, state, PARAMS, loss=1.0)


@pytest.mark.parametrize(
    "whole",
    [
        optax.adam(1e-3),
        optax.sgd(0.1, 0.9),
        optax.adamw(1e-3),
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)),
        optax.contrib.muon(1e-3),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
        optax.adamw(1e-3, weight_decay=2.0),
        optax.sgd(optax.join_schedules([lambda count: 0.0, lambda count: 0.1], [5])),
        optax.MultiSteps(optax.adam(1e-3), 50).gradient_transformation(),
        optax.lbfgs(),
        optax.partition({"a": optax.adam(1e-3), "b": optax.scale_by_adam()}, FIRST_AND_OTHERS),
    ],
    ids=[
        *("adam", "sgd", "adamw", "warm-up from zero", "muon", "clipped adamw"),
        *("more decay than gradient", "five zeros", "accumulated", "line search", "in one layer"),
    ],
)
def test_a_whole_optimizer_is_no_direction(whole):
    optimizer = ganno_jax.control(whole, make_controller(), 8)
    with pytest.raises(ValueError, match="goes against the gradient, as a whole optimizer does"):
        optimizer.init(PARAMS)


def test_a_direction_that_takes_no_loss_is_refused_with_the_way_out():
    sharpness = optax.contrib.sam(optax.sgd(0.01), optax.sgd(0.05))
    with pytest.raises(ValueError, match=r"takes no `value`.*inside of it: optax\.contrib\.sam"):
        ganno_jax.control(sharpness, make_controller(), 8).init(PARAMS)


@pytest.mark.parametrize(
    "direction",
    [
        optax.scale_by_lion(),
        optax.contrib.scale_by_muon(),
        optax.scale_by_factored_rms(),
        optax.scale_by_lbfgs(),
        optax.contrib.scale_by_ademamix(),
        optax.MultiSteps(optax.scale_by_adam(), 4).gradient_transformation(),
        optax.chain(optax.centralize(), optax.trace(0.9)),
        optax.chain(optax.scale_by_adam(), optax.scale_by_trust_ratio()),
        optax.partition({"a": optax.set_to_zero(), "b": optax.scale_by_adam()}, FIRST_AND_OTHERS),
    ],
    ids=[
        *("lion", "muon", "factored", "lbfgs", "ademamix", "accumulated"),
        *("centralized", "trust ratio", "first layer frozen"),
    ],
)
def test_a_direction_is_no_whole_optimizer(direction):
    ganno_jax.control(direction, make_controller(), 8).init(PARAMS)


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
