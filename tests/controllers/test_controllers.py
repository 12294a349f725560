"""Controller files: what is saved is what is loaded, and what is no controller file is said to be none."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax
from ganno_jax import controller_files
from ganno_jax.controller_files import fingerprint, load, save
from ganno_jax.controllers import Controller
from ganno_jax.env.actions import DirectRate, RateMultipliers, ScheduleResidual
from ganno_jax.env.base_shapes import flat_shape, one_cycle_shape
from ganno_jax.env.whole_update import Forgetting, RelativeUpdate, WholeUpdate
from ganno_jax.inner import Direction
from ganno_jax.optimizer import DEFAULT
from ganno_jax.policies import FixedRates
from ganno_jax.policies.agents import Ensemble
from ganno_jax.policies.step_size import StepSizePolicy

from ..door.test_control import PARAMS, descend, make_controller


@pytest.mark.parametrize(
    "actions",
    [
        DirectRate(),
        RateMultipliers(),
        ScheduleResidual(one_cycle_shape, 1.5, 0.1),
        ScheduleResidual(one_cycle_shape),
        RelativeUpdate(flat_shape),
        WholeUpdate(RelativeUpdate(flat_shape), Forgetting(flat_shape)),
    ],
    ids=lambda actions: type(actions).__name__,
)
def test_a_saved_controller_is_the_same_after_loading(tmp_path, actions):
    controller = make_controller(actions, recurrent=True)
    path = save(tmp_path / "agents", controller)
    loaded = load(path)
    chex.assert_trees_all_equal(loaded.policy, controller.policy)
    assert loaded.decisions == 4
    assert loaded.provenance == {"family": "none", "seed": 1}
    assert path.stat().st_size < 100_000


def test_a_saved_ensemble_is_the_same_after_loading(tmp_path):
    first = make_controller(RelativeUpdate(flat_shape), recurrent=True).policy
    second = first.replace(params=jax.tree.map(lambda w: 0.5 * w, first.params))
    policy = Ensemble([first, second])
    loaded = load(save(tmp_path / "agents", Controller(policy, 4))).policy
    chex.assert_trees_all_equal(loaded, policy)
    optimizer = ganno_jax.control(optax.trace(0.9), Controller(loaded, 4), 12)
    _, (losses, rates) = descend(optimizer, PARAMS)
    assert np.isfinite(losses).all()
    assert np.unique(rates[:, 0]).size == 4


def test_a_controller_with_a_direction_is_a_whole_optimizer(tmp_path):
    direction = Direction("nadamw", momentum=0.7, second_decay=0.95, weight_decay=0.01)
    controller = make_controller().replace(direction=direction)
    loaded = load(save(tmp_path / "agents", controller))
    assert loaded.direction == direction
    assert fingerprint(loaded) == fingerprint(controller) != fingerprint(make_controller())
    adam = optax.scale_by_adam(b1=0.7, b2=0.95, nesterov=True)
    (params, _), (losses, rates) = descend(ganno_jax.optimizer(12, loaded, every=3), PARAMS)
    expected = descend(ganno_jax.control(adam, loaded, 12, every=3, weight_decay=0.01), PARAMS)
    chex.assert_trees_all_close((params, losses, rates), (expected[0][0], *expected[1]), rtol=1e-5)


def test_a_controller_for_any_direction_is_no_whole_optimizer():
    with pytest.raises(ValueError, match=r"no direction of its own: use ganno_jax\.control"):
        ganno_jax.optimizer(12, make_controller())
    with pytest.raises(ValueError, match="must be a Controller, such as"):
        ganno_jax.optimizer(12, "broad")


def test_a_policy_that_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="agents or a step-size controller; got a policy of type Fi"
    ):
        save(tmp_path / "rule", Controller(FixedRates(jnp.zeros(5)), 4))


def test_a_saved_step_size_controller_is_the_same_after_loading(tmp_path):
    policy = StepSizePolicy(jnp.arange(5.0) / 7, decay=0.8, highest=2.0, by_layer=True)
    path = save(tmp_path / "momentum", Controller(policy, 60, {"optimizer": "momentum"}))
    again = load(path)
    assert (again.decisions, again.provenance) == (60, {"optimizer": "momentum"})
    assert again.policy.by_layer
    for name in ("theta", "decay", "lowest", "highest"):
        assert jnp.array_equal(getattr(again.policy, name), jnp.float32(getattr(policy, name)))


def test_a_controller_is_found_as_it_was_saved_beside_folders_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broad").mkdir()
    assert load("broad").decisions == ganno_jax.load("broad").decisions
    save("mine", make_controller(decisions=7))
    assert load("mine").decisions == 7
    save("broad", make_controller(decisions=7))  # a name that is shipped stays that one
    assert load("broad").decisions == 30
    assert load("broad.controller").decisions == 7


SHIPPED = {
    "broad": "3e8ed5d3b8f11498",
    "digits": "70cad4a444f4f78b",
    "fashion_mlp": "4acb75b07848fc00",
    "muon": "5f84148523673b9e",
    "nadamw": "f1ba53e5f110aec3",
}
"""Fingerprints, which the cells of evaluations are kept by."""


@pytest.mark.parametrize("name", controller_files.shipped())
def test_a_new_format_leaves_the_fingerprints_of_shipped_controllers(name):
    assert fingerprint(load(name)) == SHIPPED[name]


def test_a_fingerprint_is_of_what_a_controller_does():
    controller = make_controller(RelativeUpdate(flat_shape))
    same = controller.replace(provenance={"other": 1})
    other = make_controller(RelativeUpdate(one_cycle_shape))
    assert fingerprint(controller) == fingerprint(same)
    assert fingerprint(controller) != fingerprint(other)


@pytest.mark.parametrize(
    "name",
    [
        name if name == DEFAULT else pytest.param(name, marks=pytest.mark.slow)
        for name in controller_files.shipped()
    ],
)
def test_shipped_controllers_do_the_same_whatever_the_initial_rate(name):
    controller = load(name)
    ends = [
        descend(
            ganno_jax.control(optax.trace(0.9), controller, 12, every=3, initial_rate=rate), PARAMS
        )[1]
        for rate in (1e-5, 1.0)
    ]
    chex.assert_trees_all_equal(*ends)


def test_the_optimizer_takes_the_default_controller_where_none_is_named():
    alone = descend(ganno_jax.optimizer(12), PARAMS)
    named = descend(ganno_jax.optimizer(12, ganno_jax.load("muon")), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, alone, named)


MUON = load("muon")


def first_decision(**factors):
    optimizer = ganno_jax.optimizer(12, MUON, steps_per_epoch=3, **factors)
    return optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, value=1.0)[1]


def test_factors_on_the_base_multiply_size_and_forgetting():
    plain, changed = first_decision(), first_decision(size=0.5, forgetting=2.0)
    np.testing.assert_allclose(changed.rates, 0.5 * plain.rates, rtol=1e-6)
    np.testing.assert_allclose(changed.forgetting, 2.0 * plain.forgetting, rtol=1e-6)
    traced = jax.jit(lambda size: first_decision(size=size).rates)(0.5)
    np.testing.assert_allclose(traced, changed.rates, rtol=1e-6)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"size": 0.0}, r"`size` must be a finite number above 0; got 0\.0"),
        ({"size": float("inf")}, "`size` must be a finite number above 0; got inf"),
        ({"forgetting": -1.0}, r"`forgetting` must be a finite number above 0; got -1\.0"),
        (
            {"forgetting": 2.0, "controller": ganno_jax.load("nadamw")},
            "no such size and forgetting",
        ),
    ],
)
def test_factors_that_cannot_be_are_one_line(factors, said):
    with pytest.raises(ValueError, match=said):
        ganno_jax.optimizer(12, **factors)
