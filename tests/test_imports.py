"""Imports go up the list of rooms only."""

import ast
from pathlib import Path

import pytest

import ganno_jax

PACKAGE = Path(ganno_jax.__file__).parent
ROOMS = (
    "tasks",
    "inner",
    "env",
    "policies",
    "learners",
    "rules",
    "evaluation",
)  # in the order of the data flow
TOP = (
    "control",
    "door",
    "controllers",
    "controller_content",
    "optimizer",
    "checkpoint",
    "plots",
    "baselines",
    "__init__",
)  # may import any room
# No room: what stands beside the data flow, and whom it may import.
APART = {
    "checkpoint": (),
    "plots": ("policies", "evaluation"),
    "rules": ("inner", "env", "policies"),
}
FORBIDDEN = {"evaluation": ("learners",), "tasks": ROOMS[1:], "learners": ("rules",)}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Rooms and top modules that a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            base = node.module or ""
            names |= (
                {f"{base}.{alias.name}" for alias in node.names} if base == "ganno_jax" else {base}
            )
    return {name.split(".")[1] for name in names if name.startswith("ganno_jax.")}


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


def test_distrax_is_imported_in_one_module_only():
    users = [
        p for p in modules() if "import distrax" in p.read_text() or "from distrax" in p.read_text()
    ]
    assert [str(p.relative_to(PACKAGE)) for p in users] == ["policies/distributions.py"]


def test_the_package_imports_neither_experiments_nor_benchmarks():
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(
                n.split(".")[0] in ("experiments", "benchmarks", "tests") for n in names
            ), path
