"""Problems from a TOML file: every key, and one line for everything that cannot be used."""

from pathlib import Path

import numpy as np
import pytest

from experiments.problems.files import read_problems
from experiments.problems.problem import ADAM_PEAKS, build
from experiments.problems.suites import problems_of
from experiments.runs.errors import UserError

WHOLE = """
[[problem]]
name = "my table"
data = { path = "mine.npz", standardize_targets = true }
network = { name = "mlp", features = [16, 8] }
steps = 600

[[problem]]
name = "wine"
data = { name = "wine" }
network = { name = "tabular", features = 8, num_blocks = 1 }
steps = 100
optimizer = "momentum"
batch_size = 8
weight_decay = [1e-4, 1e-2]
peaks = [1e-3, 0.3]
initial_rate = 0.1
"""


def written(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    return path


def test_a_file_gives_its_problems_and_they_can_be_built(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.normal(size=(200, 4)), y=rng.normal(size=200))
    table, wine = read_problems(written(tmp_path, WHOLE))
    assert (table.optimizer, table.peaks, table.total_steps) == ("adam", ADAM_PEAKS, 600)
    assert table.network["features"] == (16, 8)
    assert (wine.batch_size, wine.total_steps, wine.peaks) == (8, 100, (1e-3, 0.3))
    assert (wine.weight_decay, wine.initial_rate) == ((1e-4, 1e-2), (0.1, 0.1))
    env = build(table, None)
    assert env.training.family.dataset.num_classes == 0
    assert build(wine, None).num_layers == 4
    assert problems_of("unseen", "small", str(tmp_path / "mine.toml")) == (table, wine)


FIRST = WHOLE.split("[[problem]]")[1]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("steps = 600", "", "'my table': `steps` is missing"),
        ('name = "my table"', "", "problem 1: `name` is missing"),
        ("steps = 600", "steps = 601", "`steps` cannot be used: the steps must divide"),
        ("steps = 600", "steps = 6e2", "`steps` must be a whole number from 1 on; got 600.0"),
        ("steps = 600", "steps = true", "`steps` must be a whole number"),
        ("steps = 600", "steps = 600\nstep = 1", "`step` is unknown; there are: name, data"),
        ("steps = 600", "steps = 600\noptimizer = 'adma'", "`optimizer` must be one of sgd, "),
        ("steps = 600", "steps = 600\npeaks = [1, 0.1]", "`peaks` must be a number above 0"),
        ("steps = 600", "steps = 600\npeaks = 0", "`peaks` must be a number above 0"),
        ("steps = 600", "steps = 600\nweight_decay = nan", "`weight_decay` must be a number"),
        ("steps = 600", "steps = 600\nbatch_size = 0", "`batch_size` must be a whole number"),
        ("[16, 8]", "[16, 0]", "`network` cannot be made: `features` must be at least 1"),
        ("features =", "featurs =", "`network` cannot be made: .*'featurs'"),
        ('"mlp"', '"mpl"', "`network` cannot be made: no network 'mpl'"),
        ("[16, 8]", '"wide"', "`network` cannot be made"),
        ("[16, 8]", "[16], num_classes = 2", "`network.num_classes` follows from the data"),
        ('path = "mine.npz"', 'file = "a"', "`data` must be a table with `name` or `path`"),
        ("standardize_targets", "standardise_targets", "`data.standardise_targets` is unknown"),
        ('path = "mine.npz"', "path = 3", "`data.path` must be text"),
        ("steps = 600", "steps = ", "expected TOML"),
        ("[[problem]]", "[problem]", r"expected tables \[\[problem\]\]"),
        ("[[problem]]", "[[problems]]", r"expected tables \[\[problem\]\] and nothing else; got problems"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_with_file_problem_and_key(tmp_path, old, new, message):
    content = "[[problem]]" + FIRST
    assert old in content
    path = written(tmp_path, content.replace(old, new))
    with pytest.raises(ValueError, match=message) as caught:
        read_problems(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message):
        problems_of("unseen", "small", str(path))


def test_the_example_of_the_docs_is_a_file_of_problems(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")
    example = page.split("```toml")[1].split("```")[0]
    found = read_problems(written(tmp_path, example))
    assert [p.total_steps for p in found] == [3000, 1200, 600]
    assert found[0].data["path"] == str(tmp_path / "houses.csv")


def test_two_problems_of_one_name_and_a_missing_file_are_refused(tmp_path):
    path = written(tmp_path, WHOLE.replace('"wine"\ndata', '"my table"\ndata'))
    with pytest.raises(ValueError, match="'my table': `name` is that of another problem"):
        read_problems(path)
    with pytest.raises(FileNotFoundError, match="there is no file of problems"):
        read_problems(tmp_path / "other.toml")
