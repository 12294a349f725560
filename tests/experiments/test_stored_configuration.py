"""A run's `config.json` as others may leave it: changed, of another version, empty or gone. No run is needed."""

import hashlib
import json
import os

import numpy as np
import pytest

from experiments.configs import presets
from experiments.configs.values import to_dict
from experiments.run import main, parse
from experiments.runs import folder, whole_files
from experiments.runs.session import Session
from experiments.runs.signals import StopRequest

COMMANDS = (["evaluate", "digits"], ["plot", "digits"], ["train", "digits", "--run.resume"])


def write_run(place, change=lambda config: None, versions=None):
    """The folder of a run that is described only."""
    config = to_dict(presets.named("digits")("small"))
    change(config)
    run = place / "digits"
    values = {"config": config, "versions": versions or {}}
    whole_files.write_json(run / "config.json", values)
    return run


def put(group, name, value):
    def change(config):
        (config[group] if group else config)[name] = value

    return change


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    "change, said",
    [
        (put("", "seed", "0"), "`seed` must be a whole number; got a text '0'"),
        (put("evaluate", "peaks", 0.1), "`evaluate.peaks` must be a list of numbers; got a numb"),
        (put("agent", "recurrent", 1), "`agent.recurrent` must be true or false; got a whole n"),
        (put("agent", "actions", "x"), "`agent.actions` must be one of multipliers, residual, "),
        (put("run", "checkpoint_every", None), "`run.checkpoint_every` must be a number; got null"),
        (put("", "learner", []), "`learner` must be a group of settings; got list"),
        (put("task", "mood", 1), "no setting task.mood; there are: task.batch_size"),
    ],
)
def test_a_changed_configuration_is_one_line_with_field_and_types(
    tmp_path, capsys, command, change, said
):
    run = write_run(tmp_path, change)
    before = (run / "config.json").read_text()
    assert main([*command, "--run.folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"{run / 'config.json'} cannot be read: {said}" in error
    assert (run / "config.json").read_text() == before


def test_a_configuration_of_another_version_says_so(tmp_path, capsys):
    write_run(tmp_path, put("task", "mood", 1), versions={"ganno-jax": "0.0.9"})
    assert main(["plot", "digits", "--run.folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "no setting task.mood" in error
    assert "(written by ganno-jax 0.0.9; this is 0.1.0)" in error


def with_checkpoint(run, number=3):
    """A checkpoint's files as far as the configuration needs them; `config.json` is gone."""
    description = json.loads((run / "config.json").read_text())
    place = run / "checkpoints" / str(number)
    place.mkdir(parents=True)
    content = json.dumps({"config": description["config"], "versions": {"jax": "0"}}).encode()
    whole_files.write_whole(place / "metadata" / "metadata", content)
    digests = {"metadata/metadata": hashlib.sha256(content).hexdigest()}
    whole_files.write_json(place / "sha256.json", digests)
    (run / "config.json").unlink()


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_lost_configuration_is_taken_from_the_newest_whole_checkpoint(tmp_path, capsys, is_empty):
    run = write_run(tmp_path, put("", "seed", 5))
    with_checkpoint(run, 3)
    write_run(tmp_path, put("", "seed", 6))
    with_checkpoint(run, 4)
    (run / "checkpoints" / "4" / "metadata" / "metadata").write_bytes(b"{}")
    if is_empty:
        (run / "config.json").write_text("\n")
    words = ["digits", "--run.folder", str(tmp_path)]
    for command in ("train", "evaluate", "plot"):
        resume = ["--run.resume"] if command == "train" else []
        config = parse(command, [*words, *resume])
        assert config is not None
        assert config.seed == 5
    said = capsys.readouterr().out
    assert said.splitlines() == [f"{run / 'config.json'} was lost; checkpoints/3 has it"]
    assert json.loads((run / "config.json").read_text())["restored_from"] == "checkpoints/3"


def test_a_search_keeps_its_configuration_in_its_checkpoints(tmp_path, capsys):
    words = ["search_digits", "--run.folder", str(tmp_path), "--search.budget", "33"]
    config = parse("train", words)
    assert config is not None
    run = folder.of(config)
    whole_files.write_json(run.config, {"config": to_dict(config)})
    with StopRequest("stopped") as stop, Session(run, config, {}, {"x": np.ones(2)}, stop) as made:
        made.record("search", {"best": 0.5}, {"x": np.ones(2)})
        made.save()
    run.config.unlink()
    assert parse("evaluate", words[:3]) == config
    assert "config.json was lost; checkpoints/1 has it" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_an_empty_configuration_without_a_checkpoint_is_one_line(tmp_path, capsys, command):
    run = write_run(tmp_path)
    (run / "config.json").write_text("")
    assert main([*command, "--run.folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"{run / 'config.json'} is empty, and no checkpoint has the configuration" in error


def test_whole_files_reach_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("disk"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("name"), replace(*names)))
    whole_files.write_whole(tmp_path / "a", "text")
    assert order == ["disk", "name"]


def test_a_run_that_goes_on_needs_no_flag_again(tmp_path):
    def change(config):
        put("", "seed", 5)(config)
        put("run", "updates_per_call", 3)(config)
        put("run", "coordinator", "there:1")(config)

    write_run(tmp_path, change)
    words = ["digits", "--run.folder", str(tmp_path), "--run.resume"]
    config = parse("train", words)
    assert config is not None
    assert (config.seed, config.run.updates_per_call, config.run.resume) == (5, 3, True)
    assert config.run.coordinator is None  # processes are met anew at every start
    assert config.run.folder == str(tmp_path)
    changed = parse("train", [*words, "--run.updates_per_call", "4"])
    assert changed is not None
    assert changed.run.updates_per_call == 4
    fresh = parse("train", words[:-1])
    assert fresh is not None
    assert fresh.seed == 0  # which is refused by the folder, as it holds another run


@pytest.mark.parametrize(
    "flags, said",
    [
        ("--seed 6", "was made with seed 5; here it is 6. Choose another --run.name"),
        ("--scale paper", "was made with scale small; here it is paper. Choose another --run.name"),
    ],
)
def test_a_run_goes_on_with_no_other_flags(tmp_path, capsys, flags, said):
    write_run(tmp_path, put("", "seed", 5))
    words = ["train", "digits", "--run.folder", str(tmp_path), "--run.resume", *flags.split()]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said in error
    assert "remove" not in error


def test_a_run_of_another_preset_is_no_run_to_go_on_with(tmp_path, capsys):
    write_run(tmp_path)
    words = ["train", "fashion_mlp", "--run.folder", str(tmp_path), "--run.name", "digits"]
    assert main([*words, "--run.resume"]) == 2
    assert "is of preset digits, not fashion_mlp" in capsys.readouterr().err
