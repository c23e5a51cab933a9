"""What pretexts achieve against what the task does, over sets."""

from collections.abc import Mapping, Sequence

import numpy as np

from auxo.evaluation import begin_sentence, title_measure
from auxo.reporting.blocks import Chart, Charts, Numbers, Section, SectionPart
from auxo.reporting.charts import Scatter, build_scatter
from auxo.reporting.colours import Style
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.heads import Head, describe_guessing, find_head
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, titled
from auxo.runs.results import EvaluationRow

_FEW = 3  # sets that a correlation needs at least
_NARROW = 5  # span in percent below which a correlation says nothing


def pretext_section(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> Section | None:
    """Return the primary measure of the task against that of each pretext, a point a set.

    Nothing without pretexts. Every pretext has a chart of its own, with what guessing reaches: one with sixteen answers
    is not read as one with four, also where two runs call them the same.
    """
    keys = dict.fromkeys(_make_key(*pair) for run in runs for pair in _pair_rows(run))
    parts = [_compare_pretext(key, runs, styles, number) for number, key in enumerate(keys)]
    return Section("pretexts", "Pretexts and the task", parts) if parts else None


def _compare_pretext(
    key: tuple[Head, str], runs: Sequence[RunRecord], styles: Mapping[str, Style], number: int
) -> SectionPart:
    """Return the chart of one pretext against one measure of the task."""
    head, _ = key
    pairs = {run.name: [pair for pair in _pair_rows(run) if _make_key(*pair) == key] for run in runs}
    shown = [run for run in runs if pairs[run.name]]
    pretext, own = pairs[shown[0].name][0]
    chance = describe_guessing([pretext])
    groups = [
        Scatter(
            run.name,
            [row.main.shown for row, _ in pairs[run.name]],
            [row.main.shown for _, row in pairs[run.name]],
            styles[run.name],
            [
                f"{run.name}, {row.split}: {head.name} {other.main.describe()}, {row.head} {row.main.describe()}"
                for other, row in pairs[run.name]
            ],
            names=[row.split for _, row in pairs[run.name]] if len(shown) == 1 else (),
        )
        for run in shown
    ]
    sentences = [_describe_pairs(run, pairs[run.name], has_name=len(runs) > 1) for run in shown]
    if len(runs) == 1:
        sentences = [begin_sentence(text) for text in sentences]
    others = describe_guessing([row for run in shown for _, row in pairs[run.name]])
    against = f"{title_measure(head.primary)} of {head.name}{chance}"
    title = f"{title_measure(own.primary)} of {own.head}{others} against {against}"
    figure = build_scatter(groups, x_title=f"{head.name} {titled(pretext)}", y_title=titled(own))
    label = f"{title}. " + " ".join(sentences)
    chart = Chart(f"pretext-{number}", f"{title}, a point a set", label, figure, height=380)
    lines = [
        (row.split, run.name, other.main.describe(), row.main.describe())
        for run in shown
        for other, row in pairs[run.name]
    ]
    caption = f"The points of the chart of {head.name}{chance}"
    table = Numbers(caption, ["set", "run", head.name, title_measure(own.primary)], lines)
    return SectionPart(f"{head.name}{chance}", sentences, [*legend_of(shown, styles), Charts([chart]), table])


def _pair_rows(run: RunRecord) -> list[tuple[EvaluationRow, EvaluationRow]]:
    """Return the rows of every pretext, each with that of the head that predicts on the same set."""
    own = {row.split: row for row in run.history.first_head()}
    return [(row, own[row.split]) for row in run.history.rows if row.kind == "pretext" and row.split in own]


def _make_key(pretext: EvaluationRow, row: EvaluationRow) -> tuple[Head, str]:
    """Return what pairs of one chart have in common."""
    return find_head(pretext), row.primary


def _describe_pairs(run: RunRecord, pairs: Sequence[tuple[EvaluationRow, EvaluationRow]], *, has_name: bool) -> str:
    """Return how the two go together."""
    pretext, first = pairs[0]
    head = pretext.head
    who = f"{run.name}: " if has_name else ""
    own = np.array([other.main.shown for other, _ in pairs])
    task = np.array([row.main.shown for _, row in pairs])
    if len(pairs) < _FEW or np.ptp(own) == 0 or np.ptp(task) == 0:
        words = [
            f"{row.split} {head} {other.main.describe()}, {row.head} {row.main.describe()}" for other, row in pairs
        ]
        return f"{who}{listed(words)}."
    what = f"{head} {title_measure(pretext.primary)}"
    if pretext.main.unit == "%" and np.ptp(own) < _NARROW:
        between = f"between {own.min():.1f} % and {own.max():.1f} %"
        return f"{who}{what} is {between} on all {len(pairs)} sets, too narrow a range to say more."
    correlation = float(np.corrcoef(own, task)[0, 1])
    measure = title_measure(first.primary)
    if correlation > 0.5:
        meaning = f"sets of higher {what} have higher {measure}"
    elif correlation < -0.5:
        meaning = f"sets of higher {what} have lower {measure}"
    else:
        meaning = f"{what} says little of {measure}"
    return f"{who}over {counted(len(pairs), 'set')}, {meaning} (correlation {correlation:.2f})."
