"""Weight files: what is read, and what is said about files that cannot be."""

import hashlib
import importlib.resources

import flax.serialization
import jax
import msgpack
import numpy as np
import pytest

from ganno_jax.baselines import load_weights, shipped_weights
from ganno_jax.baselines.weights import SHIPPED, weights_from_tree

DATA = importlib.resources.files("ganno_jax.baselines") / "data"


def tree():
    """The content of a weight file, read by flax rather than by us."""
    return flax.serialization.msgpack_restore((DATA / "celo.state").read_bytes())


@pytest.mark.parametrize(
    "name, digest, numbers",
    [("celo", "02b73d1a2a05abf369ec060c1f2e1970", 37_089), ("celo_adam", None, 36_865)],
)
def test_shipped_files_are_the_published_ones(name, digest, numbers):
    content = (DATA / f"{name}.state").read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert md5 == (digest or "d9592dd136a5dbaee29949020a8739ff")
    unused = 18 * 64 + 64  # The first mixing layer has no effect and is dropped.
    leaves = jax.tree.leaves(shipped_weights(name))
    assert sum(leaf.size for leaf in leaves) == numbers - unused
    assert "MIT License" in (DATA / "celo_adam.LICENSE").read_text()


def test_our_reader_agrees_with_flax(tmp_path):
    path = tmp_path / "theta.state"
    path.write_bytes((DATA / "celo.state").read_bytes())
    ours, theirs = load_weights(path), weights_from_tree(tree())
    assert jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))


def test_first_layers_are_joined_in_the_order_of_the_groups():
    weights, raw = shipped_weights("celo"), tree()["ff_mod_stack"]["~"]
    np.testing.assert_array_equal(weights.step.w0[0, 0], raw["w0__0"][0, 0])
    np.testing.assert_array_equal(weights.step.w0[0, 2], raw["w0__2"][0, 0])
    np.testing.assert_array_equal(weights.step.w0[:, 27:], raw["w0__13"])


@pytest.mark.parametrize("wrap", [lambda t: (t, "", 0), lambda t: {"params": t, "step": 3}])
def test_weights_inside_a_checkpoint_are_found(wrap, tmp_path):
    path = tmp_path / "params"
    path.write_bytes(flax.serialization.to_bytes(wrap(tree())))
    assert load_weights(path).num_inputs == 18


def write(path, content):
    path.write_bytes(content)
    return path


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "theta.state"
    with pytest.raises(FileNotFoundError, match=r"No weight file at '.*theta.state'"):
        load_weights(path)
    with pytest.raises(ValueError, match="not a flax msgpack file"):
        load_weights(write(path, b"\x80\x04\x95pickle, say"))
    with pytest.raises(ValueError, match="not a flax msgpack file"):
        load_weights(write(path, (DATA / "celo.state").read_bytes()[:1000]))
    with pytest.raises(ValueError, match="needs a map of arrays at its top; it has a list"):
        load_weights(write(path, msgpack.packb([1, 2])))
    with pytest.raises(ValueError, match="only floats are read"):
        load_weights(write(path, flax.serialization.to_bytes({"a": np.arange(3)})))
    with pytest.raises(ValueError, match="has no array 'lstm_init_state/hidden'"):
        load_weights(write(path, flax.serialization.to_bytes({"a": np.ones(3, np.float32)})))


def test_arrays_that_do_not_fit_are_named():
    wrong = tree()
    wrong["rnn_params"]["step_size"]["w"] = np.zeros((32, 1), np.float32)
    with pytest.raises(ValueError, match=r"step_size/w' needs shape \(64, any\)|\(64, 1\)"):
        weights_from_tree(wrong)
    wrong = tree()
    del wrong["ff_mod_stack"]["~"]["w0__7"]
    with pytest.raises(ValueError, match="has no array 'ff_mod_stack/~/w0__7'"):
        weights_from_tree(wrong)


def test_an_unknown_name_lists_what_exists():
    with pytest.raises(ValueError, match=f"No weights 'velo' .*{', '.join(SHIPPED)}"):
        shipped_weights("velo")
