"""Which checkpoint to keep: the best on validation data, and never on any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from auxo.data import ValSplit
from auxo.errors import SelectionError
from auxo.evaluation.evaluate import EvaluationRow

if TYPE_CHECKING:
    SelectionSplit: TypeAlias = ValSplit
else:  # where types are checked at run time too, the error should be select's own, which says what to do
    SelectionSplit = object

__all__ = ["Selection", "select"]


@dataclass(frozen=True)
class Selection:
    """The best checkpoint so far.

    Args:
        split: name of the validation split.
        head: the class head that decided.
        accuracy: its accuracy there, a fraction.
        nll: its mean negative log-likelihood there, nats.
        step: updates done when it was measured.
        epoch: epochs done when it was measured.
    """

    split: str
    head: str
    accuracy: float
    nll: float
    step: int
    epoch: int


def select(
    split: SelectionSplit, rows: Sequence[EvaluationRow], best: Selection | None, *, step: int, epoch: int
) -> Selection:
    """Return the better of the checkpoint just measured and the best so far.

    The higher accuracy of the first class head wins; at equal accuracy the lower negative log-likelihood, then the
    earlier step.

    Args:
        split: the validation split that the rows were measured on.
        rows: what :func:`auxo.evaluation.evaluate` returned for it.
        best: the best so far, or ``None``.
        step: updates done.
        epoch: epochs done.

    Returns:
        ``best`` itself if it stands.

    Raises:
        SelectionError: ``split`` is not a :class:`auxo.data.ValSplit`, or the rows are not of it.
    """
    if not isinstance(split, ValSplit):
        raise SelectionError(
            "a ValSplit to choose a checkpoint on", type(split).__name__, "choose on validation data, judge on the rest"
        )
    foreign = sorted({row.split for row in rows} - {split.name})
    if foreign:
        raise SelectionError(f"rows of {split.name} only", f"rows of {', '.join(foreign)}", "leave those out")
    first = next((row for row in rows if row.kind == "class"), None)
    if first is None:
        raise SelectionError(f"a row of a class head on {split.name}", "none", "pass all rows that evaluate returned")
    candidate = Selection(split.name, first.head, first.accuracy, first.nll, step, epoch)
    return candidate if best is None or _rank(candidate) < _rank(best) else best


def _rank(selection: Selection) -> tuple[float, float, int]:
    """Return what orders checkpoints, the best first."""
    return -selection.accuracy, selection.nll, selection.step
