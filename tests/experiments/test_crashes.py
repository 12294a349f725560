"""Kills, damage and attacks: a run goes on bit for bit, or is refused; nothing that a file holds is run."""

import functools
import io
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest

import ganno_jax
from experiments.agents.snapshots import load_snapshot, save_snapshot
from experiments.run import main
from experiments.runs import arrays, folder, saved
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.logs import read_lines
from ganno_jax.baselines import load_weights
from ganno_jax.checkpoint import Checkpoints, versions
from ganno_jax.env import make_mesh
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.learners import MAPPO, MAPPOConfig, train_some
from ganno_jax.tasks import sources

from ..probes import probe_env
from . import tiny
from .test_folder import agents
from .tiny import ONLY_TRAIN, numbers

ROOT = Path(__file__).parents[2]
SETTINGS = {"seed": 0}
FILES = ("metrics.jsonl", "curve.jsonl")


def arguments(place, *more):
    return tiny.arguments(place, ONLY_TRAIN, "--learner.num_updates", "12", *more)


learned = functools.partial(tiny.learned, update=12)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    place = tmp_path_factory.mktemp("runs")
    assert main(arguments(place)) == 0
    return place / "digits"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_run_killed_at_random_moments_ends_bit_for_bit_as_if_it_had_not_been(
    whole, tmp_path, seed
):
    moments = random.Random(seed)
    run = tmp_path / "digits"
    for _ in range(5):
        resume = ["--run.resume"] if (run / "config.json").is_file() else []
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.run", *arguments(tmp_path, *resume)],
            cwd=ROOT,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline, before = time.monotonic() + 300, len(read_lines(run / "metrics.jsonl"))
        while process.poll() is None and time.monotonic() < deadline:
            if len(read_lines(run / "metrics.jsonl")) > before:  # it makes updates
                time.sleep(moments.uniform(0, 0.3))
                break
            if moments.random() < 0.001:  # or it is still starting
                break
            time.sleep(0.01)
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0)
    assert main(arguments(tmp_path, "--run.resume")) == 0
    assert numbers(run, *FILES) == numbers(whole, *FILES)
    assert learned(run) == learned(whole)


def harmed(content, harm, place):
    """What is left of a file."""
    if harm == "flipped":
        at = int(place * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]
    return {"cut": content[: int(place * len(content))], "empty": b"", "other": b"{}"}[harm]


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "other", "removed"])
def test_a_damaged_file_of_a_checkpoint_costs_that_checkpoint_only(tmp_path, harm):
    kept = Checkpoints(tmp_path / "kept" / "checkpoints")
    for number in (1, 2):
        metadata = {"settings": SETTINGS, "versions": versions()}
        kept.save(number, {"a": jnp.full(5, number), "key": jax.random.key(number)}, metadata)
    kept.close()
    like = {"a": jnp.zeros(5, jnp.int32), "key": jax.random.key(0)}
    newest = tmp_path / "kept" / "checkpoints" / "2"
    files = sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file())
    assert len(files) > 5
    found = []
    for number, name in enumerate(files):
        place = tmp_path / str(number)
        shutil.copytree(tmp_path / "kept", place)
        path = place / "checkpoints" / "2" / name
        if harm == "removed":
            path.unlink()
        else:
            path.write_bytes(harmed(path.read_bytes(), harm, 0.4))
        checkpoints = Checkpoints(place / "checkpoints")
        state, _ = saved.restore(checkpoints, SETTINGS, like)
        checkpoints.close()
        found.append(int(state["a"][0]))
        assert state["a"].tolist() == [found[-1]] * 5  # that of one of the two, whole
        assert (
            jax.random.key_data(state["key"]) == jax.random.key_data(jax.random.key(found[-1]))
        ).all()
    assert found.count(1) >= len(files) - 3  # a digest alone, or a note of Orbax, may be missed


class Attack:
    """Makes a file where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def objects(attack):
    """An `.npz` file with the attack where arrays should be."""
    buffer = io.BytesIO()
    held = np.array([attack, attack], object)
    np.savez(buffer, x=held, y=held)
    return buffer.getvalue()


READERS = {
    "data.npz": lambda path: sources.load(path=str(path)),
    "curves.npz": arrays.read,
    "a.controller": ganno_jax.load,
    "weights.msgpack": load_weights,
    "config.json": lambda path: folder.stored_config(RunFolder(path.parent)),
    "snapshots/blind_00001.msgpack": lambda path: load_snapshot(
        RunFolder(path.parents[1]), "blind", 1, agents()
    ),
}


@pytest.mark.parametrize("form", ["pickle", "array of objects", "msgpack extension"])
@pytest.mark.parametrize("name, read", READERS.items())
def test_nothing_that_a_file_holds_is_run(tmp_path, name, read, form):
    mark = tmp_path / "attacked"
    packed = pickle.dumps(Attack(mark))
    content = {
        "pickle": packed,
        "array of objects": objects(Attack(mark)),
        "msgpack extension": msgpack.packb(msgpack.ExtType(1, packed)),
    }[form]
    if name.startswith("snapshots"):
        save_snapshot(RunFolder(tmp_path), "blind", 1, agents())
        (tmp_path / f"{name}.sha256").unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, UserError)) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    pickle.loads(packed).close()  # the attack works where pickles are read
    assert mark.exists()


def test_lines_and_checkpoints_run_nothing_either(tmp_path):
    mark = tmp_path / "attacked"
    (tmp_path / "metrics.jsonl").write_bytes(pickle.dumps(Attack(mark)))
    assert read_lines(tmp_path / "metrics.jsonl") == []
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, {"a": jnp.ones(3)}, {})
    (tmp_path / "checkpoints" / "1" / "sha256.json").unlink()  # as if nobody had seen the files
    for path in (tmp_path / "checkpoints" / "1").rglob("*"):
        if path.is_file():
            path.write_bytes(pickle.dumps(Attack(mark)))
    with pytest.raises(ValueError, match="cannot be read"):
        checkpoints.restore(1, {"a": jnp.zeros(3)})
    checkpoints.close()
    assert not mark.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory as Linux has it")
def test_memory_does_not_grow_over_updates():
    config = MAPPOConfig(
        num_envs=4, rollout_decisions=4, num_epochs=1, num_minibatches=1, group_size=2
    )
    learner = MAPPO.create((probe_env((1.0, 4.0)),), RateMultipliers(), config, hidden=8)
    mesh = make_mesh(jax.devices()[:1])
    state = learner.init(jax.random.key(0), mesh)
    program = train_some.lower(learner, state, np.int32(1), 1, mesh).compile()

    def measured():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE"), len(
            Path("/proc/self/maps").read_text().splitlines()
        )

    def updates(state, count):
        for _ in range(count):
            state, metrics = program(learner, state, np.int32(1))
            assert float(metrics["finite"][0]) == 1.0
        return state

    state = updates(state, 100)
    before = measured()
    updates(state, 300)
    after = measured()
    assert after[0] - before[0] < 8 * 2**20
    assert after[1] - before[1] < 50
