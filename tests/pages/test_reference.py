"""The reference of the documentation shows every public name."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def not_shown(root):
    """As the hook of the site finds it."""
    spec = importlib.util.spec_from_file_location("public_names", ROOT / "docs" / "public_names.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.not_shown(root)


def test_every_public_name_has_a_docstring_and_is_in_the_reference():
    assert not_shown(ROOT) == []


def write(root, **texts):
    for path, text in texts.items():
        file = root / path.replace("__", "/").replace("/init", "/__init__")
        file = file.with_suffix(".md" if path.startswith(("docs", "README")) else ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_what_is_missing_is_named(tmp_path):
    write(
        tmp_path,
        src__ganno_jax__init="""
from ganno_jax.parts import bare, hidden, shown, part, whole
from ganno_jax import room as room
__all__ = ["bare", "hidden", "shown", "part", "whole"]
""",
        src__ganno_jax__parts='''
def bare(): ...
def hidden():
    """On no page."""
def shown():
    """On a page by its own name."""
def part():
    """On a page among the members of a module."""
whole = 1
"""On a page by another module."""
def _own(): ...
''',
        src__ganno_jax__room='"""Lazily imported."""\nlimit = 3\n',
        src__ganno_jax__again='from ganno_jax.parts import whole\n__all__ = ["whole"]\n',
        README="```python\nfrom ganno_jax.parts import shown\n```\n",
        docs__page="```python\nfrom ganno_jax.room import limit\n```\n",
        docs__reference__index="""
::: ganno_jax.parts.shown
    options:
      heading_level: 3

::: ganno_jax
    options:
      members:
        - part
        - bare

::: ganno_jax.again
""",
    )
    assert not_shown(tmp_path) == [
        "ganno_jax has no docstring",
        "ganno_jax.again has no docstring",
        "ganno_jax.parts.bare has no docstring",
        "ganno_jax.parts.hidden is on no page of docs/reference",
        "ganno_jax.room is on no page of docs/reference",
        "ganno_jax.room.limit has no docstring",
    ]
