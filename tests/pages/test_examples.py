"""The examples do what they say, at a small size."""

import importlib.util
import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compilation")
def test_a_custom_task_is_trained_and_evaluated_in_under_sixty_lines():
    results = load("custom_task").main(num_updates=2, num_envs=4)
    assert set(results) == {"agents", "constant"}
    assert np.isfinite(list(results.values())).all()
    assert max(results.values()) < np.log(np.log(2))  # better than guessing
    assert len((EXAMPLES / "custom_task.py").read_text().splitlines()) < 60


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("optax_linen", marks=pytest.mark.slow),
        "optax_nnx",
        pytest.param("optax_equinox", marks=pytest.mark.slow),
    ],
)
def test_the_optax_examples_learn_with_and_without_the_controller(name, capsys):
    main = load(name).main
    assert main(controlled=True, num_steps=90) < 1.5  # log(10) = 2.3 is guessing
    printed = capsys.readouterr().out
    assert (
        len(re.findall(r"^rate/\S*(?:Dense_|dense|layers/)[01] +\S+$", printed, re.MULTILINE)) == 2
    )
    assert main(controlled=False, num_steps=30) < 1.5


@pytest.mark.usefixtures("_quick_compilation")
def test_the_example_of_plain_arrays_learns_and_draws_its_rates(capsys, tmp_path):
    figure = tmp_path / "rates.png"
    assert load("optax_plain").main(str(figure), num_steps=90) < 1.5
    assert figure.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "hidden  dense  muon, nadam" in printed
    assert "forgetting/out" in printed


@pytest.mark.slow
def test_a_train_state_learns_with_and_without_the_loss(capsys):
    losses = load("optax_train_state").main(num_seeds=2, num_steps=90)
    assert [len(found) for found in losses.values()] == [2, 2, 2, 2]
    assert max(map(max, losses.values())) < 1.5  # log(10) = 2.3 is guessing
    assert losses["training loss without `value`"] != losses["training loss with `value`"]
    printed = capsys.readouterr().out
    assert "without `value`: rate/Dense_0" in printed
    assert "with `value`: forgetting/Dense_1" in printed


@pytest.mark.slow
def test_the_notebook_runs_and_the_controller_ends_below_an_untuned_adamw():
    notebook = json.loads((EXAMPLES / "first_steps.ipynb").read_text())
    names = {"__name__": "first_steps"}
    with matplotlib.rc_context({"backend": "agg"}):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    losses = {name: result[1] for name, result in names["results"].items()}
    assert losses["ganno_jax.optimizer"] < losses["AdamW 1e-3"] < 0.2
    assert len(names["figure"].axes) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_compilation")
def test_the_example_of_accumulated_gradients_learns(capsys):
    assert load("optax_accumulation").main(num_updates=60, num_parts=2, part_size=32) < 1.5
    printed = capsys.readouterr().out
    assert "action_forgetting/params/layers_0" in printed
    assert "step                           60\n" in printed


@pytest.mark.slow  # devices that share few cores wait for each other
def test_the_example_of_several_devices_learns(capsys):
    assert load("optax_devices").main(num_steps=60, num_devices=2) < 1.5
    assert "rate/hidden" in capsys.readouterr().out
