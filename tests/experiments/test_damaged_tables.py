"""Files that `plot` makes figures and numbers from: one that is not as it was written is refused in one line."""

import json
import shutil

import jax
import numpy as np
import pytest

from experiments.agents.commands import TIMES
from experiments.rules.present import BOARD, COMPARED
from experiments.run import main, parse
from experiments.runs import history, outputs, whole_files
from experiments.runs.enter import describe
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.logs import Lines, read_finished
from experiments.step_size.evaluation import EvaluateResult
from experiments.step_size.other_run import controllers_of
from experiments.step_size.stored import store, stored
from ganno_jax.policies.step_size import WEIGHTS

from .tiny import assert_one_line

RULES, STEP_SIZE = "search_digits", "step_size_digits"
FILES = {
    RULES: ("tables/leaderboard.csv", "tables/comparison.csv", "metrics.jsonl", "summary.json"),
    STEP_SIZE: ("tables/evaluation.json", "tables/controllers.csv", "summary.json"),
}
OF_PRESET = [(preset, name) for preset, names in FILES.items() for name in names]


def begun(base, preset):
    config = parse("train", [preset, "--run.folder", str(base)])
    run = RunFolder(base / preset)
    run.path.mkdir()
    describe(config, run, jax.devices()[:1])
    seconds = {"seconds_search": 1.5, "seconds_evaluation": 0.5}
    whole_files.write_object(run.summary, {"headline": "made up", **seconds})
    return run


def rules_run(base):
    run = begun(base, RULES)
    lines = Lines(run.metrics, 0)
    for update, name in enumerate(("search", "search", "control"), start=1):
        numbers = {"evaluated": 4 * update, "best": 0.5, "reward_mean": 0.25}
        lines.write({"update": update, "of": name, **numbers})
    lines.close()
    history.finish(run.metrics)
    texts, numbers = BOARD
    of_board = dict.fromkeys(numbers, 0.5) | {"rank": 1}
    rules = [dict.fromkeys(texts, "sign(g)") | of_board | {"method": m} for m in ("ppo", "random")]
    outputs.store_rows(run, "leaderboard", rules)
    texts, numbers = COMPARED
    row = dict.fromkeys(texts, "Adam") | {"rule": "", "test_loss": None}
    row |= dict.fromkeys(numbers, 0.5) | {"test_accuracy_lower": 0.4, "test_accuracy_upper": 0.6}
    found = {"policy": "ppo #1", "kind": "found rule", "rule": "sign(g)"}
    outputs.store_rows(run, "comparison", [row, row | found])


def step_size_run(base):
    run = begun(base, STEP_SIZE)
    rates, losses = np.array([0.01, 0.1]), np.full((2, 3), 0.5)
    row = {"policy": "static", "peak": None, "log_loss": -1.0, "worst_log_loss": 0.5}
    row |= {"error": 0.25, "worst_error": 0.5, "diverged": 0.0, "runs": 6}
    panel = {"static": (rates, losses), "controlled": (rates, losses)}
    steps = np.array([10, 20])
    result = EvaluateResult(
        theta=np.arange(float(len(WEIGHTS))),
        losses=panel,
        errors=panel,
        steps=steps,
        rates={"from 0.01": np.full((3, 2), 0.01)},
        comparison=[row],
        perturbed_losses=np.array([-1.0, -0.5]),
        unperturbed_loss=-1.0,
    )
    store(run, {"momentum": result})
    weights = dict.fromkeys(WEIGHTS, 0.5)
    outputs.store_rows(run, "controllers", [{"optimizer": "momentum", **weights}])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    rules_run(base)
    step_size_run(base)
    return base


@pytest.fixture
def run_of(made, tmp_path):
    return lambda preset: RunFolder(shutil.copytree(made / preset, tmp_path / preset))


def plot(run):
    return main(["plot", run.path.name, "--run.folder", str(run.path.parent)])


@pytest.mark.parametrize("preset", FILES)
def test_what_is_as_it_was_written_is_drawn(run_of, preset):
    run = run_of(preset)
    assert plot(run) == 0
    assert plot(run) == 0  # from the summary that the first wrote
    assert json.loads(run.summary.read_text())["seconds_search"] == 1.5


@pytest.mark.parametrize(("preset", "name"), OF_PRESET)
def test_a_changed_digit_is_one_line(run_of, capsys, preset, name):
    run = run_of(preset)
    path = run.path / name
    content = path.read_text()
    path.write_text(content.replace("0.5", "0.6", 1))
    assert path.read_text() != content
    assert plot(run) == 2
    assert_one_line(capsys, str(path), "it is not as it was written")


NO_NUMBER = {".json": "NaN", ".jsonl": '"0.5"', ".csv": "nan"}
WRONG = {"list": "[]", "object": "{}", "empty": "", "deep": "[" * 100_000, "bytes": "\xff\x00,\n1"}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("preset", "name"), OF_PRESET)
def test_a_file_of_another_kind_is_one_line_also_without_its_digest(
    run_of, capsys, preset, name, wrong
):
    run = run_of(preset)
    path = run.path / name
    path.write_bytes(WRONG[wrong].encode("latin-1"))
    path.with_name(f"{path.name}.sha256").unlink()
    assert plot(run) == 2
    assert_one_line(capsys, str(path))


@pytest.mark.parametrize(("preset", "name"), OF_PRESET)
def test_a_number_that_is_none_is_one_line_also_without_its_digest(run_of, capsys, preset, name):
    run = run_of(preset)
    path = run.path / name
    path.write_text(path.read_text().replace("0.5", NO_NUMBER[path.suffix], 1))
    path.with_name(f"{path.name}.sha256").unlink()
    assert plot(run) == 2
    assert_one_line(capsys, str(run.path))


def changes(values):
    """The same with one part left out or replaced, part by part."""
    parts = values.items() if isinstance(values, dict) else enumerate(values)
    for key, part in parts:
        for other in (None, [], {}, "x", -1.0, float("inf"), [[[0.5]]]):
            changed = dict(values) if isinstance(values, dict) else list(values)
            changed[key] = other
            yield changed
        if isinstance(part, dict | list):
            for inner in changes(part):
                changed = dict(values) if isinstance(values, dict) else list(values)
                changed[key] = inner
                yield changed


def test_an_evaluation_of_any_form_is_read_or_refused(run_of):
    run = run_of(STEP_SIZE)
    path = run.tables / "evaluation.json"
    whole = json.loads(path.read_text())
    path.with_name(f"{path.name}.sha256").unlink()
    read, refused = [], []
    for values in changes(whole):
        path.write_text(json.dumps(values))
        try:
            read += stored(run).values()
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 300
    assert not any("\n" in line for line in refused)
    assert len(read) < 80  # such as a peak that is a number, or another number of runs
    assert all(result.losses["static"][1].shape == (2, 3) for result in read)
    for key in whole["momentum"]:
        part = {name: value for name, value in whole["momentum"].items() if name != key}
        path.write_text(json.dumps({"momentum": part}))
        with pytest.raises(UserError, match=f"evaluation.json has no '{key}'"):
            stored(run)


def test_damaged_times_of_agents_are_one_line(tmp_path, capsys):
    run = begun(tmp_path, "digits")
    whole_files.write_object(run.timing, dict.fromkeys(TIMES, 0.5))
    run.timing.write_text(run.timing.read_text().replace("0.5", "0.6", 1))
    assert plot(run) == 2
    assert_one_line(capsys, "timing.json", "it is not as it was written")
    whole_files.write_object(run.timing, dict.fromkeys(TIMES, "0.5"))
    assert plot(run) == 2
    assert_one_line(capsys, "timing.json has no number 'inner_steps_per_second'")


def test_the_controllers_of_a_damaged_table_are_not_lent(run_of, tmp_path):
    run = run_of(STEP_SIZE)
    words = [STEP_SIZE, "--run.folder", str(tmp_path), "--step_size.controllers", str(run.path)]
    config = parse("train", [*words, "--run.name", "other", "--optimizers", "momentum"])
    np.testing.assert_array_equal(controllers_of(config)["momentum"], np.float32(0.5))
    path = run.tables / "controllers.csv"
    path.write_text(path.read_text().replace("0.5", "0.25", 1))
    with pytest.raises(UserError, match=r"controllers\.csv cannot be read: it is not as it was"):
        controllers_of(config)


def test_records_may_grow_again_and_say_when_they_were_changed(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1, "return": 0.5}\n')
    history.finish(path)
    path.write_text('{"update": 1, "return": 0.6}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl cannot be read: it is not as"):
        read_finished(path)
    history.say_missing(path, [1])
    assert "it is not as it was written" in capsys.readouterr().out.replace("\n", " ")
    lines = Lines(path, 1)
    lines.write({"update": 2, "return": 1.0})
    lines.close()
    assert [line["update"] for line in read_finished(path)] == [1, 2]
