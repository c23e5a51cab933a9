"""What the runs achieved: the measures of every head on every set."""

from collections.abc import Mapping, Sequence
from itertools import count
from statistics import mean

from auxo.evaluation import begin_sentence, build_table, measure_cell, title_measure
from auxo.reporting.blocks import Block, Chart, Charts, Numbers, Section, SectionPart
from auxo.reporting.charts import build_intervals
from auxo.reporting.colours import Style
from auxo.reporting.run_record import RunRecord, group_name
from auxo.reporting.sections.heads import Head, describe_guessing, find_head
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, say_measure, titled, with_interval
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure, Part

_MOST_PARTS = 100


def results_section(groups: Sequence[Sequence[RunRecord]], styles: Mapping[str, Style]) -> Section:
    """Return measures with their intervals, what guessing would reach, selection and cost.

    Args:
        groups: runs that differ in their seed alone.
        styles: of the runs, by name.
    """
    runs = [run for members in groups for run in members]
    blocks: list[Block] = []
    if any(run.history.first_head() for run in runs):
        blocks += [*legend_of(runs, styles), Charts(_draw_charts(runs, styles))]
    if len(runs) > 1:
        blocks += [table for kind in ("task", "pretext") if (table := _side_by_side(groups, kind)).lines]
    for run in runs:
        found = build_table(run.history.rows, selection=run.history.selection, compute=run.history.compute)
        caption = "Measures by set and head" if len(runs) == 1 else f"All numbers of {run.name}"
        if found.lines:
            blocks.append(Numbers(caption, found.columns, found.lines, is_open=len(runs) == 1, note=found.caption))
    blocks += [table for run in runs for table in _list_groups(run, has_name=len(runs) > 1)]
    sentences = _write_sentences(groups)
    if len(runs) == 1:
        return Section("results", "Results", [SectionPart("", sentences, blocks)])
    note = (
        "Intervals are over images, ± is over runs; whether one method is better than another takes several seeds "
        "and pairs of runs on the same images."
    )
    return Section("results", "Results", [SectionPart("", [note], blocks, sentences)])


def _write_sentences(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """Return what the numbers say."""
    runs = [run for members in groups for run in members]
    sentences = []
    for members in groups:
        rows = [row for run in members for row in run.history.first_head()]
        if not rows:
            sentences.append(f"{group_name(members)} has no head that predicts, so there is nothing to measure.")
        elif len(members) == 1:
            sentences.append(_of_one(members[0], has_name=len(runs) > 1))
        else:
            sentences.append(f"{group_name(members)}, {_of_several(rows)}.")
    return sentences


def _of_one(run: RunRecord, *, has_name: bool) -> str:
    """Return the measure on the test set, or on validation where there is none, and the span elsewhere."""
    rows = {row.split: row for row in run.history.first_head()}
    main = rows.get("test", rows.get("val", next(iter(rows.values()))))
    what = f"{main.n:,} images of {main.split}"
    text = f"{title_measure(main.primary)} of the head {main.head} is {with_interval(main)} on {what}"
    text += describe_guessing([main])
    text = f"{run.name}: {text}" if has_name else begin_sentence(text)
    elsewhere = sorted((row for row in rows.values() if row.split.startswith("ood/")), key=lambda row: row.main.value)
    if len(elsewhere) == 1:
        text += f", and {with_interval(elsewhere[0])} on {elsewhere[0].split}"
    elif elsewhere:
        low, high = elsewhere[0], elsewhere[-1]
        text += f"; of sets from elsewhere between {low.main.describe()} ({low.split})"
        text += f" and {high.main.describe()} ({high.split})"
    return text + "."


def _of_several(rows: Sequence[EvaluationRow]) -> str:
    """Return the means of several runs by set."""
    names = dict.fromkeys(row.split for row in rows)
    told = listed([f"{name} {measure_cell([row for row in rows if row.split == name])}" for name in names])
    return f"{titled(rows[0])}: {told}{describe_guessing(rows)}"


def _side_by_side(groups: Sequence[Sequence[RunRecord]], kind: str) -> Numbers:
    """Return one line for each set and head of a kind, one column for each group."""
    rows = [[row for run in members for row in run.history.rows if row.kind == kind] for members in groups]
    keys = dict.fromkeys((row.split, find_head(row)) for members in rows for row in members)
    splits = list(dict.fromkeys(split for split, _ in keys))
    has_heads = len({head for _, head in keys}) > 1
    lines = []
    for split, head in sorted(keys, key=lambda key: splits.index(key[0])):
        own = [[row for row in members if (row.split, find_head(row)) == (split, head)] for members in rows]
        chance = next(row for members in own for row in members).guessing
        cells = [measure_cell(members) for members in own]
        lines.append((f"{split}, {head.name}" if has_heads else split, *cells, _cell_of(chance)))
    return Numbers(
        f"The primary measure of {'heads' if kind == 'task' else 'pretexts'}{_unit_of([head for _, head in keys])}",
        ["set, head" if has_heads else "set", *map(group_name, groups), "guessing"],
        lines,
        is_open=kind == "task",
        note="Of one run, with its 95 % interval over the images; of several, mean ± standard deviation.",
    )


def _draw_charts(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> list[Chart]:
    """Return the primary measure of the heads that predict with their intervals, a chart for each such measure."""
    numbers, rows = count(), [row for run in runs for row in run.history.first_head()]
    measures = dict.fromkeys((row.primary, row.main.unit) for row in rows)
    return [_draw_chart(runs, styles, *measure, number=next(numbers)) for measure in measures]


def _draw_chart(
    runs: Sequence[RunRecord], styles: Mapping[str, Style], primary: str, unit: str, *, number: int
) -> Chart:
    """Return a primary measure of the heads that predict, with its intervals."""
    rows = {}
    for run in runs:
        own = [row for row in run.history.first_head() if (row.primary, row.main.unit) == (primary, unit)]
        if own:
            rows[run.name] = own
    everything = [row for members in rows.values() for row in members]
    names = list(dict.fromkeys(row.split for row in everything))
    points = [
        (name, styles[name], [(names.index(row.split), *_find_ends(row.main)) for row in members])
        for name, members in rows.items()
    ]
    means = []
    for name in names:
        found = [row.main for row in everything if row.split == name]
        means.append(f"{name} {found[0]._replace(value=mean(each.value for each in found)).describe()}")
    on_average = f" on average over {counted(len(rows), 'run')}" if len(rows) > 1 else ""
    title, chance = titled(everything[0]), describe_guessing(everything)
    intervals = ", with 95 % intervals" if any(row.main.low is not None for row in everything) else ""
    return Chart(
        f"primary-{number}",
        f"{title}, of the head that predicts{intervals}{chance}",
        f"{title_measure(primary)}{on_average}{chance}: {listed(means)}.",
        build_intervals(points, names, x_title=title, digits=everything[0].main.digits),
        height=70 + len(names) * max(34, 15 * len(points) + 8),
    )


def _list_groups(run: RunRecord, *, has_name: bool) -> list[Numbers]:
    """Return the primary measure by each further column that the sets are grouped by, the worst group below.

    By class, too, where a class's measure has an interval: those of others stand with the confusions.
    """
    tables = []
    rows = run.history.first_head()
    suffix = f", {run.name}" if has_name else ""
    if any(_has_intervals(row.parts.get("class", {})) for row in rows):
        tables.append(_list_classes(rows, suffix=suffix))
    for cut in dict.fromkeys(cut for row in rows for cut in row.parts if cut != "class"):
        if any(len(row.parts.get(cut, {})) > _MOST_PARTS for row in rows):  # such as patients: a list says nothing
            continue
        lines = []
        for row in rows:
            parts = row.parts.get(cut, {})
            lines += [(row.split, name, f"{part.n:,}", _say_part(row, part)) for name, part in parts.items()]
            worst = row.measures.get(f"worst_group/{cut}")
            if worst is not None:
                lines.append((row.split, "worst with a class", "", worst.describe()))
        notes = dict.fromkeys(note for row in rows for note in row.notes if f"({cut})" in note)
        columns = ["set", cut, "images", title_measure(rows[0].primary)]
        tables.append(Numbers(f"By {cut}{suffix}", columns, lines, note=". ".join(notes)))
    return tables


def _list_classes(rows: Sequence[EvaluationRow], *, suffix: str) -> Numbers:
    """Return the primary measure by class, a column for each set."""
    names = dict.fromkeys(name for row in rows for name in row.parts.get("class", {}))
    lines = []
    for name in names:
        parts = [row.parts.get("class", {}).get(name, Part(0, None)) for row in rows]
        lines.append((name, *(_say_part(row, part) for row, part in zip(rows, parts, strict=True))))
    caption = f"{title_measure(rows[0].primary)} by class{suffix}"
    return Numbers(caption, ["class", *(row.split for row in rows)], lines, is_open=not suffix)


def _say_part(row: EvaluationRow, part: Part) -> str:
    """Return the measure of a part of a row's set with its interval, if it has one; - without a value."""
    if part.value is None:
        return "-"
    return say_measure(row.main._replace(value=part.value, low=part.low, high=part.high))


def _has_intervals(parts: Mapping[str, Part]) -> bool:
    """Return whether the measure of some part has an interval."""
    return any(part.low is not None for part in parts.values())


def _unit_of(heads: Sequence[Head]) -> str:
    """Return the unit that all of some heads are measured in, after a comma."""
    units = {head.unit for head in heads}
    return f", {units.pop()}" if len(units) == 1 and units != {""} else ""


def _cell_of(chance: Measure | None) -> str:
    """Return what guessing would reach, as a cell of a table; - where it is not known."""
    return "-" if chance is None else chance.describe()


def _find_ends(measure: Measure) -> tuple[float, float, float]:
    """Return a measure and its interval as an axis has them; without an interval its ends are the value."""
    low, high = (measure.value if end is None else end for end in (measure.low, measure.high))
    return measure.shown, measure._replace(value=low).shown, measure._replace(value=high).shown
