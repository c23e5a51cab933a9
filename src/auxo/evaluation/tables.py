"""The table of a run: splits by heads, with intervals, and a caption that says how the numbers came about."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from rich.table import Table as RichTable
from rich.text import Text

from auxo.errors import DataError
from auxo.evaluation.evaluate import EvaluationRow
from auxo.evaluation.selection import Selection

__all__ = ["Compute", "Table", "accuracy_cell", "build_table", "to_csv", "to_markdown", "to_rich"]

_MISSING = "-"


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


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Args:
        columns: one header per column; the first column names the line.
        lines: one tuple per line, as long as ``columns``.
        caption: sentences on how the numbers came about.
    """

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    caption: str


def build_table(
    rows: Sequence[EvaluationRow], *, selection: Selection | None, compute: Compute, num_seeds: int = 1
) -> Table:
    """Return the table of a run, or of several runs of one configuration that differ in their seed.

    Lines are splits and columns are heads, each in the order of the rows: class heads, ``mean``, pretexts; then
    number of images, negative log-likelihood and calibration error of the first class head, if there is one. A cell is
    the accuracy in percent with its 95 % Wilson interval, ``97.8 [96.1, 98.8]``; of several seeds it is mean ± sample
    standard deviation over the seeds.

    Args:
        rows: of every split, and with several seeds of every seed; none where a method has neither class head nor
            pretext.
        selection: how the checkpoint was chosen; ``None`` means that the last epoch's weights were measured.
        compute: what all the seeds together cost.
        num_seeds: number of runs, >= 1.

    Raises:
        DataError: there are not ``num_seeds`` rows of each.
    """
    cells: dict[tuple[str, str, str], list[EvaluationRow]] = {}
    for row in rows:
        cells.setdefault((row.split, row.kind, row.head), []).append(row)
    heads = [*_in_order(rows, "class"), *_in_order(rows, "pretext")]
    for (split, _, head), members in cells.items():
        if len(members) != num_seeds:
            raise DataError(
                f"{num_seeds} rows of {head} on {split}, one per seed", f"{len(members)}", "pass every seed once"
            )
    lines: list[tuple[str, ...]] = []
    for split in dict.fromkeys(row.split for row in rows):
        accuracies = tuple(accuracy_cell(cells.get((split, *head), [])) for head in heads)
        if heads[0][0] != "class":
            lines.append((split, *accuracies))
            continue
        first = cells.get((split, *heads[0]), [])
        errors = [row.calibration_error for row in first if row.calibration_error is not None]
        count = f"{first[0].n:,}" if first else _MISSING
        nll = _spread([row.nll for row in first], digits=3)
        lines.append((split, count, *accuracies, nll, _spread([100 * error for error in errors], digits=1)))
    class_heads = {head for kind, head in heads if kind == "class"}
    names = tuple(f"{head} (pretext)" if kind == "pretext" and head in class_heads else head for kind, head in heads)
    columns = ("split", "images", *names, "NLL", "ECE") if class_heads else ("split", *names)
    return Table(columns, tuple(lines), _caption(heads, selection, compute, num_seeds=num_seeds))


def to_markdown(table: Table) -> str:
    """Return the table as GitHub-flavoured Markdown, the caption below it; of an empty table the caption alone."""
    if not table.lines:
        return f"{table.caption}\n"
    rule = ("---", *("---:" for _ in table.columns[1:]))
    lines = (_markdown_line(cells) for cells in (table.columns, rule, *table.lines))
    return "\n".join((*lines, "", table.caption)) + "\n"


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV with a header; nothing (``None``) is an empty field."""
    written = io.StringIO()
    if rows:
        writer = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return written.getvalue()


def to_rich(table: Table) -> RichTable:
    """Return the table for the terminal."""
    rendered = RichTable(caption=Text(table.caption), caption_justify="left")
    for number, column in enumerate(table.columns):
        rendered.add_column(Text(column), justify="right" if number else "left", overflow="fold")
    for cells in table.lines:
        rendered.add_row(*map(Text, cells))
    return rendered


def _in_order(rows: Sequence[EvaluationRow], kind: str) -> list[tuple[str, str]]:
    """Return kind and name of the heads of one kind, each once; the average of class heads last."""
    names = dict.fromkeys(row.head for row in rows if row.kind == kind)
    return [(kind, name) for name in sorted(names, key=lambda name: kind == "class" and name == "mean")]


def accuracy_cell(rows: Sequence[EvaluationRow]) -> str:
    """Return an accuracy in percent with its interval, or mean ± standard deviation of several; - of none."""
    if len(rows) == 1:
        return f"{100 * rows[0].accuracy:.1f} [{100 * rows[0].low:.1f}, {100 * rows[0].high:.1f}]"
    return _spread([100 * row.accuracy for row in rows], digits=1)


def _spread(values: Sequence[float], *, digits: int) -> str:
    """Return a value, or the mean and sample standard deviation of several."""
    if not values:
        return _MISSING
    center = f"{mean(values):.{digits}f}"
    return center if len(values) == 1 else f"{center} ± {stdev(values):.{digits}f}"


def _caption(heads: Sequence[tuple[str, str]], selection: Selection | None, compute: Compute, *, num_seeds: int) -> str:
    """Return the sentences below the table."""
    if num_seeds == 1:
        cells = "Accuracy in percent with its 95 % Wilson interval over the images; the spread over seeds is not known"
    else:
        cells = f"Accuracy in percent, mean ± sample standard deviation over {num_seeds} seeds"
    if selection is None:
        chosen = "last epoch; nothing was selected"
    else:
        chosen = f"best on {selection.split} at epoch {selection.epoch}"
    flops = "operations not counted" if compute.flops is None else f"{compute.flops:.3g} floating-point operations"
    of_classes = "No class head: the features can be judged with auxo evaluate --probe all"
    if heads and heads[0][0] == "class":
        of_classes = (
            "NLL: mean negative log-likelihood in nats; ECE: expected calibration error in percent; both of "
            f"{heads[0][1]}"
        )
    sentences = [
        *([cells] if heads else []),
        of_classes,
        f"Checkpoint: {chosen}",
        f"{num_seeds} seed{'s' if num_seeds > 1 else ''}",
        f"Training: {compute.train_seconds:.1f} s, {compute.images:,} training images seen, {flops}",
    ]
    if num_seeds == 1 and any(kind == "pretext" for kind, _ in heads):
        sentences.insert(1, "A pretext counts every variant of an image as one, so its interval is too narrow")
    return ". ".join(sentences) + "."


def _markdown_line(cells: Sequence[str]) -> str:
    """Return one line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
