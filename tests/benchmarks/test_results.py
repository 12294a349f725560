"""From rows to answers: targets, regressions, tables."""

import json
import math
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from benchmarks import common, compare, readme, run, targets


def inner_rows(ours_ms, native_ms, share=0.5):
    base = {"network": "cnn", "trainings": 16, "batch": 64}
    return [
        base
        | {
            "variant": "env step, map",
            "ms_per_inner_step": ours_ms,
            "share_of_matmul_rate": share,
            "over_bare_scan": 1.02,
        },
        base
        | {
            "variant": "env step, auto, reward on 512 examples",
            "ms_per_inner_step": ours_ms / 2,
            "share_of_matmul_rate": 2 * share,
            "over_bare_scan": None,
        },
        base
        | {
            "variant": "bare scan, native convolution, vmap",
            "ms_per_inner_step": native_ms,
            "share_of_matmul_rate": share * ours_ms / native_ms,
            "over_bare_scan": None,
        },
    ]


def answers(results):
    return {row["question"]: row for row in targets.judge(results)}


def test_targets_are_compared_with_what_was_measured():
    table = answers({"inner_step": inner_rows(2.0, 50.0)})
    native = table["CNN env step against `vmap` over native convolutions in a scan"]
    assert (native["target"], native["measured"], native["met"]) == (">= 20.0x", "25.0x", "yes")
    share = table["CNN env step, share of the matrix-product rate"]
    assert (share["measured"], share["met"]) == ("50.0%", "no")
    assert table["CNN env step over a bare scan of optimizer steps"]["measured"] == "1.02x"


def test_what_was_not_measured_says_so():
    for row in targets.judge({}):
        assert (row["measured"], row["met"]) == ("not measured", "")


def test_the_fastest_form_of_a_yardstick_counts():
    rows = inner_rows(2.0, 50.0)
    rows.append(rows[-1] | {"variant": rows[-1]["variant"] + ", 2 devices"})
    rows[-1]["ms_per_inner_step"] = 30.0
    assert targets.speedup({"inner_step": rows}, "cnn", "bare scan, native") == 15.0


def test_memory_per_update_is_the_most_updates_over_the_fewest():
    rows = [{"network": "cnn", "updates": n, "grown_mb": mb} for n, mb in ((8, 33.0), (1, 30.0))]
    table = answers({"memory": [row | {"memory_ratio": 1.2} for row in rows]})
    assert table["memory of 8 updates over that of 1"]["measured"] == "1.10x"


def test_a_lower_share_and_a_higher_cost_are_worse():
    before, after = inner_rows(2.0, 50.0, share=0.5), inner_rows(2.0, 50.0, share=0.4)
    after[0]["over_bare_scan"] = 1.02 * 1.5
    changes = {(c.row.split(", 16")[0], c.ratio): c for c in compare.compare(before, after)}
    ours = ("env step, map, cnn", "share_of_matmul_rate")
    assert changes[ours].worse_by == pytest.approx(0.25)
    assert changes["env step, map, cnn", "over_bare_scan"].worse_by == pytest.approx(0.5)


def test_a_small_share_that_becomes_a_large_one_is_a_regression():
    row = {"variant": "control", "network": "cnn", "overhead": 0.005}
    (change,) = compare.compare([row], [row | {"overhead": 0.15}])
    assert change.worse_by > 1


def test_equal_results_have_no_regression_and_faster_machines_do_not_matter(tmp_path, capsys):
    rows = inner_rows(2.0, 50.0)
    faster = [row | {"ms_per_inner_step": row["ms_per_inner_step"] / 3} for row in rows]
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, content in zip(files, (rows, faster), strict=True):
        path.write_text(json.dumps(content))
    assert compare.main([str(path) for path in files]) == 0
    worse = [row | {"share_of_matmul_rate": 0.1 * row["share_of_matmul_rate"]} for row in rows]
    files[1].write_text(json.dumps(worse))
    assert compare.main([str(path) for path in files]) == 1
    files[1].write_text("[]")
    assert compare.main([str(path) for path in files]) == 2
    assert "no row in common" in capsys.readouterr().err


def test_the_readme_keeps_its_text_and_replaces_its_tables(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(
        "before\n<!-- begin targets -->\nan earlier table\n<!-- end targets -->\nbetween\n"
        "<!-- begin inner_step -->\n<!-- end inner_step -->\nafter\n"
    )
    rows = inner_rows(2.0, 50.0)
    machine = {
        "platform": "cpu", "processor": "P", "cores": 2, "python": "3.11", "versions": {"jax": "1"}, "commit": "abc",
        "load": 0.5,
    }  # fmt: skip
    readme.write({"inner_step": [row | {"machine": machine} for row in rows]}, path)
    text = path.read_text()
    assert text.startswith("before\n<!-- begin targets -->\n| question | target |")
    assert "an earlier table" not in text
    assert "25.0x" in text
    assert "P, 2 cores, Python 3.11, jax 1; commit abc; load at the end 0.5." in text
    assert text.endswith("<!-- end inner_step -->\nafter\n")
    once = text
    readme.write({"inner_step": [row | {"machine": machine} for row in rows]}, path)
    assert path.read_text() == once


def test_the_tables_of_the_readme_are_those_of_the_stored_rows(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(readme.HERE.read_text())
    readme.write(run.load(compare.STORED), path)
    assert path.read_text() == readme.HERE.read_text()


def test_results_are_compared_with_the_stored_rows_by_default(tmp_path, capsys):
    assert compare.main([str(compare.STORED)]) == 0
    said = capsys.readouterr().out
    for ratio in ("share_of_matmul_rate", "times_native", "learner_share", "interpreter_cost"):
        assert ratio in said
    for file in compare.STORED.glob("*.json"):
        rows = json.loads(file.read_text())
        if file.stem == "scaling":
            rows = [row | {"relative_cost": 2 * row["relative_cost"]} for row in rows]
        (tmp_path / file.name).write_text(json.dumps(rows))
    assert compare.main([str(tmp_path)]) == 1
    assert f"{len(json.loads((compare.STORED / 'scaling.json').read_text()))} of " in (
        capsys.readouterr().out
    )


def test_a_part_that_was_asked_alone_is_read_and_goes_when_all_is_asked(tmp_path, monkeypatch):
    for name in ("inner_step.json", "inner_step.resnet18.json", "door.json"):
        (tmp_path / name).write_text(json.dumps([{"variant": name}]))
    rows = run.load(tmp_path)
    assert [row["variant"] for row in rows["inner_step"]] == [
        "inner_step.json",
        "inner_step.resnet18.json",
    ]
    assert len(rows["door"]) == 1
    monkeypatch.setattr(run.subprocess, "run", lambda command: SimpleNamespace(returncode=0))
    assert run.run_one("inner_step", tmp_path, True, None)
    assert [path.name for path in tmp_path.iterdir()] == ["door.json"]


def test_what_was_not_measured_again_or_is_no_number_is_worse():
    before = inner_rows(2.0, 50.0)
    after = [before[0] | {"share_of_matmul_rate": float("nan")}, *before[1:-1]]
    changes = compare.compare(before, after)
    worst = {(c.row.split(", cnn")[0], c.ratio): c.after for c in changes if c.worse_by == math.inf}
    assert worst.keys() == {
        ("env step, map", "share_of_matmul_rate"),
        ("bare scan, native convolution, vmap", "share_of_matmul_rate"),
    }
    assert worst["bare scan, native convolution, vmap", "share_of_matmul_rate"] is None


def test_an_accelerator_has_targets_of_its_own():
    rows = inner_rows(1.0, 50.0)
    rows.append(rows[-1] | {"variant": "PyTorch eager, one after another"})
    rows[-1]["ms_per_inner_step"] = 150.0
    on_gpu = [row | {"machine": {"platform": "gpu"}} for row in rows]
    question = "256 CNNs at once, env step against eager PyTorch, one after another"
    assert answers({"inner_step": on_gpu})[question]["met"] == "yes"
    assert question not in answers({"inner_step": rows})
    assert "CNN env step, share of the matrix-product rate" not in answers({"inner_step": on_gpu})


def test_calls_take_turns_after_one_unmeasured_turn():
    order = []
    calls = {name: lambda name=name: order.append(name) or jnp.zeros(()) for name in "ab"}
    timings = common.take_turns(calls, 3, fewer={"b": 1})
    assert order == list("abab") + list("aa")
    assert (len(timings["a"].wall), len(timings["b"].wall)) == (3, 1)


def test_a_call_may_report_its_own_seconds():
    assert common.take_turns({"a": lambda: 7.5}, 1)["a"].median == 7.5


def test_tables_align_numbers_right_and_text_left():
    rows = [{"a_b": "x", "n": 1.25}, {"a_b": "long", "n": None}]
    assert common.table(rows, {"a_b": "", "n": ".1f"}) == "a b     n\nx     1.2\nlong    -"


def columns_of(text):
    return [line.count(" | ") + 1 for line in text.splitlines() if line.startswith("|")]


def test_few_rows_with_many_columns_become_columns():
    rows = [dict(zip("abcdef", f"{n}12345", strict=True)) for n in (0, 1)]
    assert readme.narrow(rows).splitlines()[:3] == [
        "| a | 0 | 1 |",
        "| --- | --- | --- |",
        "| b | 1 | 1 |",
    ]
    again = [row | {"a": "x"} for row in rows]
    assert readme.narrow(again).startswith("| a | x (1) | x (2) |")


def test_many_rows_are_cut_into_parts_that_repeat_their_names_and_lose_no_number():
    rows = [
        {"variant": v, "batch": "64", "network": n}
        | {f"number {i}": f"{v}{n}{i}" for i in range(6)}
        for v in ("a", "b", "c")
        for n in ("d", "e")
    ]
    text = readme.narrow(rows)
    assert text.startswith("In all rows: batch 64.\n\n| variant; network | number 0 |")
    assert max(columns_of(text)) == 5
    assert text.count("| a; d |") == 2
    for row in rows:
        assert all(text.count(f"| {row[f'number {i}']} |") == 1 for i in range(6))
