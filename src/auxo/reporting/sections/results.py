"""What the runs achieved: accuracies of every head on every set."""

from collections.abc import Mapping, Sequence
from statistics import mean

from auxo.evaluation import build_table, measure_cell, title_measure
from auxo.reporting.blocks import Block, Chart, Charts, Numbers, Part, Section
from auxo.reporting.charts import build_intervals
from auxo.reporting.colours import Style
from auxo.reporting.run_record import RunRecord, group_name
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, plotted, titled, with_interval
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure

__all__ = ["results_section"]


def results_section(groups: Sequence[Sequence[RunRecord]], styles: Mapping[str, Style]) -> Section:
    """Return accuracies with their intervals, selection and calibration.

    Args:
        groups: runs that differ in their seed alone.
        styles: of the runs, by name.
    """
    runs = [run for members in groups for run in members]
    blocks: list[Block] = []
    if any(run.history.first_head() for run in runs):
        blocks += [*legend_of(runs, styles), Charts([_chart(runs, styles)])]
    if len(runs) > 1:
        blocks += [table for kind in ("task", "pretext") if (table := _side_by_side(groups, kind)).lines]
    for run in runs:
        found = build_table(run.history.rows, selection=run.history.selection, compute=run.history.compute)
        caption = "Measures by set and head" if len(runs) == 1 else f"All numbers of {run.name}"
        if found.lines:
            blocks.append(Numbers(caption, found.columns, found.lines, is_open=len(runs) == 1, note=found.caption))
    blocks += [table for run in runs for table in _groups(run, has_name=len(runs) > 1)]
    sentences = _sentences(groups)
    if len(runs) == 1:
        return Section("results", "Results", [Part("", sentences, blocks)])
    note = (
        "Intervals are over images, ± is over runs; whether one method is better than another takes several seeds "
        "and pairs of runs on the same images."
    )
    return Section("results", "Results", [Part("", [note], blocks, sentences)])


def _sentences(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
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
            sentences.append(f"{group_name(members)}: {_of_several(rows)}.")
    return sentences


def _of_one(run: RunRecord, *, has_name: bool) -> str:
    """Return the accuracy on the test set, or on validation where there is none, and the span elsewhere."""
    rows = {row.split: row for row in run.history.first_head()}
    main = rows.get("test", rows.get("val", next(iter(rows.values()))))
    what = f"{main.n:,} images of {main.split}"
    text = f"{title_measure(main.primary)} of the head {main.head} is {with_interval(main)} on {what}"
    if main.chance is not None:
        text += f" (guessing: {main.main._replace(value=main.chance).describe()})"
    text = f"{run.name}: {text}" if has_name else text[0].upper() + text[1:]
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
    return listed([f"{name} {measure_cell([row for row in rows if row.split == name])}" for name in names])


def _side_by_side(groups: Sequence[Sequence[RunRecord]], kind: str) -> Numbers:
    """Return one line for each set and head of a kind, one column for each group."""
    rows = [[row for run in members for row in run.history.rows if row.kind == kind] for members in groups]
    keys = dict.fromkeys((row.split, row.head) for members in rows for row in members)
    splits = list(dict.fromkeys(split for split, _ in keys))
    has_heads = len({head for _, head in keys}) > 1
    lines = []
    for split, head in sorted(keys, key=lambda key: splits.index(key[0])):
        cells = [measure_cell([row for row in members if (row.split, row.head) == (split, head)]) for members in rows]
        lines.append((f"{split}, {head}" if has_heads else split, *cells))
    return Numbers(
        f"{'The primary measure of heads' if kind == 'task' else 'Accuracy of pretexts'}{_with_unit(groups, kind)}",
        ["set, head" if has_heads else "set", *map(group_name, groups)],
        lines,
        is_open=kind == "task",
        note="Of one run, with its 95 % interval over the images; of several, mean ± standard deviation.",
    )


def _chart(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> Chart:
    """Return the accuracies of the heads that predict, with their intervals."""
    rows = {run.name: run.history.first_head() for run in runs if run.history.first_head()}
    names = list(dict.fromkeys(row.split for members in rows.values() for row in members))
    points = [
        (
            name,
            styles[name],
            [(names.index(row.split), *_ends(row.main)) for row in members],
        )
        for name, members in rows.items()
    ]
    means = []
    for name in names:
        found = [row.main for members in rows.values() for row in members if row.split == name]
        means.append(f"{name} {found[0]._replace(value=mean(each.value for each in found)).describe()}")
    on_average = f" on average over {counted(len(rows), 'run')}" if len(rows) > 1 else ""
    first = next(iter(rows.values()))[0]
    return Chart(
        "primary",
        f"{titled(first)}, of the head that predicts, with 95 % intervals",
        f"{title_measure(first.primary)}{on_average}: {listed(means)}.",
        build_intervals(points, names, x_title=titled(first)),
        height=70 + len(names) * max(34, 15 * len(points) + 8),
    )


def _groups(run: RunRecord, *, has_name: bool) -> list[Numbers]:
    """Return the primary measure by each further column that the sets are grouped by, the worst group below."""
    tables = []
    rows = run.history.first_head()
    for cut in dict.fromkeys(cut for row in rows for cut in row.parts if cut != "class"):
        lines = []
        for row in rows:
            for name, part in row.parts.get(cut, {}).items():
                value = "-" if part.value is None else row.main._replace(value=part.value).describe()
                lines.append((row.split, name, f"{part.n:,}", value))
            worst = row.measures.get(f"worst_group/{cut}")
            if worst is not None:
                lines.append((row.split, "worst with a class", "", worst.describe()))
        notes = dict.fromkeys(note for row in rows for note in row.notes if f"({cut})" in note)
        caption = f"By {cut}" + (f", {run.name}" if has_name else "")
        columns = ["set", cut, "images", title_measure(rows[0].primary)]
        tables.append(Numbers(caption, columns, lines, note=". ".join(notes)))
    return tables


def _with_unit(groups: Sequence[Sequence[RunRecord]], kind: str) -> str:
    """Return the unit that the heads of a kind are measured in, after a comma."""
    units = {row.main.unit for members in groups for run in members for row in run.history.rows if row.kind == kind}
    return f", {units.pop()}" if len(units) == 1 and units != {""} else ""


def _ends(measure: Measure) -> tuple[float, float, float]:
    """Return a measure and its interval as an axis has them; without an interval its ends are the value."""
    low, high = (measure.value if end is None else end for end in (measure.low, measure.high))
    return plotted(measure), plotted(measure._replace(value=low)), plotted(measure._replace(value=high))
