"""The code on the pages for users runs as it stands, from the top to the bottom of each page."""

import re
from pathlib import Path

import jax
import pytest

DOCS = Path(__file__).parents[1] / "docs"


def python_blocks(text):
    """The Python of a page, each block at its own line numbers, so that errors name the page's line."""
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield "\n" * text.count("\n", 0, found.start(1)) + found.group(1)


@pytest.mark.usefixtures("_quick_compilation")
def test_the_loops_of_the_page_run_as_they_stand(capsys):
    page = DOCS / "training_loop.md"
    names = {"__name__": "training_loop"}
    for block in python_blocks(page.read_text()):
        exec(compile(block, str(page), "exec"), names)
    printed = capsys.readouterr().out
    assert float(re.search(r"last training loss (\S+)", printed)[1]) < 1.5  # 2.3 is guessing
    assert (
        float(names["cross_entropy"](jax.vmap(names["model"])(names["inputs"]), names["targets"]))
        < 1.5
    )
    assert names["deep_state"].layer_names == (
        "embed",
        "blocks[0]",
        "blocks[1]",
        "blocks[2]",
        "head",
    )
    assert printed.endswith("\n30.0\n0.0\n1.0\n91 0\n")  # as the comments of these prints say
