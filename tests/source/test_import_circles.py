"""Modules never import each other in a circle, not even from inside of functions."""

import ast
import graphlib
from collections.abc import Iterator, Set
from pathlib import Path

from .test_imports import EXPERIMENTS, PACKAGE, modules, named_by, parsed


def test_modules_never_import_each_other_in_a_circle():
    paths = {dotted(path): path for path in [*modules(), *EXPERIMENTS.rglob("*.py")]}
    first = {name: needs(name, path, paths.keys()) for name, path in paths.items()}
    graphlib.TopologicalSorter(first).prepare()  # raises, and names the circle


def dotted(path: Path) -> str:
    """How a module is imported; a package for its `__init__`."""
    root = PACKAGE if path.is_relative_to(PACKAGE) else EXPERIMENTS
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def needs(name: str, path: Path, known: Set[str]) -> set[str]:
    """What a module may run: the modules that it names, and packages around them but not around itself."""
    named = {
        module if module in known else module.rpartition(".")[0]
        for module in named_by(that_runs(parsed(path)))
    }
    around = {parent for module in named for parent in parents(module)} - parents(name)
    return (named | around) & known - {name}


def parents(module: str) -> set[str]:
    """The packages around a module."""
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


def that_runs(node: ast.AST) -> Iterator[ast.AST]:
    """All but what is there for type checks only: an import inside of a function is one, too."""
    yield node
    typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    for child in node.orelse if typing_only else ast.iter_child_nodes(node):
        yield from that_runs(child)


def test_an_import_inside_of_a_function_counts_and_one_for_type_checks_does_not(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n  import ganno_jax.c\n"
        "def f():\n  from ganno_jax.b import x\n  return x\n"
    )
    known = {"ganno_jax", "ganno_jax.a", "ganno_jax.b", "ganno_jax.c"}
    assert needs("ganno_jax.a", path, known) == {"ganno_jax.b"}
