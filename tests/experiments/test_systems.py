"""Tiny runs of the systems beside the agents: what they leave, and that stopping changes nothing."""

import csv
import json
import os
import signal

import pytest

from experiments import rule_search
from experiments.progress import Bar
from experiments.run import main

SEARCH = (
    "--search.budget 8 --search.batch_size 4 --search.num_steps 5 --search.rates 0.01 0.1 "
    "--search.control_share 0.5 --search.features 4 --search.compared_features 4 "
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
    monkeypatch.setattr(rule_search, "NAMED", {"sign_sgd": "sign(g)"})
    few = {name: rule_search.OPTIMIZERS[name] for name in ("SGD", "Adam")}
    monkeypatch.setattr(rule_search, "OPTIMIZERS", few)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_clock(path):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read(path)]


def assert_whole(run, tables, figures):
    for name in ("config.json", "metrics.jsonl", "summary.json"):
        assert (run / name).is_file()
    assert {path.stem for path in (run / "tables").glob("*.csv")} == tables
    assert {path.stem for path in (run / "figures").glob("*.png")} == figures
    assert "data:image/png" in (run / "report.html").read_text()


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


def test_a_step_size_run_leaves_every_file_and_can_be_drawn_and_evaluated_again(tmp_path, capsys):
    folder = ["--run.folder", str(tmp_path)]
    assert main(["train", "step_size_digits", *STEP_SIZE.split(), *folder]) == 0
    run = tmp_path / "step_size_digits"
    figures = {"sensitivity", "rates_momentum_digits", "perturbation_momentum_digits"}
    assert_whole(run, {"sensitivity", "controllers"}, figures)
    before = (run / "tables" / "sensitivity.csv").read_text()
    (run / "tables" / "sensitivity.csv").unlink()
    (run / "report.html").unlink()
    assert main(["plot", "step_size_digits", *folder]) == 0
    assert (run / "tables" / "sensitivity.csv").read_text() == before
    assert (run / "report.html").is_file()
    changed = ["--resume", "--step_size.num_samples", "5"]
    assert main(["train", "step_size_digits", *STEP_SIZE.split(), *folder, *changed]) == 2
    error = capsys.readouterr().err
    assert "num_samples 4" in error
    assert len(error.splitlines()) == 1
