"""An audit of a trained model by columns of the data: computed, and as records and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from auxo.data import EvaluationSplit, TrainSplit
from auxo.evaluation import ShiftCurve, Table, title_measure
from auxo.evaluation.audit import AuditConfig, ColumnAudit, Gap, PermutationTest, audit_columns
from auxo.explain import ClassSaliency, ExplainConfig, Subject, attend_groups
from auxo.reporting.judgement import Omission, attempt_making, shift_column

MOST_SHOWN = 8
"""Values of a column whose saliency is shown, those of the most images."""


@dataclass(frozen=True)
class AuditedColumn:
    """All that an audit shows of one column.

    Args:
        audit: verdict, differences and tests.
        curve: measures by the strength of the column, or why there are none.
        saliency: Grad-CAM by value in the class with the largest difference, or why there is none.
    """

    audit: ColumnAudit
    curve: ShiftCurve | Omission
    saliency: ClassSaliency | Omission


@dataclass(frozen=True)
class Audit:
    """An audit of one model on one set.

    Args:
        run: what captions call the model.
        split: name of the set.
        head: that predicts.
        primary: name of the measure that is compared.
        unit: of that measure.
        digits: behind the point that it is read with.
        n: images of the set.
        config: how.
        columns: in the order that was asked for.
    """

    run: str
    split: str
    head: str
    primary: str
    unit: str
    digits: int
    n: int
    config: AuditConfig
    columns: Sequence[AuditedColumn]

    def show(self, value: float) -> str:
        """Return a value of the measure, or a difference of two, as people read it, without its unit."""
        return f"{100 * value if self.unit == '%' else value:.{self.digits}f}"

    def show_gap(self, gap: Gap | None) -> str:
        """Return a difference with its interval; - where there is none."""
        return "-" if gap is None else f"{self.show(gap.size)} [{self.show(gap.low)}, {self.show(gap.high)}]"

    def to_record(self) -> dict[str, Any]:
        """Return everything but images, as values that JSON has."""
        columns = []
        for each in self.columns:
            curve = each.curve.reason if isinstance(each.curve, Omission) else each.curve.to_records()
            columns.append({**each.audit.to_record(), "shift": curve})
        told = {"run": self.run, "split": self.split, "head": self.head, "measure": self.primary, "n": self.n}
        return {**told, "options": asdict(self.config), "columns": columns}

    def cell_rows(self) -> list[dict[str, object]]:
        """Return a row for every column, class and value, for a CSV."""
        return [
            {"column": each.audit.name, "verdict": each.audit.verdict, "measure": self.primary, **cell._asdict()}
            for each in self.columns
            for cell in each.audit.cells
        ]


def audit_model(
    subject: Subject,
    split: EvaluationSplit,
    columns: Sequence[str],
    *,
    train: TrainSplit | None = None,
    config: AuditConfig | None = None,
    show: ExplainConfig | None = None,
) -> Audit:
    """Return an audit of a model by columns of a set.

    Args:
        subject: the model and the images of the set.
        split: the set.
        columns: names.
        train: the training images, where they have the columns: they say which value is usual in each class.
        config: how columns are audited.
        show: how many images Grad-CAM shows, and what it explains.

    Raises:
        ConfigError: no head predicts, or the set has no such column.
        NonFiniteError: outputs or features are not all finite.
    """
    reader, chosen = subject.reader, config or AuditConfig()
    head = reader.require_head()
    scores = reader.scores(split)[head]
    audits = audit_columns(reader, split, columns, scores=scores, config=chosen)
    main = reader.row(split.name, head, scores, {}).main
    made = []
    for audit in audits:
        curve = shift_column(reader, split, scores, audit.name, head=head, train=train, bins=chosen.bins)
        look = partial(_look_at_groups, subject, audit, show or ExplainConfig())
        made.append(AuditedColumn(audit, curve, attempt_making(look)))
    return Audit(
        run=subject.run,
        split=split.name,
        head=head,
        primary=reader.task.primary,
        unit=main.unit,
        digits=main.digits,
        n=len(split.source),
        config=chosen,
        columns=made,
    )


def build_audit_table(audit: Audit) -> Table:
    """Return a line for every column: the verdict and what it rests on.

    Args:
        audit: of at least one column.
    """
    unit = f", {audit.unit}" if audit.unit else ""
    columns = (
        "column",
        "verdict",
        f"largest difference in a class{unit}",
        "between",
        "p of predictions",
        "features apart",
        "p of features",
    )
    lines = []
    for each in audit.columns:
        own = each.audit
        gap, test = own.class_gap, None if own.embeddings is None else own.embeddings.test
        between = "-" if gap is None else f"{gap.best} and {gap.worst}" + (f" of {gap.stratum}" if gap.stratum else "")
        cells = (audit.show_gap(gap), between, write_p(own.predictions), _write_apart(test), write_p(test))
        lines.append((own.name, own.verdict, *cells))
    return Table(columns, tuple(lines), _describe_table(audit))


def write_p(test: PermutationTest | None) -> str:
    """Return a corrected p-value; - where there is no test."""
    return "-" if test is None else f"{test.p_holm:.3f}"


def list_reasons(audit: Audit) -> list[str]:
    """Return why each verdict is as it is, a line for every column."""
    return [f"{each.audit.name}: {each.audit.verdict}: {'; '.join(each.audit.reasons)}" for each in audit.columns]


def _write_apart(test: PermutationTest | None) -> str:
    """Return the discrepancy and what it is by chance."""
    return "-" if test is None else f"{test.statistic:.3f} ({test.expected:.3f} by chance)"


def _describe_table(audit: Audit) -> str:
    """Return what the numbers mean."""
    tests = sum(test is not None for each in audit.columns for test in (each.audit.predictions, each.audit.embeddings))
    unit = " points" if audit.unit == "%" else f" {audit.unit}".rstrip()
    return (
        f"Measure: {title_measure(audit.primary)} of {audit.head} on {audit.n:,} images of {audit.split}. leans: "
        "predictions depend on the column where the class is the same, p < 0.05; slightly: by less than "
        f"{audit.show(audit.config.smallest_gap)}{unit}; not seen: they do not, and the interval of the largest "
        "difference ends below that; cannot tell: neither. "
        "Differences with intervals of 95 % for all pairs of values in a class together. Features apart: squared "
        "discrepancy within the classes; that features differ does not mean that predictions do. "
        f"p-values from {audit.config.permutations} random orders of a column within the classes, corrected for "
        f"{tests} test{'' if tests == 1 else 's'} (Holm)."
    )


def _look_at_groups(subject: Subject, audit: ColumnAudit, show: ExplainConfig) -> ClassSaliency:
    """Return Grad-CAM by value in the class with the largest difference, or in the first that has images."""
    counts = audit.grouping.cell_counts()
    names = audit.grouping.strata.names
    first = next((y for y in range(len(names)) if int(counts[y].sum())), 0)
    number = names.index(audit.class_gap.stratum) if audit.class_gap is not None else first
    order = sorted(counts[number].nonzero().flatten().tolist(), key=lambda v: -int(counts[number, v]))[:MOST_SHOWN]
    in_class = audit.grouping.is_known & (audit.grouping.strata.values == number)
    groups: Mapping[str, Any] = {
        audit.grouping.groups.names[v]: (in_class & (audit.grouping.groups.values == v)).nonzero().flatten()
        for v in sorted(order)
    }
    return attend_groups(subject, names[number], groups, show)
