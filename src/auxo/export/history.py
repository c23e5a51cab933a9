"""What a run directory says of how its model came about."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from auxo.errors import CheckpointError
from auxo.evaluation import Compute, EvaluationRow, Selection
from auxo.training import find_end, read_records

__all__ = ["History", "read_history", "to_row"]


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
        """Return the rows of the head that predicts, one for each split; none where there is no class head."""
        name = next((row.head for row in self.rows if row.kind == "class"), None)
        return [row for row in self.rows if row.kind == "class" and row.head == name]


def read_history(folder: Path) -> History:
    """Return the results in a run directory.

    Raises:
        CheckpointError: ``records.jsonl`` is missing or damaged, or the run has not ended.
    """
    path = folder / "records.jsonl"
    records = [row for row in read_records(path) if row["kind"] in ("result", "end")]
    end = find_end(records)
    rows = [to_row(record) for record in records if record["kind"] == "result"]
    if end is None:
        raise CheckpointError(f"the results of a finished run in {path}", "none", "name a whole run directory")
    return History(rows, records, end.selection, end.compute, end.steps)


def to_row(record: Mapping[str, Any]) -> EvaluationRow:
    """Return what a record of an evaluation holds, the inverse of :meth:`auxo.evaluation.EvaluationRow.to_record`."""
    values = {item.name: record[item.name] for item in fields(EvaluationRow) if item.name != "kind"}
    return EvaluationRow(**{**values, "kind": record["head_kind"], "per_class": tuple(record["per_class"])})
