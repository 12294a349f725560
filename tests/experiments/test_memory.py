"""Runs that no memory could hold are refused before anything is compiled, in one line with needed and available."""

import jax
import pytest

from experiments.agents import needs
from experiments.agents.build import build
from experiments.configs.config import Config
from experiments.run import main
from experiments.runs import memory
from experiments.runs.errors import UserError
from experiments.runs.memory import Need, in_words

TOO_LARGE = {
    "digits --learner.num_envs 10000000": "10,000,000 trainings side by side (learner.num_envs)",
    "digits --network.features 100000000": "64 trainings side by side (learner.num_envs)",
    "digits --evaluate.block 100000000": "agents and curves of 100,000,000 trainings (evaluate.block)",
    "digits --evaluate.num_runs 100000000": "in 100,000,000 runs (evaluate.num_runs)",
    "digits --evaluate.tuning_runs 1000000000": "(evaluate.tuning_runs)",
    "digits --agent.hidden 16384": "the agents (their hidden width)",
    "broad --broad.kinds digits --broad.num_envs 1000000000": "(broad.num_envs)",
    "broad --broad.kinds digits --broad.own_runs 1000000000": "(broad.own_runs)",
    "broad --broad.kinds digits --broad.head_start 1000000000": "the head start (broad.head_start)",
    "step_size_digits --network.features 1000000000": "(network)",
    "step_size_digits --step_size.num_samples 1000000000": "trials (step_size.num_samples and num",
    "step_size_digits --step_size.num_runs 1000000000": "(step_size.num_runs)",
    "search_digits --search.budget 1000000000": "1,000,000,000 rules (search.budget)",
    "search_digits --search.num_runs 1000000000": "(search.num_runs, tuning_runs)",
    "search_digits --network.features 1000000000": "the weights of a network (network)",
}


@pytest.fixture
def _a_small_machine(monkeypatch):
    monkeypatch.setattr(memory, "_free_of_system", lambda: 2.0**30)

    def compiled(*given, **settings):
        raise AssertionError("nothing is compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", compiled)


@pytest.mark.usefixtures("_a_small_machine")
@pytest.mark.parametrize("words, what", TOO_LARGE.items())
def test_what_no_memory_holds_is_one_line_with_needed_and_available(tmp_path, capsys, words, what):
    assert main(["train", *words.split(), "--run.folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert what in error
    assert "need at least" in error
    assert "of memory; 1.0 GiB are available" in error
    assert list(tmp_path.iterdir()) == []


def test_needs_are_the_bytes_of_what_is_made():
    config = Config()
    experiment = build(config)
    env = experiment.env
    made = jax.jit(env.training.init)(jax.random.key(3))
    assert needs.training(env.training) == sum(x.nbytes for x in jax.tree.leaves(made))
    learner = experiment.learner
    made = jax.jit(learner.init)(jax.random.key(3))
    assert needs.agents(learner) == sum(x.nbytes for x in jax.tree.leaves(made))
    every = [*needs.learning(learner, "n"), *needs.evaluation(learner, config.evaluate)]
    assert max(need.size for need in every) < 2**28


def test_a_container_has_no_more_than_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_free_of_system", lambda: 2.0**40)
    monkeypatch.setattr(memory, "_LIMIT", tmp_path / "memory.max")
    assert memory.of_host() == 2**40  # no container
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.of_host() == 2**40
    (tmp_path / "memory.max").write_text(f"{2**31}\n")
    assert memory.of_host() == memory.of_devices() == 2**31  # CPU devices have none of their own
    memory.require(Need("few", 2**31))
    with pytest.raises(UserError, match=r"many need at least 2.5 GiB of memory; 2.0 GiB are"):
        memory.require(Need("few", 1), Need("many", 2.5 * 2**30, on_host=True))


def test_bytes_in_words():
    assert [in_words(n) for n in (0, 1023, 1024, 5e12)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "4.5 TiB",
    ]
