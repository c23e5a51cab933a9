"""The table of a run: splits by heads, with intervals, and a caption that says how the numbers came about."""

import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from rich.table import Table as RichTable
from rich.text import Text

from auxo.errors import DataError
from auxo.files.csv_cells import safe_cell
from auxo.runs.results import METHOD, PRIMARY, Compute, EvaluationRow, Selection
from auxo.tasks import Measure

_MISSING = "-"
_ABBREVIATIONS = ("auroc", "ece", "nll")


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

    Lines are splits and columns are heads, each in the order of the rows: the task's heads, ``mean``, pretexts; then
    the other measures of the first of the task's heads, if there is one. A cell is the primary measure with its 95 %
    interval, ``97.8 [96.1, 98.8]``; of several seeds it is mean ± sample standard deviation over the seeds.

    Args:
        rows: of every split, and with several seeds of every seed; none where a method has neither a head that predicts
            nor a pretext.
        selection: how the checkpoint was chosen; ``None`` means that the last epoch's weights were measured.
        compute: what all the seeds together cost.
        num_seeds: number of runs, >= 1.

    Raises:
        DataError: there are not ``num_seeds`` rows of each.
    """
    cells: dict[tuple[str, str, str], list[EvaluationRow]] = {}
    for row in rows:
        cells.setdefault((row.split, row.kind, row.head), []).append(row)
    heads = [*_list_heads(rows, "task"), *_list_heads(rows, "pretext"), *_list_heads(rows, METHOD)]
    for (split, _, head), members in cells.items():
        if len(members) != num_seeds:
            raise DataError(
                f"{num_seeds} rows of {head} on {split}, one per seed", f"{len(members)}", "pass every seed once"
            )
    predicts = bool(heads) and heads[0][0] == "task"
    firsts = [row for row in rows if predicts and (row.kind, row.head) == heads[0]]
    others = list(dict.fromkeys(name for row in firsts for name in row.measures if name != row.primary))
    lines: list[tuple[str, ...]] = []
    for split in dict.fromkeys(row.split for row in rows):
        primaries = tuple(measure_cell(cells.get((split, *head), [])) for head in heads)
        first = cells.get((split, *heads[0]), []) if predicts else []
        count = (f"{first[0].n:,}" if first else _MISSING,) if predicts else ()
        lines.append((split, *count, *primaries, *(measure_cell(first, name) for name in others)))
    own = {head for kind, head in heads if kind == "task"}
    names = tuple(f"{head} (pretext)" if kind == "pretext" and head in own else head for kind, head in heads)
    columns = ("split", *(("images",) if predicts else ()), *names, *map(title_measure, others))
    return Table(columns, tuple(lines), _write_caption(rows, firsts, selection, compute, num_seeds=num_seeds))


def to_markdown(table: Table, *, notes: Sequence[str] = ()) -> str:
    """Return the table as GitHub-flavoured Markdown, the caption below it; of an empty table the caption alone.

    Args:
        table: what was found.
        notes: paragraphs behind the caption.
    """
    caption = "\n\n".join(html.escape(text, quote=False) for text in (table.caption, *notes))
    if not table.lines:
        return f"{caption}\n"
    rule = ("---", *("---:" for _ in table.columns[1:]))
    lines = (_markdown_line(cells) for cells in (table.columns, rule, *table.lines))
    return "\n".join((*lines, "", caption)) + "\n"


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV with a header; nothing (``None``) is an empty field."""
    written = io.StringIO()
    if rows:
        writer = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: safe_cell(value) for name, value in row.items()} for row in rows)
    return written.getvalue()


def to_rich(table: Table) -> RichTable:
    """Return the table for the terminal."""
    rendered = RichTable(caption=Text(table.caption), caption_justify="left")
    for number, column in enumerate(table.columns):
        rendered.add_column(Text(column), justify="right" if number else "left", overflow="fold")
    for cells in table.lines:
        rendered.add_row(*map(Text, cells))
    return rendered


def title_measure(name: str) -> str:
    """Return what a table calls a measure.

    Example:
        >>> [title_measure(name) for name in ("nll", "worst_group/background", "mIoU")]
        ['NLL', 'worst group/background', 'mIoU']
    """
    return name.upper() if name in _ABBREVIATIONS else name.replace("_", " ")


def measure_cell(rows: Sequence[EvaluationRow], name: str = PRIMARY) -> str:
    """Return a measure with its interval, or mean ± standard deviation of several; - where no row has it.

    Fractions are in percent.

    Args:
        rows: of one head on one split, one for each seed.
        name: of the measure.
    """
    found = [row.measures.get(row.name_measure(name)) for row in rows]
    measures = [measure for measure in found if measure is not None]
    if not measures:
        return _MISSING
    values, digits = [measure.shown for measure in measures], measures[0].digits
    if len(values) > 1:
        return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"
    return write_measure(measures[0])


def write_measure(measure: Measure) -> str:
    """Return a measure as a cell of a table: with its interval where it has one, without its unit.

    Example:
        >>> from auxo.tasks import Measure
        >>> write_measure(Measure(0.978, 0.961, 0.988))
        '97.8 [96.1, 98.8]'
    """
    digits = measure.digits
    if measure.low is None or measure.high is None:
        return f"{measure.shown:.{digits}f}"
    low, high = (measure._replace(value=end).shown for end in (measure.low, measure.high))
    return f"{measure.shown:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def begin_sentence(text: str) -> str:
    """Return a text with a capital letter in front, unless its first word has one already, as mIoU has.

    Example:
        >>> begin_sentence("pixel accuracy is"), begin_sentence("mIoU is")
        ('Pixel accuracy is', 'mIoU is')
    """
    return text[:1].upper() + text[1:] if text.partition(" ")[0].islower() else text


def describe_primary(row: EvaluationRow) -> str:
    """Return the primary measure of a row with its unit and, where less is better, that it is: how a caption begins.

    Example:
        >>> from auxo.tasks import Measure
        >>> describe_primary(EvaluationRow("test", "x", "task", 9, "error", {"error": Measure(1, unit="m")}))
        'Error in m'
    """
    return begin_sentence(_list_measures([row], [row.primary]))


def _list_heads(rows: Sequence[EvaluationRow], kind: str) -> list[tuple[str, str]]:
    """Return kind and name of the heads of one kind, each once."""
    return [(kind, name) for name in dict.fromkeys(row.head for row in rows if row.kind == kind)]


def _write_caption(
    rows: Sequence[EvaluationRow],
    firsts: Sequence[EvaluationRow],
    selection: Selection | None,
    compute: Compute,
    *,
    num_seeds: int,
) -> str:
    """Return the sentences below the table."""
    sentences = []
    if rows:
        spread = f"mean ± sample standard deviation over {num_seeds} seeds"
        has_interval = any(row.main.low is not None for row in rows)
        interval = f"{'with its 95 % interval over the images; ' * has_interval}the spread over seeds is not known"
        title = describe_primary(rows[0])
        sentences.append(f"{title}, {interval if num_seeds == 1 else spread}")
    if num_seeds == 1 and any(row.kind == "pretext" and row.main.low is not None for row in rows):
        sentences.append("A pretext counts every variant of an image as one, so its interval is too narrow")
    chances = {(row.kind, row.head): row.guessing for row in rows}
    guessing = [f"{head} {chance.describe()}" for (_, head), chance in chances.items() if chance is not None]
    if guessing:
        sentences.append(f"Guessing would reach: {', '.join(guessing)}")
    if firsts:
        others = dict.fromkeys(name for row in firsts for name in row.measures if name != row.primary)
        if others:
            sentences.append(f"Of {firsts[0].head} also {_list_measures(firsts, list(others))}")
    else:
        sentences.append("No head predicts: the features can be judged with auxo evaluate --probe all")
    sentences += list(dict.fromkeys(f"On {row.split}: {note}" for row in firsts for note in row.notes))
    chosen = "last epoch; nothing was selected" if selection is None else selection.describe()
    flops = "operations not counted" if compute.flops is None else f"{compute.flops:.3g} floating-point operations"
    sentences += [
        f"Checkpoint: {chosen}",
        f"{num_seeds} seed{'s' if num_seeds > 1 else ''}",
        f"Training: {compute.train_seconds:.1f} s, {compute.images:,} training images seen, {flops}",
    ]
    return ". ".join(sentences) + "."


def _list_measures(rows: Sequence[EvaluationRow], names: Sequence[str]) -> str:
    """Return measures with their units and which way is better, in words."""
    words = []
    for name in names:
        measure = next(row.measures[name] for row in rows if name in row.measures)
        unit = {"%": " in percent", "": ""}.get(measure.unit, f" in {measure.unit}")
        words.append(f"{title_measure(name)}{unit}{'' if measure.higher_is_better else ' (lower is better)'}")
    return ", ".join(words)


def _markdown_line(cells: Sequence[str]) -> str:
    """Return one line of a Markdown table."""
    return "| " + " | ".join(escape_markup(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def escape_markup(text: str) -> str:
    """Return text that Markdown shows as it is, though it has tags of HTML or ends a span of code."""
    return html.escape(text, quote=False).replace("`", "'")
