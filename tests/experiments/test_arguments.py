"""The command line: presets, options, and one clear line for what cannot work."""

import ast
import errno
import inspect
import io
import itertools
import re
import sys

import numpy as np
import pytest

from experiments.configs import agents, broad, config, place, rules, step_size
from experiments.run import _condensed, main, parse
from experiments.runs import whole_files
from experiments.runs.errors import UserError

BAD = {
    "": "usage",
    "fly": "no command 'fly'; there are: train, evaluate, plot, list",
    "train": "`train` needs a preset; there are: digits",
    "train papr": "no preset 'papr'; there are: digits, fashion_mlp",
    "train digits --learner.updates 3": "no option --learner.updates; there are: --learner.num_up",
    "train digits --lerner.num_updates 3": "the groups of options are: data, network",
    "train digits --foo 3": "no option --foo; there are: --scale, --seed",
    "train digits extra": "extra",
    "train digits --scale medium": "no scale 'medium' of digits; there are: small, paper",
    "train digits --seed x": "--seed",
    "train digits --agent.actions jump": "multipliers",
    "train digits --data.name cifar11": "no data set 'cifar11'; there are: digits",
    "train digits --data.name mnist --data.dir {tmp}/none": "mnist",
    "train digits --data.path {tmp}/none.npz": "no file",
    "train digits --data.path {tmp}/bad.npz": "bad.npz",
    "train digits --data.path {tmp}/nan.npz": "NaN",
    "train digits --network.name resnet99": "no network 'resnet99'; there are: softmax, mlp",
    "train digits --network.norm group": "takes no `network.norm`; it takes: features, activ",
    "train digits --network.activation sine": "no activation 'sine'",
    "train digits --optimizer.name adagrad": "no optimizer 'adagrad'; there are: sgd, momentum",
    "train digits --optimizer.initial_rate -1 1": "`optimizer.initial_rate` must be a range",
    "train digits --optimizer.initial_rate 1 0.1": "`optimizer.initial_rate` must be a range",
    "train digits --optimizer.momentum 1.5": "`optimizer.momentum`",
    "train digits --task.batch_size 5000": "batch size must be between 1 and the 1079",
    "train digits --task.label_noise 0 2": "`task.label_noise`",
    "train digits --task.crop_padding -1": "`task.crop_padding` must be at least 0",
    "train digits --task.crop_padding 9": "crops and flips are for images",
    "train digits --env.num_decisions 0": "`env.num_decisions` must be at least 1",
    "train digits --agent.sharing 2": "`agent.sharing` must be at least 0 and at most 1; got 2",
    "train broad --broad.sharing 2": "`broad.sharing` must be at least 0 and at most 1; got 2",
    "train broad --broad.alpha 0": "`broad.alpha` must be above 0 and at most 50; got 0",
    "train broad --broad.num_members 0": "`broad.num_members` must be at least 1 and at most 1000; got 0",
    "train broad --broad.random_kinds 3": "`broad.random_kinds` needs a head start",
    "train broad --broad.random_learned 1": "`broad.random_learned` must be at least 0 and at most 0; got 1",
    "train broad --broad.head_start 4 --broad.recurrent": "cannot have a head start",
    "train digits --learner.num_envs 0": "`learner.num_envs` must be at least 1",
    "train digits --learner.num_envs 9": "the next number that works is 16",
    "train digits --learner.rollout_decisions 7": "not a whole number",
    "train digits --agent.alpha 0": "`agent.alpha` must be above 0",
    "train digits --agent.hidden_features mood": "no feature 'mood'",
    "train digits --evaluate.peaks 0.1 0": "`evaluate.peaks[1]` must be above 0",
    "train digits --evaluate.peaks 0.3 0.1": "`evaluate.peaks` must rise from each number to the next; got 0.3 0.1",
    "train digits --evaluate.peaks 0.1 0.1": "must rise from each number to the next; got 0.1 0.1",
    "train digits --learner.num_epochs 999999999": "`learner.num_epochs` must be at least 1 and at most 1000; got 999",
    "train digits --env.num_measured 999": "`env.num_measured` must be at least 1 and at most 20; got 999",
    "train digits --env.num_measured 0": "`env.num_measured` must be at least 1; got 0",
    "train digits --env.num_reward 99999999": "`env.num_reward` must be at least 1 and at most 1e+06; got 999",
    "train digits --data.path {tmp}": " is a folder; expected an .npz file",
    "train digits --run.mapping sideways": "no mapping 'sideways'; there are: vmap, map",
    "train digits --run.devices 3": "`run.devices` must divide",
    "train digits --run.name a/b": "`run.name` must be the name of a folder",
    "train search_digits --search.budget 0": "`search.budget` must be at least 1; got 0",
    "train search_digits --search.method ppp": "reinforce",
    "train search_digits --search.rates 1 0.1": "`search.rates` must be above 0 and rise",
    "train search_digits --learner.num_envs 3": (
        "the groups of options are: data, network, compared_network, search, run"
    ),
    "train step_size_digits --step_size.num_samples 1": "`num_samples` must be at least 4",
    "train step_size_digits --step_size.num_steps 605": "must be whole decisions of 10 steps",
    "train search_digits --search.num_found 0": "`search.num_found` must be at least 1; got 0",
    "train step_size_digits --step_size.test_steps 0": "`step_size.test_steps` must be at least",
    "train step_size_digits --step_size.test_batch_size 50000": (
        "`step_size.test_batch_size` must be at least 1 and at most"
    ),
    "train step_size_digits --step_size.initial_rate -1 1": "must be a range low to high, above 0",
    "train step_size_digits --step_size.fewest_filters 9 9 999": "at most `step_size.most_filters`",
    "train step_size_digits --step_size.num_judged 0": "`step_size.num_judged` must be at least 1",
    "train step_size_digits --step_size.seed -1": "`step_size.seed` must be from 0 to 2**32 - 1",
    "train digits --seed 99999999999999999999": "`seed` must be from 0 to 2**32 - 1",
    "train broad --broad.seed 4294967296": "`broad.seed` must be from 0 to 2**32 - 1",
    "train search_digits --search.seed -1": "`search.seed` must be from 0 to 2**32 - 1",
    "train digits --agent.initial_log_std nan": "`initial_log_std` must be in [-20, 5]; got nan",
    "train broad --run.checkpoint_every -1": "`run.checkpoint_every` must be at least 0 seconds",
    "train search_digits --run.checkpoint_every nan": "`run.checkpoint_every` must be at least 0",
    "train digits --data.path {tmp}/one.npz": "every target is class 0: with one class there is nothing to learn",
    "train digits --data.path {tmp}/empty.npz": "inputs must not be empty; got the shape (50, 0)",
    "train digits --network.name transformer --network.features None": (
        "network 'transformer' is no classifier of images or tables"
    ),
    "train digits --data.path {tmp}/table.npz --network.name vit --network.features None": (
        "network 'vit' needs images [height, width, channel]; "
    ),
    "train search_digits --data.path {tmp}/table.npz --search.child_batch_size 8 "
    "--compared_network.name cnn --compared_network.features None": "needs images [height, width, channel]; ",
    "train digits --scale paper --scale tiny": "no scale 'tiny'",
    f"train digits --run.name {300 * 'x'}": "must be the name of a folder, one line of at most 200 bytes",
    "train step_size_digits --run.devices 99": "`run.devices` must be between 1 and",
    "train digits --optimizer.initial_rate 1e30 1e30": "at least 1e-12, at most 10; got 1e+30 1e+30",
    "train digits --optimizer.initial_rate 1e-300 1": "at least 1e-12, at most 10; got 1e-300 1",
    "train digits --optimizer.weight_decay 1e30 1e30": "at least 0, at most 100; got 1e+30 1e+30",
    "train digits --task.weight_scale 1e30 1e30": "at least 0.001, at most 1000; got 1e+30 1e+30",
    "train digits --env.penalty inf": "`env.penalty` must be at least 0 and at most 1000; got inf",
    "train digits --env.stability 1e30": "must be at least 0 and at most 1000; got 1e+30",
    "train digits --learner.learning_rate 1e30": "must be above 0 and at most 1; got 1e+30",
    "train digits --learner.max_gradient_norm inf": "and at most 1e+06; got inf",
    "train digits --agent.alpha 1e30": "`agent.alpha` must be above 0 and at most 50; got 1e+30",
    "train digits --agent.relative_size inf": "must be above 0 and at most 1000; got inf",
    "train digits --evaluate.peaks 1e30": "must be above 0 and at most 1000; got 1e+30",
    "train broad --broad.learning_rate 1e30": "must be above 0 and at most 1; got 1e+30",
    "train muon --broad.head_start 8": "a head start is of one number per agent",
    "train nadamw --broad.weight_decay 1e30": "at least 0 and at most 100; got 1e+30",
    "train search_digits --search.rates 0.1 1e30": "must be above 0 and rise, to 1000 at most",
    "train search_digits --search.rates nan": "must be above 0 and rise, to 1000 at most",
    "train step_size_digits --step_size.rates inf": "must be above 0 and at most 10; got inf",
    "train step_size_digits --step_size.initial_rate 1e30 1e30": "at most 10; got 1e+30 1e+30",
    "train digits --run.checkpoint_every inf": "at least 0 seconds, and finite; got inf",
    "train digits --optimizer.name sgd --optimizer.momentum 0.5": "'sgd' takes no `optimizer.momentum`; got 0.5",
    "train digits --agent.forgetting -1": "`agent.forgetting` must be at least 0 and at most 100; got -1",
    "train broad --broad.forgetting -1": "`broad.forgetting` must be at least 0 and at most 100; got -1",
    "train digits --evaluate.forgettings -1": "`evaluate.forgettings[0]` must be at least 0 and at",
    "train digits --agent.sharing 1.1": "`agent.sharing` must be at least 0 and at most 1; got 1.1",
    "train digits --env.episode_decisions 15": "is paid at the end of a training, which an episode",
    "train digits --env.interval 0": "`env.interval` must be at least 1; got 0",
    "train digits --optimizer.momentum 1": "must be at least 0 and below 1; got 1.0",
    "train nadamw --broad.momentum 1": "`broad.momentum` must be at least 0 and below 1; got 1.0",
    "train digits --learner.clip 0": "`learner.clip` must be above 0 and at most 100; got 0.0",
    "train digits --learner.num_updates 99999999999999999999": (
        "`learner.num_updates` must be at least 1 and at most 1e+09; got 99999999999999999999"
    ),
    "train digits --agent.hidden 10000000": "must be at least 1 and at most 16384; got 10000000",
    "train digits --network.features 32 0": "`network.features[1]` must be at least 1; got 0",
    "train digits --network.features 99999999999999999999": "must be at least 1 and at most 1e+09",
    "train digits --env.interval 100000000": "`env.num_decisions times env.interval` must be at",
    "train broad --broad.num_updates 99999999999999999999": "must be at least 0 and at most 1e+09",
    "train search_digits --search.budget 99999999999999999999": "and at most 1e+09; got 9999",
    "train step_size_digits --step_size.num_iterations 99999999999": "and at most 1e+09; got 9999",
    "train search_digits --network.features 0": "`network.features[0]` must be at least 1; got 0",
    "evaluate muon --suite development --suite.num_seeds 99999999999": "at most 100000; got 99999",
    "evaluate muon --suite development --suite.data_dir {tmp}/none": "none (--suite.data_dir)",
    "evaluate search_digits": "no run in",
    "evaluate digits": "no run in",
    "plot digits --run.name x": "no run in",
    "list digits": "`list` takes no arguments",
}


@pytest.mark.parametrize("words, expected", BAD.items())
def test_bad_input_gets_one_line_and_writes_nothing(words, expected, tmp_path, capsys):
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    inputs = np.zeros((50, 3), np.float32)
    inputs[7, 1] = np.nan
    np.savez(tmp_path / "nan.npz", x=inputs, y=np.arange(50) % 2)
    table = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    np.savez(tmp_path / "table.npz", x=table, y=np.arange(50) % 2)
    np.savez(tmp_path / "one.npz", x=table, y=np.zeros(50, np.int32))
    np.savez(tmp_path / "empty.npz", x=table[:, :0], y=np.arange(50) % 2)
    before = sorted(tmp_path.rglob("*"))
    arguments = words.format(tmp=tmp_path).split()
    if len(arguments) > 1 and arguments[0] != "list":
        arguments += ["--run.folder", str(tmp_path / "runs")]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert expected in (said.err or said.out)
    if words:
        assert len(said.err.splitlines()) == 1
        assert said.err.startswith("error: ")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "box",
    [
        "╭─ Parsing error ──╮\n│ Wrong value     │\n│ for --seed: x   │\n│ ─────────────── │\n│ see help       │\n╰──╯",
        " Parsing error   \n ---------------- \n  Wrong value   \n  for --seed: x  \n  ------------ \n  see help \n",
    ],
)
def test_what_stands_in_a_drawn_box_is_one_sentence_without_the_drawing(box):
    assert _condensed(box) == "Wrong value for --seed: x"


@pytest.mark.parametrize(
    "words", ["--seed x", "extra", "--agent.actions jump", "--optimizer.initial_rate 1", "--scale"]
)
@pytest.mark.parametrize("columns", ["20", "80"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_wrong_argument_is_one_sentence_on_any_terminal(monkeypatch, words, columns, encoding):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    with pytest.raises(UserError) as caught:
        parse("train", ["digits", *words.split()])
    said = str(caught.value)
    assert words.split()[0] in said
    assert not set(said) & set("─│╭╮╰╯\n")
    assert "--- " not in said


UNITS = (
    "updates? trainings? steps? decisions? examples? runs? seeds? rules? rows? settings? pixels? teams? pass(es)? "
    "minibatches rollouts? iterations? tasks? controllers? problems? process(es)? devices? units?"
).replace(" ", "|")


def counts(module):
    """The whole numbers among the options of a module, by name, with their help."""
    for kind in ast.walk(ast.parse(inspect.getsource(module))):
        for field, text in itertools.pairwise(kind.body if isinstance(kind, ast.ClassDef) else []):
            if isinstance(field, ast.AnnAssign) and re.match(
                r"(int|Count|SomeCount|Annotated\[int)\b", ast.unparse(field.annotation)
            ):
                yield f"{kind.name}.{ast.unparse(field.target)}", ast.literal_eval(text.value)


@pytest.mark.parametrize("module", [agents, config, broad, step_size, rules, place])
def test_the_help_of_every_count_begins_with_what_is_counted(module):
    helps = dict(counts(module))
    assert len(helps) >= 4
    for name, text in helps.items():
        opening = " ".join(text.lower().split()[:7])
        assert re.search(rf"\b({UNITS})\b", opening), (name, text)


@pytest.mark.parametrize("value", ["1", "True", "on"])
def test_numbers_of_64_bits_are_refused_in_one_line(monkeypatch, capsys, value):
    monkeypatch.setenv("JAX_ENABLE_X64", value)
    assert main(["train", "digits"]) == 2
    assert (
        capsys.readouterr().err == "error: experiments are made in float32: unset JAX_ENABLE_X64\n"
    )


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "a/b", "..", "bell\a", "\x1b[31m"])
@pytest.mark.parametrize("command", ["train", "evaluate", "plot"])
def test_a_name_that_is_none_of_a_folder_is_one_line(tmp_path, capsys, command, name):
    words = [command, "digits", "--run.folder", str(tmp_path), "--run.name", name]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert (
        f"`run.name` must be the name of a folder, one line of at most 200 bytes; got {name!r}"
        in error
    )


def test_folders_that_cannot_be_used_are_named(tmp_path, capsys):
    (tmp_path / "file").write_text("here")
    (tmp_path / "other" / "digits").mkdir(parents=True)
    (tmp_path / "other" / "digits" / "thesis.tex").write_text("dear to someone")
    for name, expected in (("file", "no permission"), ("other", "holds other files")):
        assert main(["train", "digits", "--run.folder", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert expected in error
        assert len(error.splitlines()) == 1
    assert main(["train", "digits", "--run.folder", str(tmp_path), "--run.name", "file"]) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_full_disk_is_one_line(tmp_path, capsys, monkeypatch):
    def full(path, values):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(whole_files, "write_json", full)
    assert main(["train", "digits", "--run.folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert len(error.splitlines()) == 1


def test_a_file_is_whole_or_absent(tmp_path):
    whole_files.write_whole(tmp_path / "a.json", "old")
    with pytest.raises(TypeError):
        whole_files.write_whole(tmp_path / "a.json", 3)  # pyright: ignore
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"
