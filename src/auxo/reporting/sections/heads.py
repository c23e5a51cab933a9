"""Which heads can stand in one chart, and what guessing would reach in their place."""

from collections.abc import Sequence
from typing import NamedTuple

from auxo.runs.results import EvaluationRow


class Head(NamedTuple):
    """Heads of one name that are measured alike and have one chance.

    Methods give one name to different things: a pretext called rotation may have four answers or sixteen.

    Args:
        kind: see :class:`auxo.runs.EvaluationRow`.
        name: of the head.
        primary: name of the measure.
        unit: of the measure.
        chance: the measure of guessing; ``None`` where it is not known.
    """

    kind: str
    name: str
    primary: str
    unit: str
    chance: float | None

    @property
    def title(self) -> str:
        """The name, and whether it is a pretext's."""
        return f"{self.name} (pretext)" if self.kind == "pretext" else self.name


def find_head(row: EvaluationRow) -> Head:
    """Return which head a row is of."""
    return Head(row.kind, row.head, row.primary, row.main.unit, row.chance)


def describe_guessing(rows: Sequence[EvaluationRow]) -> str:
    """Return what guessing would reach in some rows, in brackets after a space; nothing where it is not known.

    Example:
        >>> from auxo.tasks import Measure
        >>> accuracy = {"accuracy": Measure(0.9)}
        >>> rows = [EvaluationRow("test", "x", "task", 9, "accuracy", accuracy, chance) for chance in (0.1, 0.25)]
        >>> describe_guessing(rows[:1]), describe_guessing(rows)
        (' (guessing: 10.0 %)', ' (guessing: 10.0 % or 25.0 %)')
    """
    found = dict.fromkeys(measure.describe() for measure in (row.guessing for row in rows) if measure is not None)
    return f" (guessing: {' or '.join(found)})" if found else ""
