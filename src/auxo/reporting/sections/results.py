"""What the runs achieved: accuracies of every head on every set."""

from collections.abc import Mapping, Sequence
from statistics import mean

from auxo.evaluation import EvaluationRow, accuracy_cell, build_table
from auxo.reporting.blocks import Block, Chart, Charts, Numbers, Part, Section
from auxo.reporting.charts import build_intervals
from auxo.reporting.colours import Style
from auxo.reporting.run_record import RunRecord, group_name
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, percent, with_interval

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
        blocks += [table for kind in ("class", "pretext") if (table := _side_by_side(groups, kind)).lines]
    for run in runs:
        found = build_table(run.history.rows, selection=run.history.selection, compute=run.history.compute)
        caption = "Accuracy, %, by set and head" if len(runs) == 1 else f"All numbers of {run.name}"
        if found.lines:
            blocks.append(Numbers(caption, found.columns, found.lines, is_open=len(runs) == 1, note=found.caption))
    sentences = _sentences(groups)
    if len(runs) == 1:
        return Section("results", "Results", [Part("", sentences, blocks)])
    note = (
        "Intervals are over pictures, ± is over runs; whether one method is better than another takes several seeds "
        "and pairs of runs on the same pictures."
    )
    return Section("results", "Results", [Part("", [note], blocks, sentences)])


def _sentences(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """Return what the numbers say."""
    runs = [run for members in groups for run in members]
    sentences = []
    for members in groups:
        rows = [row for run in members for row in run.history.first_head()]
        if not rows:
            sentences.append(f"{group_name(members)} has no class head, so there is no accuracy of classes.")
        elif len(members) == 1:
            sentences.append(_of_one(members[0], has_name=len(runs) > 1))
        else:
            sentences.append(f"{group_name(members)}: {_of_several(rows)}.")
    return sentences


def _of_one(run: RunRecord, *, has_name: bool) -> str:
    """Return the accuracy on the test set, or on validation where there is none, and the span elsewhere."""
    rows = {row.split: row for row in run.history.first_head()}
    main = rows.get("test", rows.get("val", next(iter(rows.values()))))
    what = f"{main.n:,} pictures of {main.split}"
    text = f"the class head {main.head} classifies {with_interval(main)} of {what} correctly"
    text = f"{run.name}: {text}" if has_name else text[0].upper() + text[1:]
    elsewhere = sorted((row for row in rows.values() if row.split.startswith("ood/")), key=lambda row: row.accuracy)
    if len(elsewhere) == 1:
        text += f", and {with_interval(elsewhere[0])} of {elsewhere[0].split}"
    elif elsewhere:
        low, high = elsewhere[0], elsewhere[-1]
        text += f"; of sets from elsewhere between {percent(low.accuracy)} ({low.split})"
        text += f" and {percent(high.accuracy)} ({high.split})"
    return text + "."


def _of_several(rows: Sequence[EvaluationRow]) -> str:
    """Return the means of several runs by set."""
    names = dict.fromkeys(row.split for row in rows)
    return listed([f"{name} {accuracy_cell([row for row in rows if row.split == name])} %" for name in names])


def _side_by_side(groups: Sequence[Sequence[RunRecord]], kind: str) -> Numbers:
    """Return one line for each set and head of a kind, one column for each group."""
    rows = [[row for run in members for row in run.history.rows if row.kind == kind] for members in groups]
    keys = dict.fromkeys((row.split, row.head) for members in rows for row in members)
    splits = list(dict.fromkeys(split for split, _ in keys))
    has_heads = len({head for _, head in keys}) > 1
    lines = []
    for split, head in sorted(keys, key=lambda key: splits.index(key[0])):
        cells = [accuracy_cell([row for row in members if (row.split, row.head) == (split, head)]) for members in rows]
        lines.append((f"{split}, {head}" if has_heads else split, *cells))
    return Numbers(
        f"Accuracy of {'class heads' if kind == 'class' else 'pretexts'}, %",
        ["set, head" if has_heads else "set", *map(group_name, groups)],
        lines,
        is_open=kind == "class",
        note="Of one run, with its 95 % Wilson interval over the pictures; of several, mean ± standard deviation.",
    )


def _chart(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> Chart:
    """Return the accuracies of the heads that predict, with their intervals."""
    rows = {run.name: run.history.first_head() for run in runs if run.history.first_head()}
    names = list(dict.fromkeys(row.split for members in rows.values() for row in members))
    points = [
        (
            name,
            styles[name],
            [(names.index(row.split), 100 * row.accuracy, 100 * row.low, 100 * row.high) for row in members],
        )
        for name, members in rows.items()
    ]
    means = []
    for name in names:
        found = [row.accuracy for members in rows.values() for row in members if row.split == name]
        means.append(f"{name} {percent(mean(found))}")
    on_average = f" on average over {counted(len(rows), 'run')}" if len(rows) > 1 else ""
    return Chart(
        "accuracy",
        "Accuracy of the class head that predicts, %, with 95 % Wilson intervals",
        f"Accuracy{on_average}: {listed(means)}.",
        build_intervals(points, names, x_title="accuracy, %"),
        height=70 + len(names) * max(34, 15 * len(points) + 8),
    )
