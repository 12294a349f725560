"""One undisturbed run of a tiny experiment, made once and shared by every module that needs one."""

import os
import shutil

import pytest
from filelock import FileLock

from experiments.run import main

from .tiny import arguments


@pytest.fixture(scope="session")
def run_made_once(tmp_path_factory):
    """The folder of runs in which it lies; the first of several processes that test makes it."""
    base = tmp_path_factory.getbasetemp()
    # Of several processes each has a folder within that of the session; of one, above it is what other sessions left.
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared_runs"
    with FileLock(f"{place}.lock"):
        if not (place / "made").exists():
            shutil.rmtree(place, ignore_errors=True)
            assert main(arguments(place, "--profile")) == 0
            (place / "made").touch()
    return place


@pytest.fixture(scope="module")
def whole(run_made_once, tmp_path_factory):
    """A copy of its folder, for the tests of one module."""
    return shutil.copytree(run_made_once / "digits", tmp_path_factory.mktemp("runs") / "digits")
