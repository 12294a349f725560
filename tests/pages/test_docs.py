"""The code on the pages for users runs as it stands, from the top to the bottom of each page."""

import re
from pathlib import Path

import jax
import pytest

from ganno_jax import rules

from ..baselines.recorded import nested, read, under
from ..tasks.raw_files import write_idx

DOCS = Path(__file__).parents[2] / "docs"
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
    tables = re.findall(r"```\n(layer .*?)```", text, re.DOTALL)
    assert len(tables) == 2
    assert all(table in printed for table in tables)
    assert "\n('Dense_0[0]', 'Dense_0[1]', 'Dense_0[2]')\n" in printed
    assert printed.endswith("\n30.0\n0.0\n1.0\n91 0\n")  # as the comments of these prints say


@pytest.mark.usefixtures("_quick_compilation")
@pytest.mark.parametrize("page", ["../README.md", pytest.param("index.md", marks=pytest.mark.slow)])
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
    "schedules.md": "",
    "learned_optimizers.md": LOOP
    + """
from pathlib import Path
from flax.serialization import to_bytes
Path("path/to").mkdir(parents=True)
Path("path/to/params").write_bytes(to_bytes(velo_weights))
""",
    "step_size_controllers.md": LOOP
    + """
from ganno_jax import Env, Training
from ganno_jax.controllers import Controller
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner.directions import named
from ganno_jax.policies.step_size import reference
from ganno_jax.tasks import from_linen, networks, sources
from ganno_jax.tasks.distributions import Constant
network = networks.build("softmax", num_classes=10)
family, optimizer = from_linen(network, sources.load("digits")), named("momentum", Constant(0.1))
reward = LogLossDecrease()
state = ganno_jax.control(
    optax.trace(0.9), Controller(reference("momentum_1"), decisions=1000), total_steps=10_000
).init(params)
""",
    "update_rules.md": """
init_fn = lambda key: jax.random.normal(key, (3,))
loss_fn = lambda params, key: jnp.sum(params**2)
score_fn = lambda params, key: 1 / (1 + jnp.sum(params**2))
""",
    "evaluation.md": """
import numpy as np
from ganno_jax.evaluation.tables import PolicyResult
def result(name, loss):
    losses, numbers = loss * np.ones((4, 1)), loss * np.ones(4)
    return PolicyResult(
        name, "agents", None, numbers, np.exp(-numbers), numbers, np.exp(-numbers), np.log(numbers),
        numbers > 1, numbers, losses,
    )
results = [result("agents", 0.1), result("base", 0.3), result("one_cycle", 0.2)]
""",
    "data.md": """
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
write_idx(Path("~/data/fashion_mnist").expanduser())
write_idx(Path("~/downloads/fashion").expanduser())
x, y = np.arange(60.0).reshape(20, 3), np.arange(20) % 2
indices, step, batch_size, num_examples, num_active = jnp.arange(4), 7, 4, 12, 6
noise_probability, num_classes, key = 0.3, 2, jax.random.key(0)
""",
}
SLOW_PAGES = ("update_rules.md", "step_size_controllers.md")  # a search, and trainings by example
# Numbers of the pages that would take minutes, and what takes their place.
SMALLER = {"num_steps=500": "num_steps=5", "budget=2000": "budget=16"}


@pytest.mark.usefixtures("_quick_compilation")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow) if page in SLOW_PAGES else page
        for page in STAND_INS
    ],
)
def test_the_short_blocks_of_a_page_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    velo_weights = nested(under(read("velo_small"), "theta"))
    names = {"__name__": "page", "write_idx": write_idx, "velo_weights": velo_weights}
    exec(STAND_INS[page], names)
    text = (DOCS / page).read_text()
    for number, smaller in SMALLER.items():
        text = text.replace(number, smaller)
    for block in python_blocks(text):
        exec(compile(re.sub(r"^\.\.\.$", "", block, flags=re.MULTILINE), page, "exec"), names)


def test_the_page_of_rules_lists_those_that_the_search_found():
    text = (DOCS / "update_rules.md").read_text()
    [block] = re.findall(r"nine rules that the search found:\n\n```\n(.*?)^```$", text, re.M | re.S)
    assert {*re.split(r"\n|  +", block.strip())} == {*rules.SEARCH_FINDINGS}


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
