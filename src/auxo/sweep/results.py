"""What trials found on the validation images, and which one is best; test images have no say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from auxo.errors import CheckpointError
from auxo.runs.history import RunHistory
from auxo.runs.results import Compute, EvaluationRow
from auxo.runs.selection import SelectionRule
from auxo.tasks import Measure

_VAL = "val"


@dataclass(frozen=True)
class ValidationScore:
    """What the weights that a run ends with achieve on its validation images.

    Args:
        rule: names the measure that decides among trials, and the one that decides between equals.
        row: of the head that the rule names, on the split ``val``.

    Raises:
        SelectionError: the row is of another split.
        ConfigError: the row has no such measure.
    """

    rule: SelectionRule
    row: EvaluationRow

    def __post_init__(self) -> None:
        self.rule.rank(self.row)

    @property
    def name(self) -> str:
        """Name of the measure that decides."""
        return self.rule.name_measure(self.row)

    @property
    def measure(self) -> Measure:
        """The measure that decides."""
        return self.row.measures[self.name]

    @property
    def tie_break(self) -> str | None:
        """Name of the measure that decides between equals; ``None`` where the row has none beside the first."""
        name = self.rule.tie_break
        return name if name != self.name and name in self.row.measures else None

    @property
    def rank(self) -> tuple[float, ...]:
        """What orders trials, the best first: the test of two_step, the measure that decides, the tie-break."""
        return self.rule.rank(self.row)


class Objective(NamedTuple):
    """What is to become best.

    Args:
        rule: by which one of the trials is chosen.
        higher_is_better: which way the measure that decides is to go.
    """

    rule: SelectionRule
    higher_is_better: bool


@dataclass(frozen=True)
class TrialResult:
    """What a finished trial found and cost.

    Args:
        score: on the validation images.
        compute: of its training.
    """

    score: ValidationScore
    compute: Compute


def read_trial(folder: Path, rule: SelectionRule) -> TrialResult:
    """Return what a trial found, from the rows of its records that are no test's.

    Args:
        folder: its run directory.
        rule: by which one of the trials is chosen.

    Raises:
        CheckpointError: it is not finished, or its records are damaged.
        SelectionError: no head predicts, and the rule names no other.
        ConfigError: there is no such head or measure.
    """
    history = RunHistory.read(folder)
    rows = [row for row in history.rows if row.split == _VAL]
    if not history.is_finished or not rows:
        raise CheckpointError(f"the validation result of a finished run in {folder}", "none", "delete that folder")
    return TrialResult(ValidationScore(rule, rule.find_row(rows, split=_VAL)), history.compute)


def choose(scores: Mapping[int, ValidationScore]) -> int:
    """Return the number of the best trial; of equals the earliest.

    Args:
        scores: by trial; at least one, all by one rule.
    """
    return min(scores, key=lambda number: (*scores[number].rank, number))


def read_test(folder: Path, score: ValidationScore) -> list[EvaluationRow]:
    """Return what a run achieves on every set but the validation images: for the chosen trial, once all is decided.

    Args:
        folder: its run directory.
        score: that it was chosen by; the rows are those of its head.
    """
    same = [row for row in RunHistory.read_finished(folder).rows if row.head == score.row.head]
    return [row for row in same if row.split != _VAL and row.kind == score.row.kind]
