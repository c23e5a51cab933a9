"""How columns are audited, and what is found of each, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from auxo.evaluation.groups import BINS, Grouping
from auxo.options import MOST_SEED, Options, Range
from auxo.tasks import Measure

Verdict: TypeAlias = Literal["leans", "leans slightly", "not seen", "cannot tell"]

LEVEL = 0.05
"""Level of all corrected p-values; intervals are of one minus it."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Options):
    """How columns are audited."""

    fewest: Annotated[int, Range(low=2)] = 10
    """Images that a class must have of a value for it to be compared there."""
    smallest_gap: Annotated[float, Range(above=0)] = 0.1
    """Difference that matters between two values of a column within a class, as a fraction (or in the unit of the
    measure): a model leans slightly where the largest is below it, and not at all where its interval ends below it."""
    bins: Annotated[int, Range(low=2)] = BINS
    """Ranges of like many images that a quantity of more than ten different values is cut into."""
    permutations: Annotated[int, Range(low=19)] = 999
    """Random orders of a column within the classes; the smallest p-value is one over one more."""
    num_embedded: Annotated[int, Range(low=20)] = 1000
    """Most images whose features are compared; of more, a draw that keeps the proportions of classes and values."""
    seed: Annotated[int, Range(low=0, high=MOST_SEED)] = 0
    """Of the permutations and that draw."""


class GroupMeasures(NamedTuple):
    """The measures on the images of one value of a column.

    Args:
        value: of the column.
        n: images.
        measures: of the task, by name.
    """

    value: str
    n: int
    measures: Mapping[str, Measure]


class CellMean(NamedTuple):
    """The primary measure on the images of one class and one value.

    Args:
        stratum: the class.
        value: of the column.
        n: images.
        mean: over them.
        low: lower end of its 95 % interval.
        high: upper end.
        is_compared: whether there are enough of them, and of another value in the class.
    """

    stratum: str
    value: str
    n: int
    mean: float
    low: float
    high: float
    is_compared: bool


class Gap(NamedTuple):
    """The largest difference between two parts of a set.

    Args:
        stratum: the class in which they are; empty where they are of all classes.
        best: value of the column.
        worst: likewise.
        size: their difference, >= 0.
        low: lower end of its interval.
        high: upper end. The confidence is 95 % for all pairs together, of which this is the largest.
        pairs: how many there were.
    """

    stratum: str
    best: str
    worst: str
    size: float
    low: float
    high: float
    pairs: int


class PermutationTest(NamedTuple):
    """How a statistic compares with those of random orders of the column within the classes.

    Args:
        statistic: of the column as it is.
        expected: mean over the random orders: what it is where nothing depends on the column within the classes.
        p: p-value.
        p_holm: corrected for all p-values of the audit.
    """

    statistic: float
    expected: float
    p: float
    p_holm: float


class Embeddings(NamedTuple):
    """How far the features of the values of a column are apart.

    Args:
        test: of the conditional squared discrepancy: within the classes, averaged over their images.
        weighted: the squared discrepancy between the values where weights make column and class independent; ``None``
            where a class lacks a value.
        length_scale: of the kernel: the median distance.
        n: images.
    """

    test: PermutationTest
    weighted: float | None
    length_scale: float
    n: int


@dataclass(frozen=True)
class ColumnAudit:
    """What was found of one column.

    Args:
        name: of the column.
        verdict: whether predictions depend on it within the classes.
        reasons: why, a sentence each.
        grouping: the images by the column.
        groups: the measures of each value.
        gap: between the best and the worst value over all classes; ``None`` where there is no such.
        cells: of every class and value.
        class_gap: the largest difference within a class; ``None`` where none can be compared.
        worst: the worst class and value of those that are compared; likewise.
        predictions: the test of the primary measure; ``None`` where there is none.
        embeddings: the test of the features; likewise.
    """

    name: str
    verdict: Verdict
    reasons: tuple[str, ...]
    grouping: Grouping
    groups: tuple[GroupMeasures, ...]
    gap: Gap | None
    cells: tuple[CellMean, ...]
    class_gap: Gap | None
    worst: CellMean | None
    predictions: PermutationTest | None
    embeddings: Embeddings | None

    def to_record(self) -> dict[str, Any]:
        """Return all but the images, as values that JSON has."""
        tests = {
            "predictions": None if self.predictions is None else self.predictions._asdict(),
            "embeddings": None
            if self.embeddings is None
            else {**self.embeddings._asdict(), "test": self.embeddings.test._asdict()},
        }
        return {
            "column": self.name,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "is_binned": self.grouping.is_binned,
            "num_unknown": self.grouping.num_unknown,
            "values": list(self.grouping.groups.names),
            "gap": None if self.gap is None else self.gap._asdict(),
            "class_gap": None if self.class_gap is None else self.class_gap._asdict(),
            "worst": None if self.worst is None else self.worst._asdict(),
            **tests,
            "groups": [
                {"value": each.value, "n": each.n, "measures": {k: m._asdict() for k, m in each.measures.items()}}
                for each in self.groups
            ],
            "cells": [cell._asdict() for cell in self.cells],
        }
