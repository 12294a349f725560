"""Broad meta-training: what it leaves, and that stopping changes nothing."""

import csv
import dataclasses

import jax
import numpy as np
import pytest

from experiments.broad import commands as broad_commands
from experiments.broad import compare
from experiments.broad import train as broad_training
from experiments.broad.build import kept_actions, kinds_of, make_actions, make_env
from experiments.configs import presets
from experiments.configs.broad import BroadConfig, BroadExperiment
from experiments.problems import broad_families, horizons, large_families, random_families
from experiments.problems.problem import build
from experiments.run import main, parse
from experiments.runs.errors import UserError
from experiments.runs.session import Session
from ganno_jax.controller_files import load
from ganno_jax.env.whole_update import WholeUpdate
from ganno_jax.inner import Direction

from ..tasks.raw_files import write_idx
from .tiny import TINY

pytestmark = pytest.mark.usefixtures("_quick_compilation")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with images of noise in the place of MNIST, enough for the examples that problems set aside."""
    folder = tmp_path_factory.mktemp("data")
    write_idx(folder / "mnist", num_train=1200, zipped=False)
    return str(folder)


@pytest.mark.parametrize("problem", broad_families.SMALL, ids=lambda p: p.name)
def test_every_family_can_be_built(problem, images):
    env = build(problem, images)
    assert env.total_steps == problem.total_steps
    assert env.training.family.num_reward == problem.num_reward


@pytest.mark.slow
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
        "--broad.num_members",
        "2",
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

    first, second = whole.policy.split()
    differs = jax.tree.map(lambda a, b: bool(np.any(a != b)), first.params, second.params)
    assert any(jax.tree.leaves(differs))

    stopped = [*words, "--broad.num_updates", "2", "--run.name", "parts"]
    record = Session.record

    def stop_after_three(self, *arguments):
        record(self, *arguments)
        self.save()
        if self.update == 3:
            raise UserError("stopped here")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "record", stop_after_three)
        assert main(["train", "broad", *stopped]) == 2
    assert main(["train", "broad", *stopped, "--run.resume", "--broad.own_runs", "0"]) == 0
    parts = load(tmp_path / "parts" / "agents.controller")
    jax.tree.map(np.testing.assert_array_equal, whole.policy, parts.policy)

    more = [*words, "--run.name", "parts", "--run.resume", "--broad.own_runs", "0"]
    assert main(["train", "broad", *more, "--broad.num_updates", "3"]) == 0
    longer = load(tmp_path / "parts" / "agents.controller")
    assert longer.provenance["config"]["broad"]["num_updates"] == 3
    assert "earlier" not in parts.provenance
    (plan,) = longer.provenance["earlier"]
    assert (plan["num_updates"], plan["until"]) == (2, 2)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), longer.policy, parts.policy)
    assert any(jax.tree.leaves(changed))
    assert main(["train", "broad", *more, "--broad.num_updates", "2"]) == 2
    assert (
        "has made 3 updates; --broad.num_updates must be at least that" in capsys.readouterr().err
    )


def test_agents_that_are_not_finite_stop_at_once_and_leave_no_controller(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(broad_families, "SMALL", (TINY,))
    made = []

    class Broken:
        """Updates of which the second one breaks."""

        def __init__(self, *arguments):
            del arguments

        def __call__(self, state):
            made.append(1)
            metrics = dict.fromkeys(("return", "entropy", "kl"), 0.0)
            return state, metrics | {"finite": float(len(made) < 2)}

    monkeypatch.setattr(broad_training, "UpdatesApart", Broken)
    words = "--broad.num_envs 4 --broad.group_size 2 --broad.num_minibatches 2 --broad.own_runs 0"
    words += f" --broad.num_updates 4 --run.devices 1 --run.folder {tmp_path}"
    assert main(["train", "broad", *words.split()]) == 2
    assert "are not finite since update 2: stopped" in capsys.readouterr().err
    assert len(made) == 2
    assert not (tmp_path / "broad" / "agents.controller").exists()


@pytest.mark.slow
def test_one_direction_in_every_kind_makes_a_whole_optimizer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(broad_families, "SMALL", (TINY,))
    seen = []
    monkeypatch.setattr(broad_commands, "examine", lambda folder, made, *rest: seen.append(made))
    words = "--broad.num_envs 4 --broad.group_size 2 --broad.num_minibatches 2 --broad.own_runs 4"
    words += f" --broad.num_updates 1 --run.devices 1 --run.folder {tmp_path}"
    assert main(["train", "nadamw", *words.split()]) == 0
    direction = Direction("nadamw", momentum=0.8, second_decay=0.98, weight_decay=0.02)
    made = load(tmp_path / "nadamw" / "agents.controller")
    assert made.direction == seen[0].direction == direction
    assert made.policy.actions.alpha == 0.5 * 2.5  # half of the agents' actions
    again = ["train", "nadamw", *words.split(), "--run.resume", "--broad.action_share", "1"]
    assert main(again) == 0
    whole = load(tmp_path / "nadamw" / "agents.controller")
    assert whole.policy.actions.alpha == 2.5
    assert whole.provenance["config"]["broad"]["action_share"] == 1.0
    jax.tree.map(np.testing.assert_array_equal, whole.policy.params, made.policy.params)
    env = make_env(TINY, parse("train", ["nadamw"]))
    assert env.training.optimizer.name == "nadamw"
    numbers = env.training.optimizer.sample(jax.random.key(0))
    np.testing.assert_allclose([numbers.momentum, numbers.weight_decay], [0.8, 0.02])
    assert main(["train", "broad", "--broad.direction", "adamax", *words.split()]) == 2
    assert "no optimizer 'adamax'; there are: sgd" in capsys.readouterr().err
    assert main(["train", "broad", "--broad.momentum", "0.5", *words.split()]) == 2
    assert "`broad.momentum` is of one direction for all kinds" in capsys.readouterr().err


@pytest.mark.slow
def test_agents_of_whole_updates_learn_on_many_horizons_and_keep_a_share(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(horizons, "HORIZONS", (TINY,))
    seen = []
    monkeypatch.setattr(broad_commands, "examine", lambda folder, made, *rest: seen.append(made))
    words = "--broad.num_envs 4 --broad.group_size 2 --broad.num_minibatches 2 --broad.own_runs 4"
    words += f" --broad.num_updates 1 --run.devices 1 --run.folder {tmp_path}"
    assert main(["train", "muon", *words.split()]) == 0
    made = load(tmp_path / "muon" / "agents.controller")
    assert made.direction == Direction("muon", momentum=0.9, second_decay=0.98)
    shipped = load("muon")
    assert made.direction == shipped.direction
    mine, theirs, kept = made.policy.actions, shipped.policy.actions, presets.muon().broad
    assert mine.sets == theirs.sets == ("rates", "forgetting")
    for space in (mine, theirs):
        assert float(space.size.relative_size) == pytest.approx(0.03)
        assert float(space.forgetting.kappa) == pytest.approx(0.7 * 0.6)
        bound = kept.action_share * kept.alpha
        alphas = [float(space.size.alpha), float(space.forgetting.alpha), bound]
        np.testing.assert_allclose(alphas, 2 / 3, rtol=1e-6)
        assert float(space.coupling) == 0.25
    with (tmp_path / "muon" / "tables" / "own_kinds.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["best_size"]) in [0.03 * factor for factor in compare.SIZES]
    other = ["--run.name", "other", "--broad.head_start", "8"]
    assert main(["train", "muon", *words.split(), *other]) == 2
    assert "a head start is of one number per agent" in capsys.readouterr().err


def test_a_finished_controller_keeps_its_shares_of_the_actions_and_of_the_base():
    made = presets.muon().broad
    settings = dataclasses.replace(
        made, action_share=0.5, size_share=0.7, forgetting_share=0.25, alpha=3.0
    )
    space = make_actions(settings)
    assert isinstance(space, WholeUpdate)
    assert space.sets == ("rates", "forgetting")
    kept = kept_actions(settings, space)
    assert isinstance(kept, WholeUpdate)
    assert (kept.size.alpha, kept.forgetting.alpha) == (1.5, 1.5)
    assert kept.size.relative_size == pytest.approx(0.7 * settings.relative_size)
    assert kept.forgetting.kappa == pytest.approx(0.25 * settings.forgetting)
    assert kept.coupling == settings.coupling == 0.25
    whole = dataclasses.replace(settings, action_share=1.0, size_share=1.0, forgetting_share=1.0)
    assert kept_actions(whole, space) == space


def test_horizons_span_two_orders_of_magnitude():
    problems_there = horizons.HORIZONS
    steps = [problem.total_steps for problem in problems_there]
    assert (min(steps), max(steps)) == (90, 12_000)
    assert len({problem.name for problem in problems_there}) == len(problems_there)
    assert {problem.num_decisions for problem in problems_there} == {30}


def test_a_problem_drawn_at_random_is_the_same_again_and_differs_from_the_next():
    drawn = [random_families.draw(number) for number in range(60)]
    assert drawn == [random_families.draw(number) for number in range(60)]
    assert len({p.optimizer for p in drawn}) == 7
    assert {p.data["name"] for p in drawn} == {"digits", "mnist"}
    on_digits = next(p for p in drawn if p.data["name"] == "digits")
    assert build(on_digits, None).total_steps == on_digits.total_steps


def test_kinds_are_chosen_by_words_in_their_names():
    chosen = kinds_of(BroadConfig(kinds=("RMSprop", "tanh layers, Adam")))
    assert {p.optimizer for p in chosen} == {"rmsprop", "adam"}
    with pytest.raises(ValueError, match="no kind of problem is named like 'LSTM'; there are: dig"):
        kinds_of(BroadConfig(kinds=("LSTM",)))


def test_the_large_kinds_are_asked_for_and_take_as_many_decisions_as_the_others():
    large = kinds_of(BroadConfig(large=True))[len(broad_families.SMALL) :]
    assert large == large_families.LARGE
    assert {p.num_decisions for p in large} == {p.num_decisions for p in broad_families.SMALL}
    steps = [p.total_steps for p in large]
    assert (min(steps), max(steps)) == (990, 5010)
    assert {p.data["name"] for p in large} == {"mnist"}  # the suite's data stay unseen


def test_a_broad_experiment_is_stored_and_read_again():
    config = parse("train", ["broad", "--broad.num_updates", "3"])
    assert isinstance(config, BroadExperiment)
    assert config.broad.num_updates == 3
