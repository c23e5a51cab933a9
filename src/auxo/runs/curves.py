"""Curves for TensorBoard, written at once and in this thread, so that a full disk is noticed where it happens."""

import itertools
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter as EventFile

from auxo.files.atomic import AppendedFile, delete_file, make_folder
from auxo.runs.trackers import AbstractTracker

_numbers = itertools.count()


class CurveWriter(AbstractTracker):
    """Writes points of curves to a new event file, of each curve one point a step.

    Args:
        folder: of the event files; made if missing. Points of earlier files are taken over and those files deleted, so
            that any reader sees each point once.
        step: last one whose earlier points stay.
    """

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        earlier = sorted(make_folder(folder).glob("events.out.tfevents.*"))
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._file = AppendedFile(folder / name)
        self._events = EventFile(self._file)
        self._last: dict[str, int] = {}
        self._write_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
        for event in _read_events(earlier):
            if event.step <= step:
                self._write_points(event.step, event.summary.value, wall_time=event.wall_time)
        self.sync()  # before the only other copy goes
        for path in earlier:
            delete_file(path)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each named curve that has none at that step or a later one.

        Raises:
            OutputError: the disk is full.
        """
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write_points(step, points, wall_time=time.time())

    def sync(self) -> None:
        """Wait until all points are on the disk.

        Raises:
            OutputError: they cannot be brought there.
        """
        self._file.sync()

    def close(self, *, is_finished: bool = False) -> None:
        """Close the file."""
        del is_finished
        self._file.close()

    def _write_points(self, step: int, points: Sequence[Summary.Value], *, wall_time: float) -> None:
        """Write the points that are new."""
        new = [point for point in points if self._last.get(point.tag, -1) < step]
        if new:
            self._last |= {point.tag: step for point in new}
            self._write_event(Event(wall_time=wall_time, step=step, summary=Summary(value=new)))

    def _write_event(self, event: Event) -> None:
        self._events.write(event.SerializeToString())


def _read_events(files: Sequence[Path]) -> Iterator[Event]:
    """Yield the points in event files, by step; what follows a half-written one in a file is lost."""
    events = [Event.FromString(content) for path in files for content in RawEventFileLoader(str(path)).Load()]
    yield from sorted((event for event in events if event.HasField("summary")), key=lambda event: event.step)
