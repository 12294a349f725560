"""A training problem and a whole run, as small as they can be, that the tests share."""

import json

import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.problems.problem import Problem

TINY = Problem(
    "digits, tiny",
    {"name": "digits", "max_examples": 200},
    {"name": "softmax"},
    batch_size=8,
    num_decisions=2,
    interval=2,
    num_reward=16,
    initial_rate=(1e-3, 0.1),
)

RUN = (
    "--network.name softmax --network.features None --data.max_examples 200 --task.batch_size 8 --env.num_decisions 3 "
    "--env.interval 2 --learner.num_updates 4 --learner.num_envs 8 --learner.group_size 4 --learner.num_epochs 1 "
    "--agent.hidden 8 --evaluate.num_runs 10 --evaluate.tuning_runs 2 --evaluate.peaks 0.1 0.3 "
    "--evaluate.block 32 --evaluate.curve_every 2 --evaluate.curve_runs 4 "
    "--evaluate.blind_updates 1 --run.checkpoint_every 0 --run.updates_per_call 1 --run.devices 2"
)
"""Options of `train digits`: four updates in seconds."""


ONLY_TRAIN = "--evaluate.no_after_training"


def read(path):
    """The lines of a file of metrics."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(run, *files):
    """Lines without what depends on the clock."""
    timed = ("seconds", "inner_steps_per_second")
    return [
        {name: value for name, value in line.items() if name not in timed}
        for file in files
        for line in read(run / file)
    ]


def learned(run, update=4):
    """The learner's state after an update as bytes, leaf by leaf."""
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(run / "checkpoints" / str(update) / "state")
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(found)]


def arguments(folder, *more):
    """Words of the command line that make the run there."""
    return ["train", "digits", *RUN.split(), "--run.folder", str(folder), *more]


def assert_one_line(capsys, *parts):
    """What was printed as an error is one line, in which these stand."""
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    for part in parts:
        assert part in error


def flip_a_bit(file):
    """In its middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
