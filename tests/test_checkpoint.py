"""Checkpoints: everything comes back, nothing is half there, foreign ones are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.checkpoint import Checkpoints, require_same, versions


def tree(seed=0):
    key = jax.random.key(seed)
    return {
        "weights": jax.random.normal(key, (3, 2)),
        "count": jnp.int32(7),
        "nothing": None,
        "keys": jax.random.split(key, 4),
        "nested": ({"half": jnp.ones(2, jnp.bfloat16)}, key),
    }


def host(values):
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in jax.tree.leaves(values)
    ]


def assert_same_bits(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(host(ours), host(theirs), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints")
    yield opened
    opened.close()


def test_a_tree_comes_back_bit_for_bit_with_its_keys(checkpoints):
    checkpoints.save(5, tree(), {"a": [1, "x"]})
    found = checkpoints.restore(5, jax.eval_shape(tree))
    assert_same_bits(found, tree())
    assert_same_bits(
        jax.random.normal(found["nested"][1], (3,)), jax.random.normal(jax.random.key(0), (3,))
    )
    assert checkpoints.metadata(5) == {"a": [1, "x"]}


def test_the_last_two_are_kept(checkpoints):
    for number in (1, 2, 3):
        checkpoints.save(number, tree(number), {})
    assert checkpoints.numbers == (2, 3)
    assert checkpoints.latest == 3


def test_without_checkpoints_there_is_no_latest(checkpoints):
    assert checkpoints.latest is None
    with pytest.raises(ValueError, match=r"no checkpoint 4 in .*; there are: none"):
        checkpoints.restore(4, tree())


def test_an_unfinished_checkpoint_is_not_seen(checkpoints, tmp_path):
    checkpoints.save(1, tree(), {})
    checkpoints.close()
    # What a killed process leaves: Orbax writes under a temporary name first.
    (tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp-0" / "state").mkdir(parents=True)
    again = Checkpoints(tmp_path / "checkpoints")
    assert again.latest == 1
    again.close()


def test_a_damaged_checkpoint_is_named(checkpoints, tmp_path):
    checkpoints.save(1, tree(), {})
    for path in (tmp_path / "checkpoints" / "1" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match=r"checkpoints/1 cannot be read") as caught:
        checkpoints.restore(1, tree())
    assert "\n" not in str(caught.value)


def test_one_flipped_bit_is_found(checkpoints, tmp_path):
    checkpoints.save(1, {"x": jnp.arange(100_000)}, {})
    files = [p for p in (tmp_path / "checkpoints" / "1" / "state").rglob("*") if p.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(ValueError, match=f"checkpoints/1 cannot be read .*{largest.name} is not"):
        checkpoints.restore(1, {"x": jnp.arange(100_000)})


def test_a_checkpoint_under_a_later_number_is_found(checkpoints):
    for number in (1, 2):
        checkpoints.save(number, tree(number), {})
    checkpoints.close()
    (checkpoints.folder / "2").rename(checkpoints.folder / "7")
    again = Checkpoints(checkpoints.folder)
    for read in (again.metadata, lambda number: again.restore(number, tree())):
        with pytest.raises(
            ValueError, match=r"checkpoints/7 cannot be read \(it was written as 2\)"
        ):
            read(7)
    again.discard(7)
    assert again.latest == 1
    assert_same_bits(again.restore(1, tree()), tree(1))
    again.save(2, tree(2), {})
    assert again.numbers == (1, 2)
    again.close()


def test_a_discarded_checkpoint_does_not_count_and_makes_room(checkpoints):
    checkpoints.save(1, tree(1), {})
    checkpoints.save(2, tree(2), {"first": True})
    checkpoints.discard(2)
    assert checkpoints.latest == 1
    checkpoints.save(2, tree(3), {"first": False})
    checkpoints.close()
    again = Checkpoints(checkpoints.folder)
    assert again.numbers == (1, 2)
    assert again.metadata(2) == {"first": False}
    assert_same_bits(again.restore(2, tree()), tree(3))
    again.close()


def test_a_full_disk_is_an_error_of_the_system(checkpoints, monkeypatch):
    def save(number, args):
        raise ValueError("RESOURCE_EXHAUSTED: a long story: No space left on device [28]")

    monkeypatch.setattr(checkpoints._manager, "save", save)
    with pytest.raises(OSError, match=r"^cannot write to .*checkpoints: No space left on device$"):
        checkpoints.save(1, tree(), {})


def test_reading_makes_no_folder(tmp_path):
    assert Checkpoints(tmp_path / "none").latest is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "other", [{**tree(), "count": jnp.zeros(2, jnp.int32)}, {"weights": jnp.ones((3, 2))}]
)
def test_another_structure_is_refused(checkpoints, other):
    checkpoints.save(1, tree(), {})
    with pytest.raises(ValueError, match="checkpoint"):
        checkpoints.restore(1, other)


def test_what_differs_is_named_with_both_values():
    require_same({"a": 1}, {"a": 1}, "it")
    with pytest.raises(ValueError, match=r"it was made with b 2; here it is 3\."):
        require_same({"a": 1, "b": 2}, {"a": 1, "b": 3}, "it")
    with pytest.raises(ValueError, match=r"it was made with c 4; here it is nothing\."):
        require_same({"a": 1, "c": 4}, {"a": 1}, "it")


def test_the_versions_name_jax():
    assert versions()["jax"] == jax.__version__
