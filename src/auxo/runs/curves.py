"""Curves for TensorBoard, written at once and in this thread, so that a full disk is noticed where it happens."""

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter as EventFile

from auxo.files.atomic import AppendedFile, make_folder

_numbers = itertools.count()


class CurveWriter:
    """Writes points of curves to a new event file.

    Args:
        folder: of the event files; made if missing.
        purge_step: first step whose points in older event files are to be forgotten, or ``None``.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        make_folder(folder)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._file = AppendedFile(folder / name)
        self._events = EventFile(self._file)
        self._write_points(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._write_points(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each named curve.

        Raises:
            OutputError: the disk is full.
        """
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write_points(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write_points(self, event: Event) -> None:
        self._events.write(event.SerializeToString())
