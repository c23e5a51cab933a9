"""What a run tells: rows in records.jsonl, and curves in TensorBoard and other trackers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auxo.runs.curves import CurveWriter
from auxo.runs.records import RecordWriter
from auxo.runs.results import EvaluationRow
from auxo.runs.trackers import AbstractTracker


class Journal:
    """Writes the records and curves of a run; used by the main process only.

    Args:
        folder: the run directory.
        stages: names of the run's stages, in order.
        first_steps: steps of the run before each stage begins.
        position: ``(stage number, step in it)`` the run goes on from; later rows and curve points are dropped.
        num_rows: see :class:`auxo.runs.records.RecordWriter`.
        tensorboard: write event files as well.
        trackers: where else the curves go.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stages: Sequence[str],
        first_steps: Sequence[int],
        position: tuple[int, int] = (0, 0),
        num_rows: int | None = None,
        tensorboard: bool = True,
        trackers: Sequence[AbstractTracker] = (),
    ) -> None:
        self._stages = list(stages)
        self._first_steps = list(first_steps)
        self._records = RecordWriter(folder / "records.jsonl", position=position, num_rows=num_rows)
        self._trackers = list(trackers)
        self._is_finished = False
        if tensorboard:
            step = self._first_steps[position[0]] + position[1]
            self._trackers.insert(0, CurveWriter(folder / "tensorboard", step=step))

    def close(self) -> None:
        """Close the files."""
        self._records.close()
        for tracker in self._trackers:
            tracker.close(is_finished=self._is_finished)

    def sync(self) -> int:
        """Wait until rows and points are on the disk, and return how many rows there are.

        A checkpoint that was written after them can count on them, whatever becomes of the power.

        Raises:
            OutputError: they cannot be brought there.
        """
        self._records.sync()
        for tracker in self._trackers:
            tracker.sync()
        return self._records.num_rows

    def losses(
        self,
        stage: str,
        step: int,
        epoch: float,
        losses: Mapping[str, float],
        rates: Mapping[str, float],
        images_per_second: float,
    ) -> None:
        """Write the means of the losses since the last such row, with learning rates by optimiser."""
        row = {"epoch": epoch, "losses": dict(losses), "lr": dict(rates), "images_per_second": images_per_second}
        self._write_row("losses", stage, step, row)
        self._add_points(stage, step, {f"train/{name}": value for name, value in losses.items()})
        self._add_points(stage, step, {f"lr/{name}": value for name, value in rates.items()})
        self._add_points(stage, step, {"train/images_per_second": images_per_second})

    def evaluation(
        self, stage: str, step: int, epoch: int, rows: Sequence[EvaluationRow], *, kind: str = "evaluation"
    ) -> None:
        """Write one row for every split and head; ``kind`` is "result" for the weights that a run ends with."""
        for row in rows:
            self._write_row(kind, stage, step, {"epoch": epoch, **row.to_record()})
            points = {f"{row.split}/{row.head}_{name}": measure.value for name, measure in row.measures.items()}
            self._add_points(stage, step, points)

    def write(self, kind: str, stage: str, step: int, row: Mapping[str, Any]) -> None:
        """Write a row of another kind, such as the compute that a stage took; "end" says that the run is finished."""
        self._is_finished = self._is_finished or kind == "end"
        self._write_row(kind, stage, step, row)

    def _write_row(self, kind: str, stage: str, step: int, row: Mapping[str, Any]) -> None:
        number = self._stages.index(stage)
        position = {
            "stage_number": number,
            "stage": stage,
            "step": step,
            "global_step": self._first_steps[number] + step,
        }
        self._records.write({"kind": kind, **position, **row})

    def _add_points(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.add(self._first_steps[self._stages.index(stage)] + step, values)
