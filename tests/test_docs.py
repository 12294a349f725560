"""The code on the pages for users runs as it stands, from the top to the bottom of each page."""

import ast
import contextlib
import inspect
import re
import shlex
from pathlib import Path

import jax
import pytest

from experiments import run
from experiments.runs.errors import UserError

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(
    [
        DOCS.parent / "README.md",
        DOCS.parent / "CONTRIBUTING.md",
        DOCS.parent / "benchmarks" / "README.md",
        *DOCS.rglob("*.md"),
    ]
)


def python_blocks(text):
    """The Python of a page, each block at its own line numbers, so that errors name the page's line."""
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield "\n" * text.count("\n", 0, found.start(1)) + found.group(1)


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compilation")
def test_the_loops_of_the_page_run_as_they_stand(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the page writes its figures where it is
    text = (DOCS / "training_loop.md").read_text()
    names = {"__name__": "training_loop"}
    for block in python_blocks(text):
        exec(compile(block, "training_loop.md", "exec"), names)
    printed = capsys.readouterr().out
    assert float(re.search(r"last training loss (\S+)", printed)[1]) < 1.5  # 2.3 is guessing
    logits = jax.vmap(names["model"])(names["inputs"])
    assert float(names["cross_entropy"](logits, names["targets"])) < 1.5
    blocks = [n for n in names["deep_state"].layer_names if n.startswith("blocks/")]
    assert names["deep_state"].layer_names == ("positions", "stem", *blocks, "head")
    assert [name.count("[2]") for name in blocks] == [0] * 12 + [1] * 6  # three blocks in order
    figures = {path.name for path in tmp_path.iterdir()}
    loops = ("by_hand", "linen", "nnx", "equinox", "transformer")
    assert figures == {f"{loop}.png" for loop in loops}
    assert re.search(r"```\n(layer .*?)```", text, re.DOTALL)[1] in printed
    assert "\n('Dense_0[0]', 'Dense_0[1]', 'Dense_0[2]')\n" in printed
    assert printed.endswith("\n30.0\n0.0\n1.0\n91 0\n")  # as the comments of these prints say


def commands(text):
    """Command lines of the experiments in the code blocks of a page, continued lines joined, comments cut off."""
    for block in re.findall(r"^```(?:bash|sh|text)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.lstrip("$ ").startswith("python -m experiments.run "):
                yield shlex.split(line.lstrip("$ "), comments=True)[3:]


def complaint(command, words):
    """What is said of a command before anything runs; None where it is understood."""
    try:
        return "no help was asked for" if run.parse(command, words) is None else None
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_understood(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for command, *words in commands(page.read_text()):
        said = None if command == "list" else complaint(command, words)
        # `evaluate` and `plot` of a run read its folder, which is not here.
        missing = command != "train" and said is not None and "no run" in said
        assert said is None or missing, (words, said)


@pytest.mark.usefixtures("_quick_compilation")
@pytest.mark.parametrize("page", ["../README.md", "index.md"])
def test_the_first_lines_that_a_reader_pastes_train(page, capsys):
    blocks = list(python_blocks((DOCS / page).read_text()))
    assert len(blocks) == 1  # complete by itself
    exec(compile(blocks[0], page, "exec"), {"__name__": "pasted"})
    loss = float(re.search(r"loss (\S+)", capsys.readouterr().out)[1])
    assert loss < 0.1  # the variance of the target is 1


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


# What the short blocks of a page take for granted.
LOOP = """
import jax, jax.numpy as jnp, optax, ganno_jax
params = {"w": jnp.ones((4, 2)), "b": jnp.zeros(2)}
batch = jnp.ones((3, 4))
loss_fn = lambda p, batch: jnp.mean((batch @ p["w"] + p["b"] - 1.0) ** 2)
example_losses = lambda p, batch: jnp.mean((batch @ p["w"] + p["b"] - 1.0) ** 2, 1)
num_examples, batch_size = 30, 3
loss, grads = jax.value_and_grad(loss_fn)(params, batch)
"""
STAND_INS = {
    "control.md": LOOP
    + "old_params = {'w': params['w'], 'b': params['b']}\n"
    + "new_params = {'w': jnp.ones((4, 3)), 'b': jnp.zeros(3)}\n",
    "baselines.md": "",
    "learned_optimizers.md": LOOP,
    "step_size_controllers.md": LOOP
    + "from ganno_jax.controllers import Controller\n"
    + "from ganno_jax.policies.step_size import reference\n"
    + "state = ganno_jax.control(optax.trace(0.9), Controller(reference('momentum_1'), decisions=1000), "
    + "total_steps=10_000).init(params)\n",
    "update_rules.md": "",
    "evaluation.md": "",
    "data.md": "import jax\nfrom ganno_jax.tasks.sampling import batch_indices, noisy_targets, subset\n",
}
# Blocks of these pages, by their place, that take too long or need files: their names and arguments are checked.
CHECKED = {
    "learned_optimizers.md": {1},
    "step_size_controllers.md": {0},
    "update_rules.md": {1, 2},
    "evaluation.md": {0},
    "data.md": {0, 1, 2},
}


def check_calls(block, names):
    """Every name that is imported exists, and every call of one of them takes the arguments that it is given."""
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), "page", "exec"), names)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        root = node.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in names:
            function = eval(compile(ast.Expression(node.func), "page", "eval"), names)
            given = {keyword.arg: None for keyword in node.keywords}
            with contextlib.suppress(ValueError):  # a builtin has no signature
                inspect.signature(function).bind(*node.args, **given)


@pytest.mark.usefixtures("_quick_compilation")
@pytest.mark.parametrize("page", STAND_INS)
def test_the_short_blocks_of_a_page_are_right(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    exec(STAND_INS[page], names)
    for number, block in enumerate(python_blocks((DOCS / page).read_text())):
        if number in CHECKED.get(page, ()):
            check_calls(block, names)
        else:
            exec(compile(re.sub(r"^\.\.\.$", "", block, flags=re.MULTILINE), page, "exec"), names)


def test_every_page_with_code_is_looked_at():
    with_code = {page.name for page in DOCS.rglob("*.md") if "```python" in page.read_text()}
    assert with_code == {*STAND_INS, "training_loop.md", "index.md", "own_controller.md"}


@pytest.mark.slow
def test_the_way_from_a_learner_to_a_loop_runs_as_it_stands(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the page writes its controller where it is
    page = DOCS / "own_controller.md"
    names = {"__name__": "own_controller"}
    for block in python_blocks(page.read_text()):
        exec(compile(block, str(page), "exec"), names)
    printed = capsys.readouterr().out
    assert "mine.controller {'data': 'digits', 'updates': 20}" in printed
    assert float(re.search(r"training loss (\S+)", printed)[1]) < 1.0  # 2.3 is guessing
    assert (tmp_path / "mine.controller").is_file()
