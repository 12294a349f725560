"""A file of a controller is believed in nothing: damage, lies and other formats are one line."""

import hashlib
import math

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest

from ganno_jax import controller_files
from ganno_jax.controller_files import fingerprint, load, save
from ganno_jax.controllers import Controller
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.env.base_shapes import flat_shape
from ganno_jax.env.whole_update import Forgetting, RelativeUpdate, WholeUpdate
from ganno_jax.inner import Direction
from ganno_jax.policies.agents import Ensemble
from ganno_jax.policies.step_size import StepSizePolicy

from ..door.test_control import make_controller


@pytest.fixture(scope="module", params=["agents", "two teams", "steps"])
def saved(request, tmp_path_factory):
    """The bytes of a controller file and its fingerprint."""
    space = WholeUpdate(RelativeUpdate(flat_shape), Forgetting(flat_shape))
    controller = make_controller(space, recurrent=True).replace(direction=Direction("nadamw"))
    if request.param == "two teams":
        teams = Ensemble([make_controller(RateMultipliers()).policy] * 2)
        controller = Controller(teams, 4, {"seeds": [1, 2]})
    if request.param == "steps":
        controller = Controller(StepSizePolicy(jnp.arange(5.0) / 7), 60)
    path = save(tmp_path_factory.mktemp("saved") / "whole", controller)
    return path.read_bytes(), fingerprint(controller)


def content_of(data):
    return msgpack.unpackb(msgpack.unpackb(data)["content"])


def with_content(content, **outer):
    """The bytes of a file of this content, with a digest that fits."""
    packed = msgpack.packb(content)
    digest = hashlib.sha256(packed).hexdigest()
    whole = {"format": controller_files.FORMAT, "version": controller_files.FORMAT_VERSION}
    return msgpack.packb(whole | {"sha256": digest, "content": packed} | outer)


def places(content):
    """Every entry of nested maps and lists, as the map or list and the key."""
    for key in content if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places(content[key])


def said_of(path):
    """Why a file is refused; None where it is loaded."""
    try:
        load(path)
    except ValueError as error:
        return str(error)
    return None


def assert_refused_or_equal(path, data, whole):
    path.write_bytes(data)
    said = said_of(path)
    if said is None:
        assert fingerprint(load(path)) == whole
    else:
        assert len(said.splitlines()) == 1
        assert len(said) < 600


def test_bits_that_flip_and_bytes_that_are_lost_never_change_what_is_loaded(saved, tmp_path):
    data, whole = saved
    rng = np.random.default_rng(0)
    path = tmp_path / "x.controller"
    for _ in range(150):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        assert_refused_or_equal(path, bytes(changed), whole)
    for place in (*range(200), *rng.integers(0, len(data), 50)):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(8)  # the head too, where format and version stand
        assert_refused_or_equal(path, bytes(changed), whole)
        assert_refused_or_equal(path, data[:place], whole)
        assert_refused_or_equal(path, data[:place] + rng.bytes(3) + data[place:], whole)


NEVER = [
    *(-1, 1e308, -0.5, math.nan, math.inf, 2**64 - 1, "many", "a\nb", b"\0", [], {}, [[[[1]]]]),
    {"dtype": "<f4", "shape": [10**12], "data": b""},
]
"""Values that no field has but those of the provenance."""


def test_fields_are_checked_where_the_digest_fits(saved, tmp_path):
    data, whole = saved
    rng = np.random.default_rng(1)
    path = tmp_path / "x.controller"
    for _ in range(250):
        content = content_of(data)
        provenance = content.pop("provenance")  # where any plain value may stand
        there = list(places(content))
        part, key = there[rng.integers(len(there))]
        action = rng.integers(4)
        if action == 0 and isinstance(part, dict):  # fewer teams would be another controller
            del part[key]
        elif action == 1 and isinstance(part, dict):
            part["mood"] = part[key]
        else:
            part[key] = NEVER[rng.integers(len(NEVER))]
        assert_refused_or_equal(path, with_content(content | {"provenance": provenance}), whole)


def put(content, place, value):
    *way, last = place
    for step in way:
        content = content[step]
    content[last] = value


TEAM = ("members", 0)


SIZE = (*TEAM, "actions", "fields", "size", "fields")


KERNEL = (*TEAM, "params", "params", "torso", "dense0", "kernel")


@pytest.mark.parametrize(
    "place, value, said",
    [
        (["decisions"], 0, "`decisions` must be a whole number from 1 to 1000000; got 0"),
        (["decisions"], "many", "`decisions` must be a whole number from 1 .*; got 'many'"),
        (["decisions"], True, "`decisions` must be a whole number"),
        (["members"], [], "`members` must be a list of teams"),
        (["provenance"], [], "`provenance` must be a map; got list"),
        ([*TEAM, "actions", "name"], "Jump", "`members.0..actions.name` is 'Jump'; known are: D"),
        ([*SIZE, "mood"], 1, "has an unknown 'mood'; known are: schedule_fn, alpha"),
        ([*SIZE, "schedule_fn"], "up", "schedule_fn` is 'up'; known are: flat"),
        ([*SIZE, "alpha"], 1e30, r"alpha` must be a number from 0 to 50; got 1e\+30"),
        ([*SIZE, "lowest"], 11.0, "lowest` must be at most `highest`"),
        ([*TEAM, "actor", "hidden"], 9, r"must be '<f4' .*; got '<f4' "),
        ([*TEAM, "actor", "num_numbers"], 1, "num_numbers` must be 2, as the action space has it"),
        ([*KERNEL, "shape"], [10**12, 10**12], r"dense0.kernel` must be '<f4' \[\d+, 8\]; got"),
        ([*KERNEL, "dtype"], "<f8", "dense0.kernel` must be '<f4' .*; got '<f8'"),
        ([*KERNEL, "data"], b"1234", r"dense0.kernel` must hold \d+ bytes"),
        ([*TEAM, "normalizer", "count", "data"], b"\0\0\xc0\x7f", "count` holds NaN or inf"),
        ([*TEAM, "normalizer", "count", "data"], b"\0\0\x80\xbf", "count` must not be negative"),
        (["direction", "name"], "up", "`direction.name` is 'up'; known are: sgd"),
        (["direction", "momentum"], 1.0, r"`momentum` must be in \[0, 1\); got 1.0"),
        (["features"], ["loss"], "trained for other features: "),
        (["feature_version"], 0, "trained for feature version 0 "),
    ],
)
def test_what_a_file_claims_is_checked_and_named(tmp_path, place, value, said):
    space = WholeUpdate(RelativeUpdate(flat_shape), Forgetting(flat_shape))
    controller = make_controller(space).replace(direction=Direction("nadamw"))
    path = save(tmp_path / "agents", controller)
    content = content_of(path.read_bytes())
    put(content, place, value)
    path.write_bytes(with_content(content))
    with pytest.raises(ValueError, match=said) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_weights_that_are_not_finite_are_neither_loaded_nor_written(tmp_path, bad):
    controller = make_controller()
    path = save(tmp_path / "agents", controller)
    content = content_of(path.read_bytes())
    for part, key in places(content["members"][0]["params"]):
        if key == "data":
            part[key] = np.full(len(part[key]) // 4, bad, "<f4").tobytes()
    path.write_bytes(with_content(content))
    with pytest.raises(ValueError, match=r"damaged controller file: .*NaN or infinities"):
        load(path)
    params = jax.tree.map(lambda w: w * bad, controller.policy.params)
    spoilt = controller.replace(policy=controller.policy.replace(params=params))
    with pytest.raises(ValueError, match=r"cannot be written: .*NaN or infinities"):
        save(tmp_path / "spoilt", spoilt)
    assert not (tmp_path / "spoilt.controller").exists()


def test_foreign_files_are_refused_by_name(tmp_path):
    path = save(tmp_path / "agents", make_controller())
    data = path.read_bytes()
    claims = (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff")
    for foreign in (b"hello", b"", b"\x80", data[:200], b"\x91" * 2000, *claims):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match=r"agents\.controller is not a controller file"):
            load(path)
    with pytest.raises(FileNotFoundError, match=r"missing\.controller"):
        load(tmp_path / "missing.controller")
    with pytest.raises(ValueError, match="shipped are"):
        load("no_such_controller")


def test_a_file_of_another_format_names_both_versions(tmp_path):
    path = save(tmp_path / "agents", make_controller())
    old = {"format": controller_files.FORMAT, "version": 4, "decisions": 4}
    path.write_bytes(msgpack.packb(old))
    with pytest.raises(ValueError, match="format version 4; this library reads 5"):
        load(path)


@pytest.mark.parametrize("missing", ["decisions", "members", "direction", "provenance"])
def test_a_file_that_lacks_a_part_is_called_damaged(tmp_path, missing):
    path = save(tmp_path / "agents", make_controller())
    content = content_of(path.read_bytes())
    del content[missing]
    path.write_bytes(with_content(content))
    with pytest.raises(ValueError, match=f"damaged controller file: .* has no '{missing}'"):
        load(path)
