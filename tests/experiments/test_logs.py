"""Records of a run: what cannot be read is left out, and nothing else."""

from experiments.logs import Lines, read_lines


def test_a_damaged_line_costs_no_other_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"upd\n[3]\n{"a": 1}\n{"update": 2}\n{"update": 3}\n{"update"')
    assert [line["update"] for line in read_lines(path)] == [1, 2, 3]
    Lines(path, 2).close()
    assert path.read_text() == '{"update": 1}\n{"update": 2}\n'
