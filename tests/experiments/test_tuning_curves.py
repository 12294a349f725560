"""What tuning runs buy, of a controller and of its rivals."""

import numpy as np
import pytest

from experiments.configs.broad import Effort
from experiments.problems.problem import Problem
from experiments.problems.suites import training_of
from experiments.runs.whole_files import read_object
from experiments.suites import tuning_curves
from experiments.suites.methods import BASE, BLIND, OURS, REPLAY, learner_seed
from experiments.suites.methods import methods as every_method
from experiments.suites.random_search import (
    ADAMW,
    FACTORS,
    MUON,
    RIVAL,
    Trials,
    drawn,
    kept,
    measure,
    methods,
)
from experiments.suites.train import Bench
from experiments.suites.tuning_curves import against, chosen, lines
from ganno_jax.controller_files import load
from ganno_jax.env import make_mesh


@pytest.mark.parametrize("space", [RIVAL, FACTORS])
def test_the_first_trial_is_untuned_and_the_others_are_in_range(space):
    found = drawn(space, 200)
    for name, (untuned, (low, high)) in space.items():
        assert found[name][0] == np.float32(untuned)
        rest = found[name][1:]
        assert low <= rest.min() < 1.1 * low
        assert high / 1.1 < rest.max() <= high
        np.testing.assert_allclose(np.log(rest).mean(), np.log(low * high) / 2, atol=0.25)
    assert abs(np.corrcoef(*(np.log(x[1:]) for x in found.values()))[0, 1]) < 0.2
    fewer = drawn(space, 5)
    assert all(len(x) == 5 for x in fewer.values())


def trials(first, second):
    """Two seeds of two trials; the second one is chosen in both."""
    losses = np.array([[first, second]] * 2)
    return Trials(losses, losses, np.exp(losses))


FOUND = {
    "one": {OURS: trials(-1.0, -1.5), ADAMW: trials(0.0, -1.0)},
    "two": {OURS: trials(-2.0, -2.0), ADAMW: trials(-1.0, -2.5)},
}


def test_losses_are_compared_with_those_of_adamw_at_its_best():
    found = against(chosen(FOUND, [1, 2]))
    np.testing.assert_allclose(found[OURS], [[[0.0, -0.5]] * 2, [[0.5, 0.5]] * 2])
    np.testing.assert_allclose(found[ADAMW], [[[1.0, 0.0]] * 2, [[1.5, 0.0]] * 2])


def test_tables_have_intervals_over_problems_and_accuracies_where_there_are_classes():
    losses = lines(FOUND, [1, 2])
    assert losses[0] == "| minus AdamW at its best | 1 | 2 |"
    assert losses[2].startswith(f"| {OURS} | +0.250 [+0.000, +0.500] | +0.000 [")
    assert losses[3].startswith(f"| {ADAMW} | +1.250 [")
    assert losses[5] == "| at equal budgets | 1 | 2 |"
    assert losses[7].startswith(
        f"| {OURS} minus {ADAMW} | -1.000 [-1.000, -1.000], 2 of 2 | +0.000 ["
    )
    assert losses[7].endswith("], 1 of 2 |")
    means = np.exp([-1, -2]).mean(), np.exp([-1.5, -2]).mean()
    assert losses[11] == f"| {OURS} | {means[0]:.1%} | {means[1]:.1%} |"
    nothing = {
        problem: {n: Trials(t.selection, t.report, np.nan * t.report) for n, t in cells.items()}
        for problem, cells in FOUND.items()
    }
    assert lines(nothing, [1, 2]) == losses[:8]


def test_equal_budgets_are_compared_over_all_learner_seeds():
    more = {name: cells | {learner_seed(2): trials(-3.0, -3.0)} for name, cells in FOUND.items()}
    table = lines(more, [1, 2])[6:9]
    rows = [line for line in table if line.startswith("| controllers")]
    mean = np.mean([[-1.0, -1.0], [-3.0, -2.0]])  # learner by problem
    assert rows[0].startswith(f"| controllers of 2 learner seeds minus {ADAMW} | {mean:.3f} [")
    assert len(rows) == 1


def test_trials_are_kept_for_the_same_settings_alone(tmp_path):
    made = []

    def make():
        made.append(1)
        return trials(-1.0, len(made))

    path, settings = tmp_path / "problem" / "method.json", {"space": {"peak": (1.0, (0.1, 2.0))}}
    first = kept(path, settings, make)
    again = kept(path, settings, make)
    assert made == [1]
    np.testing.assert_array_equal(first.report, again.report)
    assert kept(path, {**settings, "trials": 3}, make).report[0, 1] == 2
    path.write_text("{ damaged")
    kept(path, settings, make)
    assert len(made) == 3


def test_a_controller_without_a_size_to_search_is_refused_in_one_line(capsys):
    with pytest.raises(SystemExit):
        tuning_curves.main(["broad"])
    assert "whose agents set size and forgetting" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit):
        tuning_curves.main(["muon", "--trials", "1"])
    assert "at least 2 trials" in capsys.readouterr().err.splitlines()[-1]


def test_blind_agents_and_learner_seeds_are_searched_as_the_controller_is():
    muon, other = load("muon"), load("muon").replace(provenance="another seed")
    compared = methods(muon, blind=other, more=(other, muon))
    second, third = f"{OURS}, learner seed 2", f"{OURS}, learner seed 3"
    assert list(compared) == [OURS, BASE, REPLAY, BLIND, second, third, MUON, ADAMW]
    for name in (BLIND, second, third):
        assert compared[name].space == FACTORS
    assert compared[BLIND].controller is compared[second].controller is other


@pytest.mark.slow
def test_a_replay_is_searched_around_what_the_controller_did_on_average():
    """Twice the size of a replay moves farther; factors of one leave the table as it is."""
    problem = Problem("wine", {"name": "wine"}, {"name": "softmax"}, batch_size=8).of_steps(20)
    bench = Bench(problem, training_of(problem, None), make_mesh(), Effort(num_seeds=2))
    found = measure(bench, methods(load("muon"))[REPLAY], 3)
    optimizer, numbers = every_method(load("muon"))[REPLAY].make_fn(bench)
    alone = bench.train(optimizer, numbers, np.zeros(2, int), 20 + np.arange(2), report=True)
    np.testing.assert_allclose(found.report[:, 0], np.log(alone.final_loss), rtol=1e-5)
    assert len(np.unique(found.report)) == 6


@pytest.mark.slow
def test_a_search_on_a_problem_and_its_table(tmp_path, capsys, monkeypatch):
    problem = Problem("wine", {"name": "wine"}, {"name": "softmax"}, batch_size=8).of_steps(20)
    bench = Bench(problem, training_of(problem, None), make_mesh(), Effort(num_seeds=3))
    compared = methods(load("muon"))
    assert list(compared) == [OURS, BASE, REPLAY, MUON, ADAMW]
    found = measure(bench, compared[ADAMW], 4)
    assert found.selection.shape == found.report.shape == found.accuracy.shape == (3, 4)
    assert len(np.unique(found.report)) == 12  # seeds and settings all differ
    monkeypatch.setattr(tuning_curves, "problems_of", lambda *_: (problem,))
    words = ["muon", "--trials", "4", "--seeds", "3", "--folder", str(tmp_path)]
    tuning_curves.main(words)
    printed = capsys.readouterr().out
    assert "| at equal budgets | 1 | 2 | 4 |" in printed
    assert (tmp_path / "development" / "tuning_curves.png").stat().st_size > 10_000
    stored = read_object(tmp_path / "development" / "wine" / "adamw.json")["trials"]["report"]
    np.testing.assert_allclose(stored, found.report, rtol=1e-6)
