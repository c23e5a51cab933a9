"""What trials found on the validation images, and which one is best; test images have no say."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any, Literal, TypeAlias

from auxo.errors import CheckpointError, SelectionError
from auxo.evaluation import Compute, EvaluationRow
from auxo.export import read_history, to_row
from auxo.training import find_end, read_records

__all__ = ["Objective", "TrialResult", "ValidationScore", "choose", "read_test", "read_trial"]

Objective: TypeAlias = Literal["accuracy", "nll"]

_VAL = "val"


@dataclass(frozen=True)
class ValidationScore:
    """What the weights that a run ends with achieve on its validation images.

    Args:
        split: name of the split, ``val``.
        head: the class head, the method's first.
        num_images: of the split.
        accuracy: a fraction.
        nll: mean negative log-likelihood, nats.

    Raises:
        SelectionError: the split is another.
    """

    split: str
    head: str
    num_images: int
    accuracy: float
    nll: float

    def __post_init__(self) -> None:
        if self.split != _VAL:
            fix = "choose on validation data, judge on the rest"
            raise SelectionError("scores on val to choose a trial by", f"scores on {self.split}", fix)

    def rank(self, objective: Objective) -> tuple[float, float]:
        """Return what orders trials, the best first: by the objective, then by the other of both."""
        return (-self.accuracy, self.nll) if objective == "accuracy" else (self.nll, -self.accuracy)

    def value(self, objective: Objective) -> float:
        """Return one number in the order of :meth:`rank`: the larger the better for accuracy, the smaller for nll.

        Accuracies of n images are 1 / n apart, so that exp(-nll) / (2 n), which lies between 0 and half of that,
        orders those that are equal and no others.
        """
        return self.accuracy + exp(-self.nll) / (2 * self.num_images) if objective == "accuracy" else self.nll


@dataclass(frozen=True)
class TrialResult:
    """What a finished trial found and cost.

    Args:
        score: on the validation images.
        compute: of its training.
    """

    score: ValidationScore
    compute: Compute


def read_trial(folder: Path) -> TrialResult:
    """Return what a trial found, from the rows of its records that are no test's.

    Raises:
        CheckpointError: it is not finished, its records are damaged, or there is no class head.
    """
    path = folder / "records.jsonl"
    rows = [row for row in read_records(path) if row.get("split", _VAL) == _VAL]
    end = find_end(rows)
    first = next((to_row(row) for row in rows if _is_class_result(row)), None)
    if end is None or first is None:
        raise CheckpointError(f"the validation result of a finished run in {path}", "none", "delete that folder")
    return TrialResult(ValidationScore(first.split, first.head, first.n, first.accuracy, first.nll), end.compute)


def _is_class_result(row: Mapping[str, Any]) -> bool:
    """Return whether a row tells what a class head achieves in the end."""
    return bool(row["kind"] == "result" and row["head_kind"] == "class")


def choose(scores: Mapping[int, ValidationScore], objective: Objective) -> int:
    """Return the number of the best trial; of equals the earliest.

    Args:
        scores: by trial; at least one.
        objective: what decides.
    """
    return min(scores, key=lambda number: (*scores[number].rank(objective), number))


def read_test(folder: Path) -> list[EvaluationRow]:
    """Return what a run achieves on every set but the validation images: for the chosen trial, once all is decided."""
    return [row for row in read_history(folder).first_head() if row.split != _VAL]
