"""A run's `config.json` as others may leave it: changed, of another version, empty or gone. No run is needed."""

import pytest

from experiments import folder, presets
from experiments.config import to_dict
from experiments.run import main

COMMANDS = (["evaluate", "digits"], ["plot", "digits"], ["train", "digits", "--run.resume"])


def write_run(place, change=lambda config: None, versions=None):
    """The folder of a run that is described only."""
    config = to_dict(presets.named("digits")("small"))
    change(config)
    run = place / "digits"
    values = {"config": config, "versions": versions or {}}
    folder.write_json(run / "config.json", values)
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
