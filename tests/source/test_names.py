"""One word for one thing: class names, the glossary, and one way to make an object."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .test_imports import EXPERIMENTS, ROOT, modules, parsed

MOST_WORDS = 25  # of the glossary
TWICE = {
    "Clock": "when decisions fall within a training (door), and where a run's time went (experiments)",
}
# Made by `create`, which looks into arrays and derives fields: JAX calls the constructor of a pytree with tracers, axes
# or markers in their place.
CREATED = {"Env", "Training", "MAPPO", "Evolution"}


def sources() -> list[Path]:
    """The modules of the package and of the experiments."""
    return [*modules(), *sorted(EXPERIMENTS.rglob("*.py"))]


def public_classes(path: Path) -> Iterator[ast.ClassDef]:
    """Those of a module whose names do not begin with an underscore."""
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node


def test_no_two_public_classes_have_the_same_name():
    counts = Counter(node.name for path in sources() for node in public_classes(path))
    assert {name for name, count in counts.items() if count > 1} == TWICE.keys()


def makes_itself(node: ast.ClassDef) -> bool:
    """Whether a class has a class method or static method that returns an object of it."""
    functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    return any(
        {ast.unparse(d) for d in function.decorator_list} & {"classmethod", "staticmethod"}
        and function.returns is not None
        and node.name in re.findall(r"\w+", ast.unparse(function.returns))
        for function in functions
    )


def test_a_public_class_has_one_constructor():
    found = {c.name for path in modules() for c in public_classes(path) if makes_itself(c)}
    assert found == CREATED


def glossary() -> list[str]:
    """The words that it explains, in its order."""
    text = (ROOT / "docs" / "glossary.md").read_text()
    return re.findall(r"^- \*\*(.+?)\*\*:", text, re.MULTILINE)


def test_the_glossary_is_short_sorted_and_of_words_that_the_tree_uses():
    words = glossary()
    assert 0 < len(words) <= MOST_WORDS
    assert words == sorted(words, key=str.lower)
    tree = "\n".join(path.read_text() for path in sources())
    for word in (part for words in words for part in re.split(r", | and ", words)):
        assert re.search(rf"\b{word.replace(' ', '[ _]')}", tree, re.IGNORECASE), word
