"""The measures of a set by how strongly a column goes with the class: as values, records and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auxo.evaluation.tables import Table, title_measure, write_measure
from auxo.tasks import Measure


@dataclass(frozen=True)
class ShiftPoint:
    """The measures at one strength.

    Args:
        strength: probability that an image has its class's usual value.
        effective_size: how many images of equal weight say as much; 0 where nothing could be measured.
        measures: by name; none where nothing could be measured.
        reason: why not; empty otherwise.
    """

    strength: float
    effective_size: float = 0.0
    measures: Mapping[str, Measure] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class ShiftCurve:
    """The measures of a head on a set, by how strongly a column goes with the class.

    Args:
        split: the set.
        head: whose measures they are.
        column: its name.
        n: images that have a value of it.
        usual: the value that is usual in each class.
        paired_on: the set in which it is.
        observed: the strength in the set as it is, over all classes.
        points: at least one of which is measured.
        notes: what a reader should know, a sentence each.
    """

    split: str
    head: str
    column: str
    n: int
    usual: Mapping[str, str]
    paired_on: str
    observed: float
    points: Sequence[ShiftPoint]
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> tuple[ShiftPoint, ...]:
        """The strengths that could be measured."""
        return tuple(point for point in self.points if point.measures)

    def to_records(self) -> list[dict[str, Any]]:
        """Return a record for every strength, of values that JSON has."""
        shared = {"split": self.split, "head": self.head, "column": self.column, "n": self.n, "usual": dict(self.usual)}
        return [
            {
                **shared,
                "strength": point.strength,
                "observed_strength": self.observed,
                "effective_size": point.effective_size,
                "measures": {name: measure._asdict() for name, measure in point.measures.items()},
                "notes": list(filter(None, (*self.notes, point.reason))),
            }
            for point in self.points
        ]


def build_shift_table(curves: Sequence[ShiftCurve]) -> Table:
    """Return strengths by measures of one or more sets.

    Args:
        curves: of one column.
    """
    names = list(dict.fromkeys(name for curve in curves for point in curve.points for name in point.measures))
    lines = []
    for curve in curves:
        for point in curve.points:
            cells = tuple(write_measure(point.measures[name]) if name in point.measures else "-" for name in names)
            size = f"{point.effective_size:,.0f}" if point.measures else "-"
            lines.append((curve.split, f"{point.strength:g}", size, *cells))
    return Table(
        ("split", "strength", "effective images", *map(title_measure, names)), tuple(lines), _describe_curves(curves)
    )


def _describe_curves(curves: Sequence[ShiftCurve]) -> str:
    """Return what the numbers mean."""
    first = curves[0]
    pairs = [f"{label} with {value}" for label, value in first.usual.items()]
    shown = ", ".join(pairs[:12]) + (f" and {len(pairs) - 12} more" if len(pairs) > 12 else "")
    found = "given" if first.paired_on == "given" else f"as on {first.paired_on}"
    sentences = [
        f"Strength: the probability that an image has the {first.column} that is usual in its class ({found}: {shown})",
        "The images of a set are weighted; classes keep their frequencies, and images of one class and one value look "
        "as they do",
        "Intervals of 95 % over the images",
    ]
    for curve in curves:
        sentences.append(f"{curve.split} as it is: {curve.observed:.2f} over {curve.n:,} images of {curve.head}")
        reasons = dict.fromkeys(point.reason for point in curve.points if point.reason)
        sentences += [f"On {curve.split}: {note}" for note in (*curve.notes, *reasons)]
    return ". ".join(sentences) + "."
