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
    second = CurveWriter(tmp_path, purge_step=4)
    second.add(4, {"loss": 40.0})
    second.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert points(tmp_path) == {"loss": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]}


def test_curve_writer__disk_full__tells(tmp_path, full_disk):
    writer = CurveWriter(tmp_path)
    with full_disk(50), pytest.raises(OutputError, match=r"to write .*tfevents.*, got file too large"):
        writer.add(1, {"loss": 1.0})
    writer.close()
