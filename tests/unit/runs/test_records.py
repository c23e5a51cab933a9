"""Rows survive being killed, and a run that goes on takes its own up where it stopped."""

import json

import pytest

from auxo.errors import CheckpointError, OutputError
from auxo.runs.records import RecordWriter, find_end, read_records
from auxo.runs.results import Compute


def row(stage_number, step, **more):
    return {"kind": "losses", "stage_number": stage_number, "step": step, **more}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


def written(path, rows, position=(0, 0)):
    """Write rows as a run at ``position`` does, and return what is then in the file."""
    writer = RecordWriter(path, position=position)
    for each in rows:
        writer.write(each)
    writer.close()
    return list(read_records(path))


def test_records__written__are_json_lines_in_order(path):
    rows = [row(0, 1, losses={"x_loss": 0.5}), row(0, 2, note="é\n"), row(1, 1, nothing=None)]
    assert written(path, rows) == rows
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows


def test_records__write__is_on_disk_at_once(path):
    writer = RecordWriter(path)
    writer.write(row(0, 1))
    assert list(read_records(path)) == [row(0, 1)]
    writer.close()


def test_records__run_that_goes_on__drops_rows_after_its_position(path):
    written(path, [row(0, 5), row(0, 10), row(1, 3), row(1, 4), row(1, 5)])
    assert written(path, [row(1, 5)], position=(1, 4)) == [row(0, 5), row(0, 10), row(1, 3), row(1, 4), row(1, 5)]
    assert written(path, [], position=(0, 7)) == [row(0, 5)]
    assert written(path, []) == []


def test_records__half_written_last_line__is_dropped(path):
    written(path, [row(0, 1), row(0, 2)])
    whole = path.read_bytes()
    for length in range(1, len(json.dumps(row(0, 2)))):
        path.write_bytes(whole[: -length - 1])
        assert list(read_records(path)) == [row(0, 1)]
    assert written(path, [row(0, 2)], position=(0, 1)) == [row(0, 1), row(0, 2)]


def test_read_records__no_file__gives_nothing(path):
    assert list(read_records(path)) == []


@pytest.mark.parametrize("line", [b"{", b"3", b"[]", b'{"kind": "losses"}', b"\xff\xfe", b""])
def test_read_records__line_that_is_no_record__is_named(path, line):
    path.write_bytes(json.dumps(row(0, 1)).encode() + b"\n" + line + b"\n" + json.dumps(row(0, 2)).encode() + b"\n")
    with pytest.raises(CheckpointError, match=r"a record in line 2 of .*records\.jsonl, got .+: delete the line"):
        list(read_records(path))


def test_records__disk_full__tells_and_keeps_the_whole_rows(path, full_disk):
    writer = RecordWriter(path)
    writer.write(row(0, 1))
    size = path.stat().st_size
    with full_disk(size + 10), pytest.raises(OutputError, match=r"to write .*records\.jsonl, got file too large"):
        writer.write(row(0, 2))
    writer.close()
    assert path.stat().st_size == size + 10
    assert written(path, [row(0, 2)], position=(0, 1)) == [row(0, 1), row(0, 2)]


def test_find_end__finished_run__is_what_its_last_end_says():
    end = {"kind": "end", "global_step": 7, "train_seconds": 1.5, "images": 64, "flops": None}
    chosen = {**end, "selection": None, "global_step": 9}
    found = find_end([row(0, 1), {**end, "selection": None}, chosen])
    assert found == (None, Compute(train_seconds=1.5, images=64, flops=None), 9)


def test_find_end__run_that_goes_on__is_none():
    assert find_end([row(0, 1), row(0, 2)]) is None


def test_records__fewer_rows_than_the_checkpoint_counts__are_refused(path):
    writer = RecordWriter(path)
    for step in (1, 2, 3):
        writer.write(row(0, step))
    assert writer.num_rows == 3
    writer.close()
    again = RecordWriter(path, position=(0, 2), num_rows=2)
    assert again.num_rows == 2
    again.close()
    with pytest.raises(CheckpointError, match=r"3 rows in .*records.jsonl up to the checkpoint, got 2: take the file"):
        RecordWriter(path, position=(0, 3), num_rows=3)
