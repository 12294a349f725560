"""Controllers that are kept to be compared with the shipped `muon`: of its recipe, but for what their names say."""

from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import suites
from ganno_jax.controller_files import fingerprint, load

FOLDER = Path(suites.__file__).parent / "controllers"
SHIPPED = load("muon")


def _recipe(controller, but):
    settings = controller.provenance["config"]["broad"]
    return {name: value for name, value in settings.items() if name != but}


@pytest.mark.parametrize(
    ("name", "differs", "value"),
    [
        ("muon_seed1", "seed", 1),
        ("muon_seed2", "seed", 2),
        ("muon_blind", "hidden_features", ["all"]),
    ],
)
def test_a_kept_controller_differs_from_the_shipped_one_by_what_it_is_named_for(
    name, differs, value
):
    kept = load(FOLDER / f"{name}.controller")
    assert _recipe(kept, differs) == _recipe(SHIPPED, differs)
    assert kept.provenance["config"]["broad"][differs] == value
    assert kept.provenance["problems"] == SHIPPED.provenance["problems"]
    assert kept.provenance["inner_steps"] == SHIPPED.provenance["inner_steps"]
    assert (kept.direction, kept.decisions) == (SHIPPED.direction, SHIPPED.decisions)
    assert kept.policy.actions == SHIPPED.policy.actions
    assert fingerprint(kept) != fingerprint(SHIPPED)
    shapes = jax.tree.map(np.shape, (kept.policy.params, SHIPPED.policy.params))
    assert shapes[0] == shapes[1]


def test_blind_agents_see_nothing_and_the_others_see_something():
    assert not np.any(load(FOLDER / "muon_blind.controller").policy.feature_mask)
    for name in ("muon_seed1", "muon_seed2"):
        seen = load(FOLDER / f"{name}.controller").policy.feature_mask
        np.testing.assert_array_equal(seen, SHIPPED.policy.feature_mask)
        assert np.any(seen)
