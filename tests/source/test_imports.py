"""Imports go up the list of rooms only, those of the experiments up that of their folders."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

import ganno_jax
from experiments.configs.experiment_kinds import KINDS

PACKAGE = Path(ganno_jax.__file__).parent
ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
ROOMS = (
    "tasks",
    "inner",
    "env",
    "policies",
    "learners",
    "rules",
    "evaluation",
)  # in the order of the data flow
ALONE = ("extras", "platforms", "version")  # without imports, so that anything may import them
TOP = (
    "control",
    "door",
    "controllers",
    "controller_content",
    "controller_files",
    "plain_values",
    "optimizer",
    "checkpoint",
    "plots",
    "baselines",
    "train_state",
    *ALONE,
    "__init__",
)  # may import any room
# No room: what stands beside the data flow, and whom it may import.
APART = {
    "checkpoint": (),
    "plots": ("policies", "evaluation"),
    "rules": ("inner", "env", "policies"),
}
FORBIDDEN = {"evaluation": ("learners",), "tasks": ROOMS[1:], "learners": ("rules",)}
# The folders of experiments, and which of the others each may import.
_SHARED = ("configs", "runs")
FOLDERS = {
    "configs": (),
    "runs": ("configs",),
    "problems": _SHARED,
    "agents": _SHARED,
    "suites": (*_SHARED, "problems"),
    "broad": (*_SHARED, "problems", "agents", "suites"),
    "step_size": (*_SHARED, "agents"),
    "rules": (*_SHARED, "agents"),
}
Defined = ast.ClassDef | ast.FunctionDef
# What every kind of experiment has, one of each.
ALIKE = ({"build"}, {"train", "search"}, {"compare"}, {"present"}, {"commands"})
ENTRIES = {"run", "__init__", "__main__"}  # the only modules of experiments in no folder


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The folder or the top module; of the experiments their name."""
    if not path.is_relative_to(PACKAGE):
        return "experiments"
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Rooms and top modules that a file imports, at any depth of its code, without those of `ALONE`."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            base = node.module or ""
            names |= (
                {f"{base}.{alias.name}" for alias in node.names} if base == "ganno_jax" else {base}
            )
    return {name.split(".")[1] for name in names if name.startswith("ganno_jax.")} - {*ALONE}


@pytest.mark.parametrize("name", ALONE)
def test_what_stands_alone_imports_nothing_of_the_package(name):
    text = (PACKAGE / f"{name}.py").read_text()
    assert "from ganno_jax" not in text
    assert "import ganno_jax" not in text


def test_every_room_is_reached_from_the_package_and_none_is_imported_before_it_is_used():
    rooms = (*ROOMS, "baselines", "checkpoint", "plots", "door")
    program = (
        "import ganno_jax, sys; assert 'matplotlib' not in sys.modules\n"
        f"for room in {rooms}: print(getattr(ganno_jax, room).__name__, room in dir(ganno_jax))\n"
        "ganno_jax.rules.compile"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"ganno_jax.{room} True" for room in rooms], done.stderr
    assert done.returncode == 0


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ganno_jax' has no attribute 'rule'"):
        _ = ganno_jax.rule


def test_the_package_says_that_it_has_types():
    assert (PACKAGE / "py.typed").is_file()


def test_every_module_has_a_room():
    assert {room_of(path) for path in modules()} <= {*ROOMS, *TOP}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it(room):
    allowed = {*ROOMS[: ROOMS.index(room) + 1]} - set(FORBIDDEN.get(room, ()))
    for path in modules():
        if room_of(path) == room:
            assert imported(path) <= allowed, path.relative_to(PACKAGE)


@pytest.mark.parametrize("name", APART)
def test_what_stands_apart_imports_no_more_than_it_needs(name):
    for path in modules():
        if room_of(path) == name:
            assert imported(path) <= {*APART[name], name}, path.relative_to(PACKAGE)


def test_the_documented_imports_are_the_ones_that_are_held():
    rooms, folders = documented_imports((ROOT / "docs" / "architecture.md").read_text())
    held = {room: set(ROOMS[:number]) for number, room in enumerate(ROOMS)}
    held = {room: names - set(FORBIDDEN.get(room, ())) for room, names in held.items()}
    held = {room: names & set(APART.get(room, names)) for room, names in held.items()}
    assert (list(rooms), rooms) == (list(ROOMS), held)  # the order too
    assert folders == {folder: set(names) for folder, names in FOLDERS.items()}


def documented_imports(page: str) -> list[dict[str, set[str]]]:
    """Of each table of folders on the page: what a folder imports."""
    row = r"^\| `(\w+)` \|[^|\n]*\|([^|\n]*)\|$"
    tables = re.findall(r"^\| folder \|.*?(?=\n\n)", page, re.MULTILINE | re.DOTALL)
    return [
        {
            name: set(re.findall(r"`(\w+)`", names))
            for name, names in re.findall(row, table, re.MULTILINE)
        }
        for table in tables
    ]


def test_what_the_page_on_architecture_names_is_there():
    """Every dotted name resolves, from the package or the experiments on."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", page):
        parts = name.removeprefix("experiments.").split(".")
        roots = [EXPERIMENTS] if name.startswith("experiments.") else [PACKAGE, EXPERIMENTS]
        assert any(resolves(root, parts) for root in roots), name


def resolves(root: Path, parts: list[str]) -> bool:
    """Whether these are folders, then a module, then what its code defines at any depth."""
    here = root
    while parts and (here / parts[0]).is_dir():
        here, parts = here / parts[0], parts[1:]
    module = here / f"{parts[0]}.py" if parts and (here / f"{parts[0]}.py").is_file() else None
    if not parts:
        return True
    if module is None:
        module, parts = here / "__init__.py", ["", *parts]
    if not module.is_file():
        return False
    defined = {n.name for n in ast.walk(parsed(module)) if isinstance(n, Defined)}
    return set(parts[1:]) <= defined


def test_distrax_is_imported_in_one_module_only():
    users = [
        p for p in modules() if "import distrax" in p.read_text() or "from distrax" in p.read_text()
    ]
    assert [str(p.relative_to(PACKAGE)) for p in users] == ["policies/distributions.py"]


def test_the_package_imports_neither_experiments_nor_benchmarks():
    for path in modules():
        for node in ast.walk(parsed(path)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(
                n.split(".")[0] in ("experiments", "benchmarks", "tests") for n in names
            ), path


def test_every_module_of_the_experiments_is_the_entry_or_lies_in_a_folder():
    assert {path.stem for path in EXPERIMENTS.glob("*.py")} <= ENTRIES
    folders = {path.relative_to(EXPERIMENTS).parts[:-1] for path in EXPERIMENTS.rglob("*.py")}
    assert folders - {()} == {(folder,) for folder in FOLDERS}


def test_kinds_of_experiment_are_alike_inside():
    folders = {EXPERIMENTS / module.split(".")[1] for _, module in KINDS.values()}
    assert len(folders) == len(KINDS)
    for folder in folders:
        there = {path.stem for path in folder.glob("*.py")}
        assert not [names for names in ALIKE if len(names & there) != 1], folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_the_experiments_imports_only_those_it_may(folder):
    for path in (EXPERIMENTS / folder).glob("*.py"):
        named = named_by(ast.walk(parsed(path)))
        others = {name.split(".")[1] for name in named if name.startswith("experiments.")}
        assert others <= {*FOLDERS[folder], folder}, path


def test_no_code_outside_of_the_policies_asks_which_policy_it_has():
    classes = [
        node
        for path in (PACKAGE / "policies").glob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    ]
    policies = {c.name for c in classes if any(getattr(n, "name", "") == "act" for n in c.body)}
    assert {"AgentPolicy", "Ensemble", "SchedulePolicy", "StepSizePolicy"} <= policies
    for path in [*modules(), *EXPERIMENTS.rglob("*.py")]:
        if room_of(path) == "policies":
            continue
        assert not asked_for(parsed(path)) & policies, path


def asked_for(tree: ast.Module) -> set[str]:
    """The names of classes that `isinstance` is asked about, with or without their module."""
    asked = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            parts = [*ast.walk(node.args[1])]
            asked |= {part.id for part in parts if isinstance(part, ast.Name)}
            asked |= {part.attr for part in parts if isinstance(part, ast.Attribute)}
    return asked


@pytest.mark.parametrize("classes", ["A", "b.A", "(int, b.c.A)", "int | b.A"])
def test_a_class_is_asked_for_by_its_name_and_through_its_module(classes):
    assert "A" in asked_for(ast.parse(f"def f(x):\n  return isinstance(x, {classes})"))


def named_by(nodes: Iterable[ast.AST]) -> set[str]:
    """What import statements name: modules, and things in modules as `module.thing`."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_version_is_that_of_the_package():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert ganno_jax.__version__ == tomllib.load(file)["project"]["version"]
