"""Runs of several learner seeds together."""

import numpy as np
import pytest

from experiments.agents import learner_seeds
from experiments.runs.folder import RunFolder

KEYS = ("agents", "base", "replay", "blind", "cosine")


def arrays(agents, schedule=(1.0, 2.0, 4.0)):
    """What is read of a finished run of three trainings."""
    losses = np.array([agents, (2.0, 4.0, 8.0), schedule, schedule, schedule])
    return {
        "keys": np.array(KEYS),
        "tuning_best": np.array("cosine"),
        "final_loss": losses,
        "final_accuracy": np.tile(np.linspace(0.5, 0.9, 5)[:, None], 3),
        "diverged": np.zeros((5, 3), bool),
        "chance_loss": np.array(2.3026),
    }


def test_the_mean_of_the_seeds_has_an_interval_that_holds_what_each_seed_says():
    # Half of the schedule's losses, then a quarter: differences of exactly -log 2 and -log 4 in each run.
    runs = [arrays((0.5, 1.0, 1.0)), arrays((0.25, 0.5, 0.5))]
    for run in runs:
        run["final_loss"][4] = (1.0, 2.0, 2.0)
    interval, means = learner_seeds.together(runs)[learner_seeds.SCHEDULE]
    np.testing.assert_allclose(means, [-np.log(2), -np.log(4)])
    assert interval.estimate == pytest.approx(-1.5 * np.log(2))
    assert interval.lower == pytest.approx(-np.log(4))  # all draws of the better seed
    assert interval.upper == pytest.approx(-np.log(2))


def test_losses_above_guessing_count_as_guessing():
    found = learner_seeds.differences(arrays((9.0, 1.0, 1.0)))
    assert found[learner_seeds.SCHEDULE][0] == pytest.approx(np.log(2.3026))


def test_runs_of_other_trainings_are_refused():
    runs = [arrays((0.5, 1.0, 2.0)), arrays((0.5, 1.0, 2.0), schedule=(1.0, 1.5, 4.0))]
    with pytest.raises(ValueError, match="the same trainings"):
        learner_seeds.together(runs)


def test_the_table_has_a_row_for_each_judge(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(learner_seeds, "stored", lambda folder: arrays((0.5, 1.0, 2.0)))
    learner_seeds.main([str(tmp_path / "a"), str(tmp_path / "b")])
    said = capsys.readouterr().out.splitlines()
    assert len([line for line in said if line.startswith("| their base")]) == 1
    assert "2 of 2" in said[2]
    assert said[-1].startswith(
        "Accuracy: agents 50.0% (50.0%, 50.0%), the best tuned schedule 90.0%"
    )


def test_a_folder_without_an_evaluation_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        learner_seeds.main([str(tmp_path)])
    assert stopped.value.code == 2
    assert "was not evaluated yet" in capsys.readouterr().err
    assert not RunFolder(tmp_path).arrays.exists()
