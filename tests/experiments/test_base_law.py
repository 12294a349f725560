"""The law of the base: its equation, its regret, and one slice of a measurement."""

import json
import math

import numpy as np
import pytest

from experiments.broad import base_law
from experiments.broad.base_law import FORGETTINGS, SIZES, Law, main, measure, regret

from .tiny import TINY


def test_a_law_is_its_equation():
    law = Law(0.02, 0.5, 0.25, 0.5, 0.7, 0.25)
    assert law.forgets(0.3) == 0.5
    assert math.isclose(law.forgets(10.0), 0.5 * 10**0.7)
    assert math.isclose(law.size(2400, 1024, 0.3), 0.02 * 0.5 * 2 * 0.5**0.25)


def test_regret_is_what_a_law_loses_to_the_best_pair():
    x, y = np.meshgrid(np.log(SIZES), np.log(FORGETTINGS), indexing="ij")
    losses = np.abs(x - math.log(0.02)) + 2 * np.abs(y - math.log(4.0)) - 1.0
    one = {"steps": 600, "batch_size": 64, "epochs": 1.0, "log_loss": losses.tolist()}
    assert regret(Law(0.02, 0, 0, 4.0, 0, 0), [one]) == pytest.approx([0.0], abs=1e-9)
    assert regret(Law(0.03, 0, 0, 4.0, 0, 0), [one]) == pytest.approx([math.log(1.5)])
    assert regret(Law(0.02, 0, 0, 3.0, 0, 0), [one]) == pytest.approx([2 * math.log(4 / 3)])


@pytest.mark.slow
def test_a_slice_is_measured_once_and_laws_are_ranked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(base_law, "SIZES", (0.01, 0.1))
    monkeypatch.setattr(base_law, "FORGETTINGS", (0.5, 4.0))
    found = measure(TINY, 30, 8, None)
    assert np.shape(found["log_loss"]) == (2, 2)
    assert np.isfinite(found["log_loss"]).all()
    assert found["epochs"] == pytest.approx(2.0)  # 120 examples are left for training
    monkeypatch.setattr(base_law, "FAMILIES", (TINY,))
    monkeypatch.setattr(base_law, "SLICES", ((30, 8),))
    asked = []
    monkeypatch.setattr(base_law, "measure", lambda *arguments: asked.append(arguments) or found)
    for _ in range(2):
        main(["--out", str(tmp_path / "law.jsonl")])
    assert len(asked) == 1
    assert json.loads((tmp_path / "law.jsonl").read_text())["family"] == TINY.name
    laws = [Law(0.01, 0, 0, 0.5, 0, 0), Law(0.1, 0, 0, 4.0, 0, 0)]
    monkeypatch.setattr(base_law, "candidates", lambda: laws)
    capsys.readouterr()
    main(["--fit", str(tmp_path / "law.jsonl")])
    first, second = (float(line.split()[0]) for line in capsys.readouterr().out.splitlines())
    assert first <= second
