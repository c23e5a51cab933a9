"""Records: one JSON object a line, readable without auxo."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, Required, TypedDict, cast

from auxo.errors import CheckpointError
from auxo.files.atomic import AppendedFile, write_atomically
from auxo.files.json_text import read_json
from auxo.files.pipes import refuse_pipe
from auxo.runs.results import Compute, Selection


class _Measured(TypedDict, total=False):
    """A measure in a record."""

    value: Required[float]
    low: float | None
    high: float | None
    unit: str
    higher_is_better: bool
    has_mean: bool


class _Chosen(TypedDict, total=False):
    """A selection in a record: the types of its fields, of which another version of auxo may have others."""

    split: str
    head: str
    measure: str
    value: float
    tie_break: str
    tie_value: float | None
    step: int
    epoch: int
    statistic: float | None
    p_value: float | None


class _Row(TypedDict):
    """What every record has, and the types of what those of some kinds have beside it."""

    kind: str
    stage_number: int
    step: int
    stage: NotRequired[str]
    global_step: NotRequired[int]
    epoch: NotRequired[float]
    epochs: NotRequired[int]
    losses: NotRequired[dict[str, float]]
    lr: NotRequired[dict[str, float]]
    images_per_second: NotRequired[float]
    split: NotRequired[str]
    head: NotRequired[str]
    head_kind: NotRequired[Literal["task", "pretext", "method"]]
    n: NotRequired[int]
    primary: NotRequired[str]
    chance: NotRequired[float | None]
    measures: NotRequired[dict[str, _Measured]]
    parts: NotRequired[dict[str, dict[str, list[Any]]]]
    notes: NotRequired[list[str]]
    selection: NotRequired[_Chosen | None]
    train_seconds: NotRequired[float]
    images: NotRequired[int]
    flops: NotRequired[float | None]


STOP = "stop"
"""Kind of the record of a stage that ended early."""
EXTENSION = "extension"
"""Kind of the record of a finished run that goes on for more epochs."""


class EarlyStop(NamedTuple):
    """A stage that ended before its last epoch, because the validation set became no better.

    Args:
        stage: its name.
        epoch: after which it ended.
        epochs: that it could have had.
    """

    stage: str
    epoch: int
    epochs: int

    def describe(self) -> str:
        """Return what a person should know of it."""
        return f"stage {self.stage} stopped after epoch {self.epoch} of {self.epochs}: val became no better"


class End(NamedTuple):
    """What the last record of a finished run says.

    Args:
        selection: how the checkpoint was chosen; ``None`` means the last epoch's weights.
        compute: what training cost.
        steps: updates of all stages together.
    """

    selection: Selection | None
    compute: Compute
    steps: int


class RecordWriter:
    """Appends rows to ``records.jsonl``; a row is on its way to the disk when ``write`` returns.

    Args:
        path: the file; made if missing.
        position: ``(stage number, step)`` that the run is at. Rows from later on, which a killed run wrote after its
            last checkpoint, are dropped, and so are a half-written last line and what the run will write again: the
            rows that it ends with, and those of an early stop or an extension at that position.
        num_rows: how many rows the run had at that position; ``None`` where that is not known.

    Raises:
        CheckpointError: a line is no record, or there are fewer rows than the run had.
        OutputError: the place cannot be written.
    """

    def __init__(self, path: Path, *, position: tuple[int, int] = (0, 0), num_rows: int | None = None) -> None:
        lines = [
            line
            for line, row in _read_lines(path)
            if _is_kept((row["stage_number"], row["step"]), row["kind"], position)
        ]
        if num_rows is not None and len(lines) < num_rows:
            fix = "take the file from a copy, or delete the newest checkpoint to go on from an older one"
            raise CheckpointError(f"{num_rows} rows in {path} up to the checkpoint", str(len(lines)), fix)
        write_atomically(path, b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
        self._file = AppendedFile(path)
        self.num_rows = len(lines)
        """Rows that the file has now."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; it has ``kind``, ``stage_number`` and ``step``.

        Raises:
            OutputError: the disk is full.
        """
        self._file.write((json.dumps(row) + "\n").encode())
        self.num_rows += 1

    def sync(self) -> None:
        """Wait until all rows are on the disk.

        Raises:
            OutputError: they cannot be brought there.
        """
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_kept(place: tuple[int, int], kind: str, position: tuple[int, int]) -> bool:
    """Return whether a row stays when a run goes on at a position."""
    is_repeated = kind in ("result", "end") or (kind in (STOP, EXTENSION) and place == position)
    return place <= position and not is_repeated


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a records file, leaving out a half-written last line; nothing if there is no file.

    Raises:
        CheckpointError: a line is no record; a last line that is half-written does not count.
    """
    for _, row in _read_lines(path):
        yield row


def _read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the rows of a records file with the bytes of each, one at a time."""
    if not path.exists():
        return
    refuse_pipe(path, expected=f"the records of a run in {path}", fix="take the file from a copy")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            expected = f"a record in line {number} of {path}"
            try:
                row = read_json(line.rstrip(b"\n"), _Row, expected=expected, fix="delete the line")
            except CheckpointError:
                if not line.endswith(b"\n"):  # the last one, which a killed process began
                    return
                raise
            yield line, cast("dict[str, Any]", row)


def find_end(records: Iterable[Mapping[str, Any]]) -> End | None:
    """Return what the last record of kind ``end`` says; ``None`` where there is none, as the run is not finished."""
    ends = [row for row in records if row["kind"] == "end"]
    if not ends:
        return None
    last = ends[-1]
    selection = None if last["selection"] is None else Selection(**last["selection"])
    compute = Compute(**{item.name: last[item.name] for item in fields(Compute)})
    return End(selection, compute, int(last["global_step"]))
