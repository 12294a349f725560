"""Damaged controller files through the commands: one line, exit status 2, and no run folder."""

from pathlib import Path

import msgpack
import numpy as np
import pytest

import ganno_jax
from experiments.run import main

from .tiny import assert_one_line, flip_a_bit

WHOLE = (Path(ganno_jax.__file__).parent / "shipped" / "digits.controller").read_bytes()
DAMAGED = {
    "empty": b"",
    "cut": WHOLE[: len(WHOLE) // 2],
    "longer": WHOLE + b"\0",
    "text": b"{}",
    "other map": msgpack.packb({"format": "another", "version": 1}),
    "changed digest": msgpack.packb(msgpack.unpackb(WHOLE) | {"sha256": "0" * 64}),
    "other version": msgpack.packb(msgpack.unpackb(WHOLE) | {"version": 10**6}),
}


@pytest.fixture
def damaged(tmp_path):
    path = tmp_path / "x.controller"

    def write(content):
        path.write_bytes(content)
        return path

    return write


def said(capsys, *words):
    assert main(words) == 2
    assert_one_line(capsys, "x.controller")


@pytest.mark.parametrize("command", ["evaluate", "plot"])
@pytest.mark.parametrize("harm", DAMAGED)
def test_a_damaged_controller_is_one_line_of_the_commands(damaged, tmp_path, capsys, command, harm):
    path = damaged(DAMAGED[harm])
    runs = tmp_path / "runs"
    said(capsys, command, str(path), "--suite", "development", "--run.folder", str(runs))
    assert not runs.exists()


def test_flipped_bits_of_a_controller_are_one_line_of_evaluate(damaged, capsys):
    path = damaged(WHOLE)
    flip_a_bit(path)
    said(capsys, "evaluate", str(path), "--suite", "development")
    for place in np.random.default_rng(0).integers(0, len(WHOLE), 30):
        content = bytearray(WHOLE)
        content[place] ^= 16
        damaged(bytes(content))
        said(capsys, "evaluate", str(path), "--suite", "development")


@pytest.mark.parametrize("option", ["--suite.blind", "--suite.more"])
def test_damaged_controllers_beside_the_examined_one_are_one_line(
    damaged, tmp_path, capsys, option
):
    path = damaged(DAMAGED["cut"])
    runs = ["--run.folder", str(tmp_path / "runs")]
    said(capsys, "evaluate", "digits", "--suite", "development", option, str(path), *runs)
