"""Broad meta-training: what it leaves, and that stopping changes nothing."""

import csv
import dataclasses

import jax
import numpy as np
import pytest

from experiments import broad_commands, broad_families, problems
from experiments.broad_config import BroadConfig, BroadExperiment
from experiments.errors import UserError
from experiments.run import main, parse
from ganno_jax.controllers import load

from .tiny import TINY

pytestmark = pytest.mark.usefixtures("_quick_compilation")


@pytest.mark.parametrize("problem", broad_families.SMALL, ids=lambda p: p.name)
def test_every_family_on_digits_can_be_built(problem):
    if problem.data["name"] != "digits":
        pytest.skip("needs MNIST")
    assert problems.build(problem, None).total_steps == problem.total_steps


def test_broad_training_leaves_a_controller_and_goes_on_after_a_stop(tmp_path, monkeypatch, capsys):
    deep = dataclasses.replace(TINY, name="deep", network={"name": "mlp", "features": (4,)})
    monkeypatch.setattr(broad_families, "SMALL", (TINY, deep))
    monkeypatch.setattr(broad_commands, "examine", lambda *arguments: None)
    words = [
        "--broad.num_envs",
        "4",
        "--broad.group_size",
        "2",
        "--broad.num_minibatches",
        "2",
        "--broad.own_runs",
        "4",
        "--run.devices",
        "1",
    ]
    words += ["--run.folder", str(tmp_path)]
    assert main(["train", "broad", *words, "--broad.num_updates", "2", "--run.name", "whole"]) == 0
    whole = load(tmp_path / "whole" / "agents.controller")
    assert whole.provenance["problems"] == [TINY.name, "deep"]
    assert str(tmp_path) not in str(whole.provenance)
    with (tmp_path / "whole" / "tables" / "own_kinds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["problem"] for row in rows] == [TINY.name, "deep"]
    for row in rows:
        for other, column in (
            ("untrained", "untrained"),
            ("best_size", "best_size_loss"),
            ("mean_schedule", "mean_schedule"),
        ):
            low, high = float(row[f"to_{other}_lower"]), float(row[f"to_{other}_upper"])
            assert low <= float(row["trained"]) - float(row[column]) <= high

    stopped = [*words, "--broad.num_updates", "2", "--run.name", "parts"]
    record = broad_commands.Session.record

    def stop_after_one(self, *arguments):
        record(self, *arguments)
        self.save()
        raise UserError("stopped here")

    with monkeypatch.context() as patch:
        patch.setattr(broad_commands.Session, "record", stop_after_one)
        assert main(["train", "broad", *stopped]) == 2
    assert main(["train", "broad", *stopped, "--run.resume", "--broad.own_runs", "0"]) == 0
    parts = load(tmp_path / "parts" / "agents.controller")
    jax.tree.map(np.testing.assert_array_equal, whole.policy.params, parts.policy.params)

    more = [*words, "--run.name", "parts", "--run.resume", "--broad.own_runs", "0"]
    assert main(["train", "broad", *more, "--broad.num_updates", "3"]) == 0
    longer = load(tmp_path / "parts" / "agents.controller")
    assert longer.provenance["config"]["broad"]["num_updates"] == 3
    assert "earlier" not in parts.provenance
    (plan,) = longer.provenance["earlier"]
    assert (plan["num_updates"], plan["until"]) == (2, 2)
    changed = jax.tree.map(
        lambda a, b: bool(np.any(a != b)), longer.policy.params, parts.policy.params
    )
    assert any(jax.tree.leaves(changed))
    assert main(["train", "broad", *more, "--broad.num_updates", "2"]) == 2
    assert (
        "has made 3 updates; --broad.num_updates must be at least that" in capsys.readouterr().err
    )


def test_kinds_are_chosen_by_words_in_their_names():
    chosen = broad_commands._kinds(BroadConfig(kinds=("RMSprop", "tanh layers, Adam")))
    assert {p.optimizer for p in chosen} == {"rmsprop", "adam"}
    with pytest.raises(ValueError, match="no kind of problem is named like 'LSTM'; there are: dig"):
        broad_commands._kinds(BroadConfig(kinds=("LSTM",)))


def test_a_broad_experiment_is_stored_and_read_again():
    config = parse("train", ["broad", "--broad.num_updates", "3"])
    assert isinstance(config, BroadExperiment)
    assert config.broad.num_updates == 3
