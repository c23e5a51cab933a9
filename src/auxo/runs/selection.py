"""Which of several checkpoints or runs to keep: the best on validation data, and never on any other."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Literal, TypeAlias

from auxo.data import ValSplit
from auxo.errors import ConfigError, NonFiniteError, OptionError, SelectionError
from auxo.interfaces import AbstractImageReader, AbstractMethod
from auxo.options import Options
from auxo.runs.independence import IndependenceTestConfig
from auxo.runs.independence.permutation import Permutation
from auxo.runs.results import METHOD, PRIMARY, EvaluationRow, Selection
from auxo.tasks import Measure

if TYPE_CHECKING:
    SelectionSplit: TypeAlias = ValSplit
else:  # where types are checked at run time too, the error should be choose's own, which says what to do
    SelectionSplit = object

FIRST = "first"
_TIE_BREAK = "nll"


@dataclass(frozen=True, kw_only=True)
class SelectionRule(Options):
    """Which weights to keep. Only the validation set can decide; test data never does."""

    keep: Literal["last", "best", "two_step"] = "last"
    """The last weights; the best on the validation set; or first those whose features do not tell a column, or the
    nearest to it where all do, and of these the best (two_step)."""
    measure: str = PRIMARY
    """Measure that decides: "primary" for the task's, under two_step for the weighted class loss; or a name such as
    nll, worst_group/background or one of a method's own."""
    head: str = FIRST
    """Head that is measured: "first" for the one that predicts, or the name of another head or of a pretext."""
    tie_break: str = _TIE_BREAK
    """Measure that decides between equals, where there is one of this name; after it the earlier wins."""
    test: IndependenceTestConfig = field(default_factory=Permutation)
    """Of two_step: what says whether features tell a column."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep == "two_step" and not self.test.column:
            fix = "name it with selection.test.column"
            raise OptionError("keep", "two_step with a column that features are not to tell", "none", fix)
        if self.keep != "two_step" and self.test != Permutation():
            raise OptionError("test", "with keep two_step", f"keep {self.keep}", "leave it out, or choose two_step")

    @property
    def keeps_best(self) -> bool:
        """Whether a checkpoint is chosen by what it achieves."""
        return self.keep != "last"

    def name_measure(self, row: EvaluationRow) -> str:
        """Return the name of the measure of a row that decides."""
        is_weighted = self.keep == "two_step" and self.measure == PRIMARY
        return self.test.loss_name if is_weighted else row.name_measure(self.measure)

    def add_test(
        self, rows: list[EvaluationRow], method: AbstractMethod, images: AbstractImageReader
    ) -> list[EvaluationRow]:
        """Return the rows of a split with what the test of two_step measures beside the head that decides.

        Args:
            rows: of the split.
            method: that they are of.
            images: of the split.

        Raises:
            ConfigError: there is no such head, or the split cannot be tested by the column.
        """
        if self.keep != "two_step":
            return rows
        chosen = self.find_row(rows, split=images.split)
        tested = replace(chosen, measures={**chosen.measures, **self.test.measure(method.predict, images)})
        return [tested if row is chosen else row for row in rows]

    def select(
        self, split: SelectionSplit, rows: Sequence[EvaluationRow], best: Selection | None, *, step: int, epoch: int
    ) -> Selection:
        """Return the better of the checkpoint just measured and the best so far.

        Args:
            split: the validation split that the rows were measured on.
            rows: what was measured on it.
            best: the best so far, or ``None``.
            step: updates done.
            epoch: epochs done.

        Returns:
            ``best`` itself if it stands.

        Raises:
            SelectionError: ``split`` is not a :class:`auxo.data.ValSplit`, or the rows are not of it, or none is of the
                head.
            ConfigError: there is no such measure.
            NonFiniteError: the measure is not a finite number.
        """
        if not isinstance(split, ValSplit):
            got, fix = type(split).__name__, "choose on validation data, judge on the rest"
            raise SelectionError("a ValSplit to choose a checkpoint on", got, fix)
        foreign = sorted({row.split for row in rows} - {split.name})
        if foreign:
            raise SelectionError(f"rows of {split.name} only", f"rows of {', '.join(foreign)}", "leave those out")
        row = self.find_row(rows, split=split.name)
        chosen, tie = self._find_deciding(row)
        name, tie_value = self.name_measure(row), None if tie is None else tie.value
        found = Selection(
            split.name, row.head, name, chosen.value, self.tie_break, tie_value, step, epoch, *self._read_test(row)
        )
        if best is None:
            return found
        ours = [*self._rank_test(found.statistic, found.p_value), _sign_value(chosen)]
        theirs = [*self._rank_test(best.statistic, best.p_value), _sign_value(chosen._replace(value=best.value))]
        if tie is not None and best.tie_value is not None:
            ours.append(_sign_value(tie))
            theirs.append(_sign_value(tie._replace(value=best.tie_value)))
        return found if (*ours, step) < (*theirs, best.step) else best

    def rank(self, row: EvaluationRow) -> tuple[float, ...]:
        """Return what orders runs by their row on the validation set, the best first.

        Raises:
            SelectionError: the row is of another split.
            ConfigError: there is no such measure.
            NonFiniteError: the measure is not a finite number.
        """
        if row.split != "val":
            fix = "choose on validation data, judge on the rest"
            raise SelectionError("a row on val to choose a run by", f"one on {row.split}", fix)
        chosen, tie = self._find_deciding(row)
        first = self._rank_test(*self._read_test(row))
        return (*first, _sign_value(chosen), 0.0 if tie is None else _sign_value(tie))

    def _read_test(self, row: EvaluationRow) -> tuple[float | None, float | None]:
        """Return the discrepancy and the p-value of a row; ``None`` where there is no test."""
        if self.keep != "two_step":
            return None, None
        return row.find(self.test.statistic_name).value, row.find(self.test.p_value_name).value

    def _rank_test(self, statistic: float | None, p_value: float | None) -> tuple[float, ...]:
        """Return what orders weights by their test: all that pass are equal, the others follow by their discrepancy."""
        if statistic is None or p_value is None:
            return ()
        return (0.0, 0.0) if p_value >= self.test.significance else (1.0, statistic)

    def check(self, rows: Sequence[EvaluationRow], *, split: str) -> EvaluationRow:
        """Return the row that decides, refusing a rule that what was measured on a split cannot follow.

        Raises:
            SelectionError: no head predicts.
            ConfigError: there is no such head or measure, or none of the name of a tie-break that was chosen.
        """
        row = self.find_row(rows, split=split)
        row.find(self.name_measure(row))
        if self.tie_break != _TIE_BREAK:
            row.find(self.tie_break)
        return row

    def find_row(self, rows: Sequence[EvaluationRow], *, split: str) -> EvaluationRow:
        """Return the row that decides.

        Raises:
            SelectionError: there is none.
            ConfigError: there is no head of the rule's name.
        """
        of_split = [row for row in rows if row.split == split]
        first = next((row for kind in ("task", METHOD) for row in of_split if row.kind == kind), None)
        if self.head == FIRST:
            if first is None:
                raise SelectionError(f"a row of a head that predicts on {split}", "none", "select on a pretext's head")
            return first
        named = next((row for row in of_split if row.head == self.head), None)
        if named is None:
            known = ", ".join(dict.fromkeys((FIRST, *(row.head for row in of_split))))
            raise ConfigError(f"a head of {known} to select by", repr(self.head), "choose one of them")
        return named

    def _find_deciding(self, row: EvaluationRow) -> tuple[Measure, Measure | None]:
        """Return the measure of a row that decides, and the one that decides between equals, if there is one."""
        chosen, tie = row.find(self.name_measure(row)), row.measures.get(row.name_measure(self.tie_break))
        for measure in (chosen, tie):
            if measure is not None and not isfinite(measure.value):  # no order: the first of them would stay
                got, fix = f"{measure.value} of {row.head} on {row.split}", "let the task leave out what has no value"
                raise NonFiniteError("a finite measure to select by", got, fix)
        return chosen, tie

    def describe(self, *, primary: str) -> str:
        """Return the rule in words.

        Args:
            primary: name of the task's primary measure.
        """
        if self.keep == "last":
            return "last epoch; nothing was selected"
        measure = primary if self.measure == PRIMARY else self.measure
        of = "" if self.head == FIRST else f" of {self.head}"
        if self.keep == "two_step":
            measure = "weighted loss" if self.measure == PRIMARY else self.measure
            kept = f"features that do not tell {self.test.column} ({self.test.name}, p >= {self.test.significance:g})"
            return f"of {kept} on val or else the nearest, the best {measure}{of}, then {self.tie_break}"
        return f"best {measure}{of} on val, then {self.tie_break}, then the earliest"


def _sign_value(measure: Measure) -> float:
    """Return the value of a measure so that less is better."""
    return -measure.value if measure.higher_is_better else measure.value
