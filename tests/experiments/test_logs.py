"""Records of a run: what cannot be read is left out, and nothing else."""

from pathlib import Path

import pytest

from experiments.runs.logs import Lines, TensorBoard, read_lines


def test_a_damaged_line_costs_no_other_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"upd\n[3]\n{"a": 1}\n{"update": 2}\n{"update": 3}\n{"update"')
    assert [line["update"] for line in read_lines(path)] == [1, 2, 3]
    Lines(path, 2).close()
    assert path.read_text() == '{"update": 1}\n{"update": 2}\n'


def test_events_can_be_read_by_others_and_say_from_where_they_count(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    board = TensorBoard(tmp_path, 7)
    board.write("training", {"kl": 0.5}, 8)
    board.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    content, events = path.read_bytes(), []
    while content:  # length, its checksum, the record, its checksum
        length = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    version, start, scalar = events
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (7, start.session_log.START)
    assert (scalar.step, scalar.summary.value[0].tag) == (8, "training/kl")
    assert scalar.summary.value[0].simple_value == 0.5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error_where_it_happens(tmp_path):
    board = TensorBoard(tmp_path, 0)
    board.close()
    with open("/dev/full", "wb", buffering=0) as full:
        board._writer._py_recordio_writer._writer = full
        with pytest.raises(OSError, match="No space left"):
            board.write("training", {"kl": 0.5}, 1)
