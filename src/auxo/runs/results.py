"""What a run finds and costs, as values: rows of an evaluation, the choice of a checkpoint, compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from auxo.errors import ConfigError
from auxo.tasks import Measure, Part

PRIMARY = "primary"
"""Stands for whichever measure is the primary one of a task."""
METHOD: Final = "method"
"""Head and kind of a row that holds the measures of a method without a head that predicts."""


@dataclass(frozen=True)
class EvaluationRow:
    """What one head achieved on one split.

    Args:
        split: name of the split, such as ``"test"`` or ``"ood/optdigits"``.
        head: name of the task's head or the pretext; ``"mean"`` is the average of the task heads' outputs.
        kind: ``"task"`` for what is to be predicted, ``"pretext"`` for a pretext's answers, ``"method"`` for measures
            of its own of a method without a head that predicts.
        n: number of items: images, or for a pretext all variants of the images it was measured on. A pretext's variants
            of one image are not independent, so its intervals are too narrow.
        primary: name of the measure that decides.
        measures: by name; the primary one first.
        chance: the primary measure of guessing; ``None`` where it is not known.
        parts: the primary measure on parts of the set, by the name of what cuts it, such as ``class``.
        notes: what a reader should know.
    """

    split: str
    head: str
    kind: Literal["task", "pretext", "method"]
    n: int
    primary: str
    measures: Mapping[str, Measure]
    chance: float | None = None
    parts: Mapping[str, Mapping[str, Part]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> Measure:
        """The primary measure."""
        return self.measures[self.primary]

    @property
    def guessing(self) -> Measure | None:
        """The primary measure of guessing; ``None`` where it is not known."""
        return None if self.chance is None else self.main._replace(value=self.chance, low=None, high=None)

    def name_measure(self, name: str) -> str:
        """Return the name of a measure; ``primary`` means the primary one."""
        return self.primary if name == PRIMARY else name

    def find(self, name: str) -> Measure:
        """Return a measure by its name; ``primary`` means the primary one.

        Raises:
            ConfigError: there is none of that name.
        """
        measure = self.measures.get(self.name_measure(name))
        if measure is None:
            got = f"{name!r}, which {self.head} on {self.split} does not have"
            fix = "; ".join(("choose one of them", *self.notes))
            raise ConfigError(f"a measure of {', '.join(self.measures)}", got, fix)
        return measure

    def to_record(self) -> dict[str, object]:
        """Return the row as values that JSON has; ``kind`` is called ``head_kind`` there.

        A part is its number of images and its value, and then the ends of its interval if there is one.
        """
        return {
            "split": self.split,
            "head": self.head,
            "head_kind": self.kind,
            "n": self.n,
            "primary": self.primary,
            "chance": self.chance,
            "measures": {name: measure._asdict() for name, measure in self.measures.items()},
            "parts": {
                cut: {name: _list_part(part) for name, part in parts.items()} for cut, parts in self.parts.items()
            },
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "EvaluationRow":
        """Return what a record of an evaluation holds, the inverse of :meth:`to_record`.

        Raises:
            ValueError: the primary measure is not among its measures.
        """
        if record["primary"] not in record["measures"]:
            raise ValueError(f"no measure {record['primary']!r}")
        return cls(
            split=record["split"],
            head=record["head"],
            kind=record["head_kind"],
            n=record["n"],
            primary=record["primary"],
            measures={name: Measure(**values) for name, values in record["measures"].items()},
            chance=record["chance"],
            parts={cut: {name: Part(*pair) for name, pair in ps.items()} for cut, ps in record["parts"].items()},
            notes=tuple(record.get("notes", ())),
        )


def _list_part(part: Part) -> list[int | float | None]:
    """Return a part as JSON has it."""
    return [part.n, part.value] if part.low is None else [part.n, part.value, part.low, part.high]


def first_head(rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """Return the rows of the head that predicts, one for each split; none where no head predicts."""
    name = next((row.head for row in rows if row.kind == "task"), None)
    return [row for row in rows if row.kind == "task" and row.head == name]


@dataclass(frozen=True)
class Selection:
    """The best checkpoint so far.

    Args:
        split: name of the split that decided.
        head: the head that decided.
        measure: name of the measure that decided.
        value: of the measure.
        tie_break: name of the measure that decides between equals.
        tie_value: of that measure; ``None`` where there is none of that name.
        step: updates done when it was measured.
        epoch: epochs done when it was measured.
        statistic: how far features tell a column; ``None`` where that was not tested.
        p_value: of that; ``None`` likewise.
    """

    split: str
    head: str
    measure: str
    value: float
    tie_break: str
    tie_value: float | None
    step: int
    epoch: int
    statistic: float | None = None
    p_value: float | None = None

    def describe(self) -> str:
        """Return how the checkpoint was chosen, in words."""
        tested = "" if self.p_value is None else f", independence p = {self.p_value:.3g}"
        return f"best {self.measure} of {self.head} on {self.split} at epoch {self.epoch}{tested}"


@dataclass(frozen=True)
class Compute:
    """What a result cost, over all its seeds together.

    Args:
        train_seconds: wall-clock time of training.
        images: training images seen, each as often as it was; what a pretext makes of one is not counted again.
        flops: floating-point operations of training, or ``None`` if they were not counted.
    """

    train_seconds: float
    images: int
    flops: float | None = None

    @classmethod
    def total(cls, parts: "Sequence[Compute]") -> "Compute":
        """Return what several parts cost together; operations count only if those of all parts were counted."""
        flops = [part.flops for part in parts if part.flops is not None]
        return cls(
            train_seconds=sum(part.train_seconds for part in parts),
            images=sum(part.images for part in parts),
            flops=sum(flops) if len(flops) == len(parts) else None,
        )
