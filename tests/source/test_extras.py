"""A library that only a part of the package needs: what is said where it is missing, and what the wheel holds."""

import builtins
import importlib
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from ganno_jax import extras
from ganno_jax.tasks import sources

from ..experiments.tiny import RUN

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    "module, library", [("ganno_jax.plots", "matplotlib"), ("ganno_jax.checkpoint", "orbax")]
)
def test_a_module_without_its_library_names_the_extra(without, monkeypatch, module, library):
    for name in [m for m in sys.modules if f"{m}.".startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    without(library)
    with pytest.raises(ModuleNotFoundError, match=rf"^{library} is not .*ganno-jax\[experiments\]"):
        importlib.import_module(module)


@pytest.mark.parametrize("library", ["tensorflow_datasets", "PIL"])
def test_preparing_an_image_set_without_its_libraries_names_the_extra(
    without, monkeypatch, tmp_path, library
):
    monkeypatch.delitem(sys.modules, "ganno_jax.tasks.sources.builders", raising=False)
    monkeypatch.delattr(sources, "builders", raising=False)
    without(library)
    with pytest.raises(ModuleNotFoundError, match=rf"^{library} is not .*ganno-jax\[experiments\]"):
        sources.prepare("fashion_mnist", tmp_path)


def test_reading_a_prepared_set_without_its_library_names_the_extra(without, tmp_path):
    (tmp_path / "squares" / "1.0.0").mkdir(parents=True)
    (tmp_path / "squares" / "1.0.0" / "dataset_info.json").write_text("{}")
    without("tensorflow_datasets")
    with pytest.raises(ModuleNotFoundError, match=r"tensorflow_datasets is not .*experiments\]"):
        sources.load("squares", data_dir=str(tmp_path))


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
        "tyro is not installed; pip install 'ganno-jax[experiments]' brings it, "
        "in a checkout pip install '.[experiments]'."
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as it would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    [path] = folder.glob("*.whl")
    return path


def installed(place, requirement):
    """The programs of a new environment with this alone."""
    venv.create(place, with_pip=True)
    words = ["-m", "pip", "install", "--quiet", requirement]
    subprocess.run([place / "bin" / "python", *words], check=True)
    return place / "bin"


def call(*words, cwd):
    """Run a program where no checkout is on the path."""
    outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(words, cwd=cwd, env=outside, capture_output=True, text=True)


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_environment_and_claims_no_common_name(wheel, tmp_path):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {
        "ganno_jax",
        "ganno_jax_experiments",
    }
    programs = installed(tmp_path / "env", f"{wheel}[experiments]")
    done = call(programs / "ganno-jax", "train", "digits", *RUN.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "digits" / "report.html").is_file()


@pytest.mark.slow
def test_the_library_alone_trains_as_the_readme_says_and_names_what_is_missing(wheel, tmp_path):
    programs = installed(tmp_path / "env", wheel)
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = call(programs / "python", "-c", block, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"loss (\S+)", done.stdout)[1]) < 0.1  # the variance of the target is 1
    for words, library in (
        ([programs / "ganno-jax", "train", "digits"], "tyro"),
        ([programs / "python", "-c", "import ganno_jax.plots"], "matplotlib"),
    ):
        refused = call(*words, cwd=tmp_path)
        assert refused.returncode == 1
        assert re.search(
            rf"{library} is not installed; pip install 'ganno-jax\[experiments\]' brings it",
            refused.stderr.splitlines()[-1],
        )
