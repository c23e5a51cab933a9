"""Event files that TensorBoard reads."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from auxo.errors import OutputError
from auxo.runs.curves import CurveWriter


def points(folder):
    """Return ``(step, value)`` of every curve, as TensorBoard sees them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_curve_writer__points__are_read_by_tensorboard_at_once(tmp_path):
    writer = CurveWriter(tmp_path / "a" / "b")
    writer.add(1, {"train/loss": 0.5, "lr/main": 0.25})
    writer.add(2, {"train/loss": 0.125})
    expected = {"train/loss": [(1, 0.5), (2, 0.125)], "lr/main": [(1, 0.25)]}
    assert points(tmp_path / "a" / "b") == expected
    writer.close()
    assert points(tmp_path / "a" / "b") == expected


def test_curve_writer__run_that_goes_on__replaces_later_points(tmp_path):
    first = CurveWriter(tmp_path)
    for step in range(1, 6):
        first.add(step, {"loss": float(step)})
    first.close()
    second = CurveWriter(tmp_path, step=3)
    second.add(4, {"loss": 40.0})
    second.close()
    assert len(list(tmp_path.iterdir())) == 1
    assert points(tmp_path) == {"loss": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]}


def test_curve_writer__disk_full__tells(tmp_path, full_disk):
    writer = CurveWriter(tmp_path)
    with full_disk(50), pytest.raises(OutputError, match=r"to write .*tfevents.*, got file too large"):
        writer.add(1, {"loss": 1.0})
    writer.close()


def test_curve_writer__point_there_already_or_half_written__is_there_once(tmp_path):
    first = CurveWriter(tmp_path)
    for step in range(1, 4):
        first.add(step, {"loss": float(step)})
        first.add(step, {"loss": 0.0})  # as where the last evaluation and the result are of one step
    first.close()
    (path,) = tmp_path.iterdir()
    (tmp_path / "events.out.tfevents.0.copy").write_bytes(path.read_bytes())  # an earlier death between two files
    path.write_bytes(path.read_bytes()[:-3])
    CurveWriter(tmp_path, step=3).close()
    assert points(tmp_path) == {"loss": [(1, 1.0), (2, 2.0), (3, 3.0)]}


def test_curve_writer__run_that_begins_anew__has_no_earlier_point(tmp_path):
    first = CurveWriter(tmp_path)
    first.add(1, {"loss": 5.0})
    first.close()
    second = CurveWriter(tmp_path, step=0)
    second.add(1, {"loss": 6.0})
    second.close()
    assert points(tmp_path) == {"loss": [(1, 6.0)]}
