"""The benchmark of whole optimizers of large networks, at a size that takes seconds."""

import pytest

from benchmarks import common, door_size
from benchmarks.memory import num_bytes
from benchmarks.targets import TARGETS

pytestmark = pytest.mark.usefixtures("_quick_compilation")
BARE, OURS = "nadamw, bare direction", "control, nadamw"


@pytest.mark.slow
def test_rows_say_what_a_whole_optimizer_adds_to_its_bare_direction():
    rows = {row["variant"]: row for row in door_size.measure("tiny", 4, 1, 3, ["nadamw"])}
    assert {door_size.ADAMW, "optax.nadamw", BARE, OURS} < set(rows)
    assert not any("muon" in name for name in rows)
    assert rows[door_size.ADAMW]["over_adamw"] == 1.0
    assert rows[BARE]["overhead"] is None
    assert rows[BARE]["state_over_parameters"] == pytest.approx(2.0, abs=1e-3)  # two momenta
    assert rows[OURS]["state_over_parameters"] > 2.0
    assert rows[OURS]["cpu_overhead"] > 0
    assert (rows[OURS]["batch"], rows[OURS]["every"], rows[OURS]["safety"]) == (4, 3, True)
    assert all(row["temporaries_mb"] > 0 for row in rows.values())


def test_the_state_is_that_of_the_direction_and_temporaries_are_bounded():
    """Of a million parameters; what agents keep does not grow with them, and is 2% of the parameters of 3 million."""
    params, data, gradient = door_size.training((512, 512, 448), 32)
    size = num_bytes(params)
    assert 0.9e6 < size / 4 < 1.1e6
    found = door_size.variants(10, 5, ["nadamw"])
    ours, bare = (
        door_size.compiled_step(found[name].optimizer, params, data, gradient, 1)
        for name in (OURS, BARE)
    )
    assert (ours.state_over_parameters - 2) * size <= 256 * 1024
    assert ours.temporaries - bare.temporaries <= 1.3 * size
    assert ours.temporaries <= 2.6 * bare.temporaries


def test_all_optimizers_are_there_and_each_controller_has_its_bare_direction():
    found = door_size.variants(10, 5)
    assert {"optax.adamw", "optax.contrib.muon", "optax.nadamw"} < set(found)
    ours = {name: variant for name, variant in found.items() if variant.bare is not None}
    assert [variant.safety for variant in ours.values()] == [True, False] * 2
    assert {variant.bare for variant in ours.values()} == {"muon, bare direction", BARE}


def test_ratios_are_of_the_same_turn():
    timings = {
        "a": common.Timing(wall=(2.0, 30.0, 4.0), cpu=(1.0, 1.0, 1.0)),
        "b": common.Timing(wall=(1.0, 10.0, 1.0), cpu=(2.0, 4.0, 8.0)),
        "slow": common.Timing(wall=(8.0,), cpu=(8.0,)),
    }
    assert door_size.ratio(timings, "a", "b", "wall") == 3.0
    assert door_size.ratio(timings, "a", "b", "cpu") == 0.25
    assert door_size.ratio(timings, "slow", "a", "wall") == 4.0


def test_a_size_that_does_not_fit_is_left_out_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(door_size, "of_devices", lambda: 1e9)
    monkeypatch.setattr(common, "use_devices", lambda count: None)
    monkeypatch.setattr(door_size, "measure", lambda *settings: [])
    door_size.main(["--millions", "10", "100"])
    said = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert [line.split(";")[0] for line in said] == [
        "left out: MLP 10M needs 1.2 GiB",
        "left out: MLP 100M needs 12.2 GiB",
    ]


def test_the_targets_are_of_the_dearest_controller_with_its_guards():
    rows = [
        {"network": "MLP 10M", "batch": 32, "safety": safety, "cpu_overhead": overhead}
        | {"state_over_parameters": 2.01}
        for safety, overhead in ((True, 0.1), (True, 0.2), (False, 0.4), (None, 0.9))
    ]
    found = [t.measure({"door_size": rows}) for t in TARGETS if "whole optimizer" in t.question]
    assert found == [0.2, None, 2.01]
