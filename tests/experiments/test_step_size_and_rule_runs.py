"""Tiny runs of the systems beside the agents: what they leave, and that stopping changes nothing."""

import csv
import dataclasses
import json
import os
import signal
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.configs import step_size_presets
from experiments.rules import compare as rule_compare
from experiments.run import main
from experiments.runs.folder import RunFolder
from experiments.runs.progress import Bar
from experiments.runs.streams import stream
from experiments.step_size import commands as step_size_commands
from experiments.step_size import evaluation as step_size_evaluation
from experiments.step_size import present as step_size_present
from experiments.step_size import stored as step_size_stored
from experiments.step_size.compare import best_static
from experiments.step_size.evaluation import EvaluateResult
from ganno_jax.controller_files import load, save
from ganno_jax.controllers import Controller
from ganno_jax.env.actions import DirectRate
from ganno_jax.env.features import FEATURES
from ganno_jax.evaluation.display import format_table
from ganno_jax.plots.step_size import sensitivity_panels
from ganno_jax.policies.agents import AgentPolicy, init_actor
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import empty_normalizer
from ganno_jax.policies.step_size import StepSizePolicy

pytestmark = pytest.mark.usefixtures("_quick_compilation")
SEARCH = (
    "--search.budget 8 --search.batch_size 4 --search.num_steps 5 --search.rates 0.01 0.1 "
    "--search.control_share 0.5 --network.features 4 --compared_network.features 4 "
    "--search.compared_steps 3 --search.tuning_runs 2 --search.num_runs 3 --search.num_found 1 "
    "--run.devices 1"
)
STEP_SIZE = (
    "--optimizers momentum --step_size.num_samples 4 --step_size.num_tasks 1 "
    "--step_size.num_iterations 2 --step_size.num_steps 20 --step_size.fewest_steps 10 "
    "--step_size.test_steps 20 --step_size.num_runs 2 --step_size.rates 0.01 0.1 "
    "--step_size.num_perturbed 2 --step_size.no_compare --run.devices 1"
)


@pytest.fixture
def few_optimizers(monkeypatch):
    """The comparison compiles a program for each."""
    monkeypatch.setattr(rule_compare, "NAMED", {"sign_sgd": "sign(g)"})
    few = {name: rule_compare.OPTIMIZERS[name] for name in ("SGD", "Adam")}
    monkeypatch.setattr(rule_compare, "OPTIMIZERS", few)


def test_no_two_seeds_and_purposes_share_a_training():
    keys = []
    for seed in (0, 1):
        config = step_size_presets.step_size_digits()
        part = dataclasses.replace(config.step_size, seed=seed)
        config = dataclasses.replace(config, step_size=part)
        test = step_size_evaluation.Test(config, "momentum", None, None)
        keys += [test.seeds, test.tuning_seeds]
        keys += [stream(seed, purpose)[None] for purpose in ("search", "control", "task", "team 1")]
    numbers = np.concatenate([jax.random.key_data(key) for key in keys])
    assert len(np.unique(numbers, axis=0)) == len(numbers)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_clock(path):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read(path)]


def agents_file(folder):
    """Agents that were not trained, two decisions per training."""
    actor = Actor(None, hidden=4)
    policy = AgentPolicy(
        actor=actor,
        params=init_actor(actor, len(FEATURES), jax.random.key(0)),
        normalizer=empty_normalizer(len(FEATURES)),
        feature_mask=jnp.ones(len(FEATURES)),
        actions=DirectRate(1e-3, 0.1),
    )
    return save(folder / "some.controller", Controller(policy, 2))


def assert_whole(run, tables, figures):
    for name in ("config.json", "metrics.jsonl", "summary.json"):
        assert (run / name).is_file()
    assert {path.stem for path in (run / "tables").glob("*.csv")} == tables
    assert {path.stem for path in (run / "figures").glob("*.png")} == figures
    assert "data:image/png" in (run / "report.html").read_text()


@pytest.mark.usefixtures("few_optimizers")
def test_a_rule_search_leaves_every_file_and_can_be_drawn_again(tmp_path):
    more = "--search.method random --search.control_share 0 --search.budget 4"
    place = ["--run.folder", str(tmp_path)]
    assert main(["train", "search_digits", *f"{SEARCH} {more}".split(), *place]) == 0
    run = tmp_path / "search_digits"
    assert_whole(run, {"leaderboard", "comparison"}, {"search", "comparison"})
    board = rows_of(run / "tables" / "leaderboard.csv")
    assert {row["method"] for row in board} == {"random"}
    assert all(float(row["best_rate"]) in (0.01, 0.1) for row in board)
    compared = rows_of(run / "tables" / "comparison.csv")
    assert {"SGD", "Adam", "sign_sgd", "random #1"} <= {row["policy"] for row in compared}
    (run / "report.html").unlink()
    assert main(["plot", "search_digits", *place]) == 0
    assert (run / "report.html").is_file()


@pytest.mark.slow
def test_a_stopped_rule_search_goes_on_as_if_it_had_not_stopped(
    few_optimizers, tmp_path, monkeypatch, capsys
):
    words = ["train", "search_digits", *SEARCH.split(), "--run.folder"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    whole = tmp_path / "whole" / "search_digits"
    assert_whole(whole, {"leaderboard", "comparison"}, {"search", "comparison"})
    show = Bar.show

    def show_and_stop(self, done, note=""):
        show(self, done, note)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "show", show_and_stop)
        assert main([*words, str(tmp_path / "parts")]) == 143
    assert "--run.resume" in capsys.readouterr().err
    parts = tmp_path / "parts" / "search_digits"
    assert len(read(parts / "metrics.jsonl")) == 1
    assert main(["evaluate", "search_digits", "--run.folder", str(tmp_path / "parts")]) == 2
    error = capsys.readouterr().err
    assert "is not finished; finish it first with: python -m" in error
    assert f"--run.folder {tmp_path / 'parts'} --run.resume" in error
    assert main([*words, str(tmp_path / "parts"), "--resume"]) == 0
    assert without_clock(parts / "metrics.jsonl") == without_clock(whole / "metrics.jsonl")
    assert rows_of(parts / "tables" / "leaderboard.csv") == rows_of(
        whole / "tables" / "leaderboard.csv"
    )
    board = rows_of(whole / "tables" / "leaderboard.csv")
    assert {row["method"] for row in board} <= {"ppo", "random"}
    assert all(float(row["best_rate"]) in (0.01, 0.1) for row in board)
    compared = rows_of(whole / "tables" / "comparison.csv")
    assert {"SGD", "Adam", "sign_sgd"} <= {row["policy"] for row in compared}
    (whole / "report.html").unlink()
    assert main(["plot", "search_digits", "--run.folder", str(tmp_path / "whole")]) == 0
    assert (whole / "report.html").is_file()


@pytest.mark.slow
def test_a_step_size_run_leaves_every_file_can_be_drawn_again_and_lends_its_controllers(
    tmp_path, capsys, monkeypatch
):
    folder = ["--run.folder", str(tmp_path), "--step_size.agents", str(agents_file(tmp_path))]
    assert main(["train", "step_size_digits", *STEP_SIZE.split(), *folder]) == 0
    run = tmp_path / "step_size_digits"
    assert load(run / "momentum").decisions == 2
    figures = {"sensitivity_error", "sensitivity_loss"}
    figures |= {"rates_momentum_digits", "perturbation_momentum_digits"}
    assert_whole(run, {"sensitivity", "comparison", "controllers"}, figures)
    compared = {row["policy"]: row for row in rows_of(run / "tables" / "comparison.csv")}
    references = [name for name in compared if name.startswith("reference momentum")]
    assert len(references) == 5
    assert compared["agents per layer, some"]["runs"] == "4"
    assert compared["static, the best rate"]["runs"] == "2"
    before = (run / "tables" / "sensitivity.csv").read_text()
    (run / "tables" / "sensitivity.csv").unlink()
    (run / "report.html").unlink()
    assert main(["plot", "step_size_digits", *folder[:2]]) == 0
    assert (run / "tables" / "sensitivity.csv").read_text() == before
    assert (run / "report.html").is_file()
    changed = ["--resume", "--step_size.num_samples", "5"]
    assert main(["train", "step_size_digits", *STEP_SIZE.split(), *folder, *changed]) == 2
    error = capsys.readouterr().err
    assert "num_samples 4" in error
    assert len(error.splitlines()) == 1

    # Another run tests the same controller: no search, and the first run's panels are drawn too.
    tested, panels = [], []
    stored = step_size_stored.stored(RunFolder(run))["momentum"]

    def test_again(config, name, theta, mesh):
        tested.append((name, theta))
        return stored

    def draw(panels_by_title, *args):
        panels.append(list(panels_by_title))
        return sensitivity_panels(panels_by_title, *args)

    monkeypatch.setattr(step_size_commands, "evaluate_controller", test_again)
    monkeypatch.setattr(step_size_evaluation, "sensitivity_panels", draw)
    monkeypatch.setattr(step_size_present, "title_of", lambda config, name: config.run_name)
    given = ["--step_size.controllers", str(run), "--run.name", "again"]
    assert main(["train", "step_size_digits", *STEP_SIZE.split(), *folder, *given]) == 0
    assert not (tmp_path / "again" / "metrics.jsonl").exists()
    ((name, theta),) = tested
    assert name == "momentum"
    np.testing.assert_allclose(theta, stored.theta, rtol=1e-6)
    assert panels == [["step_size_digits", "again"]] * 2
    given = ["--step_size.controllers", str(tmp_path / "none")]
    assert main(["train", "step_size_digits", *STEP_SIZE.split(), *folder, *given]) == 2


@pytest.mark.slow
def test_a_controller_by_layer_sets_rates_of_its_own_for_every_layer(tmp_path, monkeypatch, capsys):
    seen = []
    run = step_size_evaluation.Test.run

    def look(self, policy, *arguments, **settings):
        curves = run(self, policy, *arguments, **settings)
        if isinstance(policy, StepSizePolicy):
            seen.append((policy.by_layer, curves.rates))
        return curves

    monkeypatch.setattr(step_size_evaluation.Test, "run", look)
    words = [*STEP_SIZE.split(), "--step_size.agents", "None", "--run.folder", str(tmp_path)]
    assert main(["train", "step_size_digits", *words, "--step_size.by_layer"]) == 0
    assert load(tmp_path / "step_size_digits" / "momentum").policy.by_layer
    (_, ours), (references_by_layer, theirs), _ = seen
    assert not references_by_layer
    assert np.ptp(theirs, axis=-1).max() == 0
    assert (np.ptp(ours[:, 1:], axis=-1) > 0).all()  # the first decision comes before any features
    lent = ["--step_size.controllers", str(tmp_path / "step_size_digits"), "--run.name", "other"]
    assert main(["train", "step_size_digits", *words, *lent]) == 2
    assert "need --step_size.by_layer" in capsys.readouterr().err


def test_the_best_static_rate_is_chosen_by_the_selection_split_of_runs_that_are_not_reported(
    monkeypatch,
):
    seen = []

    def run(self, policy, env=None, seeds=None, **settings):
        seen.append(jax.random.key_data(seeds))
        selection = np.ones((len(self.rates), len(seeds)))
        selection[3] = 0.5
        report = np.linspace(0.1, 1.0, selection.size)  # the first rate is the best here
        diverged = np.zeros(selection.size, bool)
        return SimpleNamespace(
            final_loss=report, selection_loss=selection.ravel(), diverged=diverged
        )

    monkeypatch.setattr(step_size_evaluation.Test, "run", run)
    dataset = SimpleNamespace(num_classes=10)
    training: Any = SimpleNamespace(family=SimpleNamespace(dataset=dataset))
    mesh: Any = None
    test = step_size_evaluation.Test(
        step_size_presets.step_size_digits(), "momentum", training, mesh
    )
    assert best_static(test) == 3
    np.testing.assert_array_equal(seen, [jax.random.key_data(test.tuning_seeds)])


def test_the_table_of_a_comparison_shows_policies_and_losses_at_120_columns(capsys):
    rows = [
        {"policy": name, "peak": None, "log_loss": -1.0, "worst_log_loss": 0.5, "error": 0.1}
        | {"worst_error": 0.9, "diverged": 0.25, "runs": 8}
        for name in ("controlled, from any rate", "cosine_warm_restarts, tuned")
    ]
    found = EvaluateResult(np.zeros(5), {}, {}, np.ones(1), {}, rows, np.ones(1), 1.0)
    Console(width=120).print(format_table(step_size_present._table(found), "title"))
    shown = capsys.readouterr().out
    assert "controlled, from any rate" in shown
    assert "cosine_warm_restarts, tuned" in shown
    assert "0.3679" in shown  # exp(-1)
    assert list(step_size_present._table(found)[0])[1] == "test_loss"
