"""The head start of broad meta-training: what it learns from, and what of it is kept."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments.broad import commands as broad_commands
from experiments.broad import head_start as broad_head_start
from experiments.configs.broad import BroadConfig
from experiments.configs.values import to_dict
from experiments.problems import broad_families, random_families
from experiments.problems.problem import build
from experiments.run import main, parse
from ganno_jax.controller_files import load
from ganno_jax.learners import head_start

from .tiny import TINY

pytestmark = pytest.mark.usefixtures("_quick_compilation")


@pytest.mark.slow
def test_a_head_start_comes_from_the_kinds_and_from_others_drawn_at_random(
    tmp_path, monkeypatch, capsys
):
    asked = []

    def draw(number):
        asked.append(number)
        return dataclasses.replace(TINY, name="random", network={"name": "mlp", "features": (4,)})

    monkeypatch.setattr(broad_families, "SMALL", (TINY,))
    monkeypatch.setattr(random_families, "draw", draw)
    monkeypatch.setattr(broad_commands, "examine", lambda *arguments: None)
    fits, learned_on = [], []
    fit = head_start.fit

    def remember(learner, state, sweeps, *arguments):
        learned_on.append([env.num_layers for env in learner.envs])
        fits.append((state, sweeps, fit(learner, state, sweeps, *arguments, num_steps=3)))
        return fits[-1][-1]

    monkeypatch.setattr(head_start, "fit", remember)
    words = (
        "--broad.head_start 8 --broad.random_kinds 1 --broad.num_members 2 --broad.num_updates 0"
    )
    words += f" --broad.own_runs 0 --run.devices 2 --run.folder {tmp_path}"
    assert main(["train", "broad", *words.split()]) == 0
    assert asked == [0]
    (first, sweeps, fitted), (second, again, _) = fits
    assert sweeps is again
    assert [found.returns.shape for found in sweeps] == [(8, 10), (2, 10)]
    assert [found.features.shape[3] for found in sweeps] == [1, 2]
    assert first.params["actor"] is not second.params["actor"]
    found = load(tmp_path / "broad" / "agents.controller").policy.split()[0]
    jax.tree.map(np.testing.assert_array_equal, found.params, fitted.params["actor"])
    assert np.asarray(found.normalizer.count) > 0

    sweep, run = head_start.sweep, []

    def count(*arguments):
        run.append(arguments)
        return sweep(*arguments)

    monkeypatch.setattr(head_start, "sweep", count)
    (tmp_path / "broad" / "head_start" / "1.npz").write_bytes(b"cut short")
    assert main(["train", "broad", *words.split(), "--run.resume"]) == 0
    assert len(run) == 1  # the damaged one; the other was kept
    jax.tree.map(np.testing.assert_array_equal, fits[2][1], sweeps)
    with monkeypatch.context() as patch:
        patch.setattr(broad_head_start, "FEATURE_VERSION", 1000)
        assert main(["train", "broad", *words.split(), "--run.resume"]) == 0
    assert len(run) == 3  # agents see something else: none is kept
    other = ["train", "broad", *words.split(), "--run.resume", "--broad.alpha", "2"]
    assert main(other) == 2
    assert "was made with broad.alpha 2.5; here it is 2.0" in capsys.readouterr().err
    (tmp_path / "broad" / "config.json").write_text(
        json.dumps({"config": to_dict(parse("train", other[1:]))})
    )
    assert main(other) == 0  # trainings kept under other actions are not taken
    assert len(run) == 5
    described = load(tmp_path / "broad" / "agents.controller").provenance
    assert described["config"]["broad"]["alpha"] == 2
    assert learned_on == 8 * [[1]]
    words += " --broad.random_learned 1 --run.name more"
    assert main(["train", "broad", *words.split()]) == 0
    assert learned_on[-1] == [1, 2]
    assert [found.returns.shape for found in fits[-1][1]] == [(8, 10), (2, 10)]
    provenance = load(tmp_path / "more" / "agents.controller").provenance
    assert provenance["problems"] == [TINY.name, "random"]


def test_kept_trainings_are_keyed_by_settings_features_libraries_and_data(monkeypatch):
    env = build(TINY, None)

    def key(env=env, **changes):
        settings = dataclasses.replace(BroadConfig(), **changes)
        return broad_head_start._settings(settings, TINY, 0, 8, env)

    first = key()
    changed = [
        key(**{name: value})
        for name, value in {
            "actions": "whole",
            "horizon_exponent": 0.5,
            "forgetting": 0.3,
            "epoch_exponent": 0.7,
            "coupling": 0.25,
        }.items()
    ]
    other_data = dataclasses.replace(TINY, data={**TINY.data, "max_examples": 190})
    changed.append(key(build(other_data, None)))
    for name, value in (
        ("experiments.broad.head_start.FEATURE_VERSION", 1000),
        ("experiments.suites.cells.version", lambda library: "another"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, value)
            changed.append(key())
    assert key(learning_rate=1.0, num_updates=3) == first  # nothing of the learner's
    assert len({first, *changed}) == 1 + len(changed)
