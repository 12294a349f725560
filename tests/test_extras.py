"""A library that only a part of the package needs: what is said where it is missing, and what the wheel holds."""

import builtins
import importlib
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from ganno_jax import extras
from ganno_jax.tasks import sources

from .experiments.tiny import RUN

ROOT = Path(__file__).parents[1]


@pytest.fixture
def without(monkeypatch):
    """Make the import of a library fail as if it were not installed."""

    def remove(name):
        def find(module, *rest, **others):
            if module.partition(".")[0] == name:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return original(module, *rest, **others)

        original = builtins.__import__
        monkeypatch.setattr(builtins, "__import__", find)

    return remove


def test_a_data_set_without_its_library_names_the_extra(without):
    without("sklearn")
    with pytest.raises(ModuleNotFoundError, match=r"sklearn.*ganno-jax\[experiments\]") as raised:
        sources.load("digits")
    assert raised.value.name == "sklearn"


def test_plots_without_matplotlib_name_the_extra(without, monkeypatch):
    for name in [m for m in sys.modules if m.startswith("ganno_jax.plots")]:
        monkeypatch.delitem(sys.modules, name)
    without("matplotlib")
    with pytest.raises(ModuleNotFoundError, match=r"matplotlib.*ganno-jax\[experiments\]"):
        importlib.import_module("ganno_jax.plots")


def test_what_no_extra_brings_is_said_as_it_is():
    error = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert extras.missing(error) is error


def test_a_checkout_without_the_extra_says_so_in_one_line(tmp_path):
    (tmp_path / "tyro.py").write_text("raise ModuleNotFoundError(name='tyro')\n")
    found = subprocess.run(
        [sys.executable, "-m", "experiments.run", "list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 1
    assert found.stderr.splitlines() == [
        "tyro is not installed; pip install '.[experiments]' in the checkout brings it."
    ]


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_environment_and_claims_no_common_name(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {
        "ganno_jax",
        "ganno_jax_experiments",
    }
    venv.create(tmp_path / "env", with_pip=True)
    programs = tmp_path / "env" / "bin"
    subprocess.run(
        [programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[experiments]"],
        check=True,
    )
    outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [programs / "ganno-jax", "train", "digits", *RUN.split()]
    subprocess.run(words, cwd=tmp_path, env=outside, check=True)
    assert (tmp_path / "runs" / "digits" / "report.html").is_file()
