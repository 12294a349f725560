"""Every public function of three or more arguments says what each of them is."""

import ast
import re
from collections.abc import Iterator

import pytest

from .test_imports import PACKAGE, ROOT

PLACES = (PACKAGE, *(ROOT / folder for folder in ("experiments", "benchmarks", "examples")))
FEWEST = 3  # arguments from which on a function has an `Args:` section
Function = ast.FunctionDef | ast.AsyncFunctionDef
MODULES = [
    pytest.param(path, id=str(path.relative_to(place.parent)))
    for place in PLACES
    for path in sorted(place.rglob("*.py"))
    if not any(re.match("_(?!_)", part) for part in path.relative_to(place).parts)
]


def public_functions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Of a module or class: the dotted name, the function, and whether it is a method."""
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from public_functions(node.body, f"{owner}{node.name}.")
        if isinstance(node, Function):
            static = any(ast.unparse(d) == "staticmethod" for d in node.decorator_list)
            yield owner + node.name, node, bool(owner) and not static


def arguments(function: Function, is_method: bool) -> list[str]:
    """Names, without `self` or `cls`."""
    given = function.args
    positional = [*given.posonlyargs, *given.args][is_method:]
    rest = [given.vararg, *given.kwonlyargs, given.kwarg]
    return [argument.arg for argument in [*positional, *rest] if argument is not None]


def explained(docstring: str) -> list[str]:
    """Names in the `Args:` section, without asterisks; one line may explain several."""
    section = re.search(r"^Args:\n((?:  .*\n?)+)", docstring, re.MULTILINE)
    entries = re.findall(r"^  (\*{0,2}\w[\w, *]*):", section[1], re.MULTILINE) if section else []
    return [name.strip(" *") for entry in entries for name in entry.split(",")]


def unexplained(function: Function, is_method: bool) -> list[str]:
    """What is wrong with the section: arguments that it lacks, and names that are no arguments."""
    names, found = arguments(function, is_method), explained(ast.get_docstring(function) or "")
    if len(names) < FEWEST and not found:
        return []
    return sorted({*names} ^ {*found})


@pytest.mark.parametrize("path", MODULES)
def test_a_function_of_three_or_more_arguments_explains_each_of_them(path):
    for name, function, is_method in public_functions(ast.parse(path.read_text()).body):
        assert not unexplained(function, is_method), f"{path.name}: {name}"


@pytest.mark.parametrize(
    "section, missing",
    [
        ("Args:\n  a: one.\n  b: two,\n    or three.\n  *c: the rest.\n\nReturns:\n  d: no.", []),
        ("Args:\n  a: one.\n  b: two.\n", ["c"]),
        ("Args:\n  a, b: two.\n  c: three.\n  e: none.\n", ["e"]),
        ("", ["a", "b", "c"]),
    ],
)
def test_what_is_missing_or_made_up_is_named(section, missing):
    function = ast.parse("def f(a, b, *c): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body.insert(0, ast.Expr(ast.Constant(f"Do it.\n\n{section}")))
    assert unexplained(function, is_method=False) == missing


def undocumented(body: list[ast.stmt], owner: str = "") -> list[str]:
    """Public classes, functions and methods of a module or class that say nothing of themselves."""
    found = []
    for node in body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found += [] if ast.get_docstring(node) else [owner + node.name]
            found += undocumented(inner, f"{owner}{node.name}.")
    return found


@pytest.mark.parametrize("path", MODULES)
def test_every_public_class_function_and_method_has_a_docstring(path):
    assert undocumented(ast.parse(path.read_text()).body) == []


def test_what_has_no_docstring_is_named():
    text = "class A:\n  def b(self): ...\n  def _c(self): ...\ndef d():\n  'Do it.'\n"
    assert undocumented(ast.parse(text).body) == ["A", "A.b"]
