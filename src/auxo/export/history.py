"""What a run directory says of how its model came about."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from auxo.errors import CheckpointError
from auxo.evaluation import Compute, EvaluationRow, Selection
from auxo.training import read_records

__all__ = ["History", "read_history"]


@dataclass(frozen=True)
class History:
    """The results of a finished run.

    Args:
        rows: of every split and head.
        records: the rows of ``records.jsonl`` that the rest comes from: kinds ``result`` and ``end``.
        selection: how the checkpoint was chosen; ``None`` means the last epoch's weights.
        compute: what training cost.
        steps: updates of all stages together.
    """

    rows: list[EvaluationRow]
    records: list[dict[str, Any]]
    selection: Selection | None
    compute: Compute
    steps: int

    def first_head(self) -> list[EvaluationRow]:
        """Return the rows of the head that predicts, one for each split."""
        name = next(row.head for row in self.rows if row.kind == "class")
        return [row for row in self.rows if row.kind == "class" and row.head == name]


def read_history(folder: Path) -> History:
    """Return the results in a run directory.

    Raises:
        CheckpointError: ``records.jsonl`` is missing, damaged, or has no result.
    """
    path = folder / "records.jsonl"
    records = [row for row in read_records(path) if row["kind"] in ("result", "end")]
    ends = [row for row in records if row["kind"] == "end"]
    rows = [_row(record) for record in records if record["kind"] == "result"]
    if not ends or not any(row.kind == "class" for row in rows):
        raise CheckpointError(f"the results of a finished run in {path}", "none", "name a whole run directory")
    end = ends[-1]
    selection = None if end["selection"] is None else Selection(**end["selection"])
    compute = Compute(**{item.name: end[item.name] for item in fields(Compute)})
    return History(rows, records, selection, compute, int(end["global_step"]))


def _row(record: Mapping[str, Any]) -> EvaluationRow:
    """Invert :meth:`auxo.evaluation.EvaluationRow.to_record`."""
    values = {item.name: record[item.name] for item in fields(EvaluationRow) if item.name != "kind"}
    return EvaluationRow(**{**values, "kind": record["head_kind"], "per_class": tuple(record["per_class"])})
