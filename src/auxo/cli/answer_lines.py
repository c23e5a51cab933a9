"""Answers of a network as the lines of a CSV, JSON or JSON Lines file."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auxo.errors import ConfigError
from auxo.export import AnsweredImage
from auxo.files.csv_cells import safe_cell
from auxo.tasks import AbstractTask

_JSON = (".json", ".jsonl")


@dataclass(frozen=True)
class AnswerLines:
    """What the lines of a file of answers hold.

    Args:
        task: whose answers they are.
        out: the file; its ending says which kind it is: ``.json``, ``.jsonl``, or any other for CSV.
        top: how many of the likeliest answers, with their probabilities; ``None`` gives what the task says of an image,
            in a CSV, and all of the answers in JSON.
    """

    task: AbstractTask
    out: Path
    top: int | None

    @property
    def is_json(self) -> bool:
        """Whether the file is JSON."""
        return self.out.suffix.lower() in _JSON

    def describe(self, answered: AnsweredImage) -> dict[str, Any]:
        """Return the values of an image's line by their columns, or of its object in JSON by their names.

        Raises:
            ConfigError: an answer has not a cell for each of the task's columns, or the task does not choose one of
                several answers and the likeliest are asked for.
        """
        columns, cells = self.task.answer_columns(), answered.answer.cells
        if len(cells) != len(columns):
            got, fix = (
                f"{len(cells)} in the answer to {answered.image.where}",
                "mend the task's answers or answer_columns",
            )
            raise ConfigError(f"{len(columns)} cells, one for each of answer_columns", got, fix)
        ranked = self._rank(answered)
        if ranked is None and self.top is not None:
            got = f"--top {self.top} with {type(self.task).__name__}"
            raise ConfigError("--top for a task that chooses one of several classes for an image", got, "leave it out")
        if ranked is not None and self.is_json:
            best = [{"class": name, "probability": probability} for name, probability in ranked]
            return {"prediction": ranked[0][0], "probability": ranked[0][1], "best": best}
        if ranked is not None and self.top is not None:
            return {
                f"{title}{f'_{number}' if number > 1 else ''}": value
                for number, (name, probability) in enumerate(ranked, start=1)
                for title, value in (("prediction", name), ("probability", f"{probability:.6f}"))
            }
        values = map(_read_number, cells) if self.is_json else cells
        return dict(zip(columns, values, strict=True))

    def _rank(self, answered: AnsweredImage) -> Sequence[tuple[str, float]] | None:
        """Return the likeliest answers, as many as are asked for; ``None`` where the task does not choose one."""
        if answered.outputs is None:
            return None
        found = self.task.rank_answers(answered.outputs.unsqueeze(0), self.top or self.task.num_outputs)
        return None if found is None else found[0]

    def write(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return the content of the file.

        Args:
            rows: of each image, with the same columns: what it is called, and :meth:`describe`.
        """
        if not self.is_json:
            text = io.StringIO()
            writer = csv.writer(text)
            writer.writerow(rows[0])
            writer.writerows(map(safe_cell, row.values()) for row in rows)
            return text.getvalue()
        if self.out.suffix.lower() == ".jsonl":
            return "".join(json.dumps(row) + "\n" for row in rows)
        return json.dumps(rows, indent=1) + "\n"


def _read_number(cell: str) -> str | float:
    """Return the number that a cell is, or its text."""
    try:
        return float(cell)
    except ValueError:
        return cell
