"""Modules and functions stay short enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

from .test_imports import PACKAGE, ROOT, modules, parsed

LONGEST_MODULE, LONGEST_FUNCTION = 300, 80  # lines


def test_no_module_and_no_function_is_too_long_to_be_read_at_once():
    package = {str(path.relative_to(PACKAGE)): path for path in modules()}
    beside = {
        str(path.relative_to(ROOT)): path
        for folder in ("experiments", "benchmarks", "examples", "tests")
        for path in (ROOT / folder).rglob("*.py")
    }
    longer = {name for place, path in (package | beside).items() for name in too_long(place, path)}
    assert not longer


def too_long(place: str, path: Path) -> Iterator[str]:
    """The module itself, and those of its functions that have too many lines."""
    text = path.read_text()
    if text.count("\n") > LONGEST_MODULE:
        yield place
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION:
                yield f"{place}:{node.name}"
