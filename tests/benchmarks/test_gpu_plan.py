"""The script that asks a GPU everything: with a stub in the place of the benchmarks, and, slow, dry on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import compare, run

ROOT = Path(__file__).parents[2]
QUESTIONS = ("inner_step", "inner_step.resnet18", "convolution", "scaling", "learner", "door")
QUESTIONS += ("door_size", "memory")
# A Python that knows the answer to one question, fails at another, and makes the table of targets itself.
STUB = """#!{python}
import json, os, sys

words = sys.argv[1:]
if "benchmarks.run" in words:
    os.execv("{python}", ["{python}", *words])
if "--json" in words:
    place = words[words.index("--json") + 1]
    machine = {{"platform": "gpu", "processor": "P", "cores": 2, "python": "3", "versions": {{}}, "commit": "c"}}
    row = {{"network": "resnet18", "variant": "env step, map", "share_of_matmul_rate": 0.5, "machine": machine}}
    row["ms_per_inner_step"] = 1.0
    with open(place, "w") as file:
        json.dump([row] if place.endswith("resnet18.json") else [], file)
sys.exit(3 if "benchmarks.scaling" in words else 0)
"""


def asked(folder, python, *more):
    """Status and output of the script, and the status of each question."""
    words = ["bash", str(ROOT / "benchmarks" / "gpu_plan.sh"), str(folder), *more]
    environment = {**os.environ, "PYTHON": str(python), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    lines = (folder / "asked.tsv").read_text().splitlines()[1:]
    statuses = {name: int(status) for name, _, status in (line.split("\t") for line in lines)}
    return done, statuses


def test_every_question_is_asked_and_a_part_asked_alone_is_in_the_table_of_targets(tmp_path):
    stub = tmp_path / "python"
    stub.write_text(STUB.format(python=sys.executable))
    stub.chmod(0o755)
    done, statuses = asked(tmp_path / "out", stub)
    assert statuses == dict.fromkeys(("device", "tests", *QUESTIONS), 0) | {"scaling": 3}
    assert done.returncode == 1
    table = (tmp_path / "out" / "targets.txt").read_text()
    (line,) = [x for x in table.splitlines() if x.startswith("ResNet-18 env step, share")]
    assert line.split()[-2:] == ["50.0%", "yes"]
    assert "whole optimizer" in table


def keys_of(rows):
    """Which parts of a row's identity are given, by variant."""
    return {tuple(key for key in compare.IDENTITY if row.get(key) is not None) for row in rows}


@pytest.mark.slow
def test_the_plan_runs_dry_on_a_cpu(tmp_path):
    done, statuses = asked(tmp_path, sys.executable, "--quick")
    assert done.returncode == 0, done.stdout
    assert statuses == dict.fromkeys(("device", "tests", *QUESTIONS), 0)
    assert "the tests need a GPU: only collected" in done.stdout
    for name in QUESTIONS:
        rows = json.loads((tmp_path / f"{name}.json").read_text())
        assert rows, name
        assert all(row["machine"]["platform"] == "cpu" for row in rows)
        stored = compare.STORED / f"{name}.json"
        if stored.exists():  # can be compared, at the sizes that are stored
            assert keys_of(rows) == keys_of(json.loads(stored.read_text()))
    assert {row["network"] for row in run.load(tmp_path)["inner_step"]} > {"resnet18"}
    assert "question" in (tmp_path / "targets.txt").read_text()
