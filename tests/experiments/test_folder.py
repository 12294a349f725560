"""Files of a run folder: whole, and as they were written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.agents.snapshots import load_snapshot, save_snapshot
from experiments.runs import arrays, whole_files
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from ganno_jax.env.actions import DirectRate
from ganno_jax.policies.agents import AgentPolicy, init_actor
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import empty_normalizer


def agents(hidden=4):
    actor = Actor(None, hidden)
    params = init_actor(actor, 3, jax.random.key(0))
    return AgentPolicy(actor, params, empty_normalizer(3), jnp.ones(3), DirectRate())


def flip(path, place, bit=1):
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(bytes(content))


def test_one_flipped_bit_anywhere_in_a_file_of_arrays_is_found(tmp_path):
    path = tmp_path / "curves.npz"
    arrays.write(path, {"loss": np.arange(6.0)})
    size = path.stat().st_size
    for place in range(0, size, 7):
        flip(path, place)
        with pytest.raises(ValueError, match=r"curves\.npz cannot be read: it is not as it was"):
            arrays.read(path)
        flip(path, place)
    np.testing.assert_array_equal(arrays.read(path)["loss"], np.arange(6.0))
    arrays.write(path, {"loss": np.arange(3.0)})  # written again, it has another digest
    assert arrays.read(path)["loss"].size == 3
    (tmp_path / "curves.npz.sha256").unlink()  # as runs of earlier versions have it
    assert arrays.read(path)["loss"].size == 3


def test_one_flipped_bit_in_a_snapshot_is_one_line(tmp_path):
    run = RunFolder(tmp_path)
    save_snapshot(run, "blind", 3, agents())
    path = run.snapshots / "blind_00003.msgpack"
    for place in range(0, path.stat().st_size, 37):
        flip(path, place)
        with pytest.raises(
            UserError, match=r"blind_00003\.msgpack cannot be read \(it is not"
        ) as e:
            load_snapshot(run, "blind", 3, agents())
        assert "\n" not in str(e.value)
        flip(path, place)
    assert load_snapshot(run, "blind", 3, agents()) is not None
    with pytest.raises(UserError, match=r"cannot be read \(it holds arrays of other shapes"):
        load_snapshot(run, "blind", 3, agents(hidden=5))
    assert load_snapshot(run, "blind", 4, agents()) is None


def test_a_digest_never_belongs_to_another_content(tmp_path, monkeypatch):
    path = tmp_path / "a"
    whole_files.write_with_digest(path, b"old")
    write = whole_files.write_whole

    def killed(at, content):
        if at != path:
            raise KeyboardInterrupt
        write(at, content)

    monkeypatch.setattr(whole_files, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        whole_files.write_with_digest(path, b"new")
    assert whole_files.read_with_digest(path) == b"new"
