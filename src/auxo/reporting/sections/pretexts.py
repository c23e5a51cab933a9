"""What pretexts achieve against what the task does, over sets."""

from collections.abc import Mapping, Sequence

import numpy as np

from auxo.evaluation import title_measure
from auxo.reporting.blocks import Chart, Charts, Numbers, Part, Section
from auxo.reporting.charts import Scatter, build_scatter
from auxo.reporting.colours import Style
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, percent, plotted, titled
from auxo.runs.results import EvaluationRow

__all__ = ["pretext_section"]

_FEW = 3  # sets that a correlation needs at least
_NARROW = 0.05  # span of accuracies below which a correlation says nothing


def pretext_section(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> Section | None:
    """Return the primary measure of the task against the accuracy of each pretext, a point a set.

    Nothing without pretexts. Every pretext has a chart of its own, with what guessing reaches: one with sixteen answers
    is not read as one with four.
    """
    heads = dict.fromkeys(row.head for run in runs for row in run.history.rows if row.kind == "pretext")
    parts = [part for number, head in enumerate(heads) if (part := _part(head, runs, styles, number)) is not None]
    return Section("pretexts", "Pretexts and the task", parts) if parts else None


def _part(head: str, runs: Sequence[RunRecord], styles: Mapping[str, Style], number: int) -> Part | None:
    """Return the chart of one pretext; nothing where no set has both."""
    pairs = {run.name: _pairs(run, head) for run in runs}
    shown = [run for run in runs if pairs[run.name]]
    if not shown:
        return None
    pretext, own = pairs[shown[0].name][0]
    chance = "" if pretext.chance is None else f" (guessing: {percent(pretext.chance)})"
    groups = [
        Scatter(
            run.name,
            [plotted(row.main) for row, _ in pairs[run.name]],
            [plotted(row.main) for _, row in pairs[run.name]],
            styles[run.name],
            [
                f"{run.name}, {row.split}: {head} {other.main.describe()}, {row.head} {row.main.describe()}"
                for other, row in pairs[run.name]
            ],
            names=[row.split for _, row in pairs[run.name]] if len(shown) == 1 else (),
        )
        for run in shown
    ]
    sentences = [_sentence(run, head, pairs[run.name], has_name=len(runs) > 1) for run in shown]
    if len(runs) == 1:
        sentences = [text[0].upper() + text[1:] for text in sentences]
    title = f"{titled(own)} of {own.head} against accuracy of {head}{chance}, a point a set"
    figure = build_scatter(groups, x_title=f"{head} accuracy, %", y_title=titled(own))
    chart = Chart(f"pretext-{number}", title, f"{title}. " + " ".join(sentences), figure, height=380)
    lines = [
        (row.split, run.name, other.main.describe(), row.main.describe())
        for run in shown
        for other, row in pairs[run.name]
    ]
    table = Numbers(f"The points of the chart of {head}", ["set", "run", head, titled(own)], lines)
    return Part(f"{head}{chance}", sentences, [*legend_of(shown, styles), Charts([chart]), table])


def _pairs(run: RunRecord, head: str) -> list[tuple[EvaluationRow, EvaluationRow]]:
    """Return the rows of a pretext and of the head that predicts, for every set that has both."""
    found = {row.split: row for row in run.history.rows if (row.kind, row.head) == ("pretext", head)}
    return [(found[row.split], row) for row in run.history.first_head() if row.split in found]


def _sentence(
    run: RunRecord, head: str, pairs: Sequence[tuple[EvaluationRow, EvaluationRow]], *, has_name: bool
) -> str:
    """Return how the two go together."""
    who = f"{run.name}: " if has_name else ""
    own = np.array([plotted(other.main) for other, _ in pairs])
    task = np.array([plotted(row.main) for _, row in pairs])
    if len(pairs) < _FEW or np.ptp(own) == 0 or np.ptp(task) == 0:
        words = [
            f"{row.split} {head} {other.main.describe()}, {row.head} {row.main.describe()}" for other, row in pairs
        ]
        return f"{who}{listed(words)}."
    if np.ptp(own) < 100 * _NARROW:
        between = f"between {own.min():.1f} % and {own.max():.1f} %"
        return f"{who}{head} accuracy is {between} on all {len(pairs)} sets, too narrow a range to say more."
    correlation = float(np.corrcoef(own, task)[0, 1])
    measure = title_measure(pairs[0][1].primary)
    if correlation > 0.5:
        meaning = f"sets of higher {head} accuracy have higher {measure}"
    elif correlation < -0.5:
        meaning = f"sets of higher {head} accuracy have lower {measure}"
    else:
        meaning = f"{head} accuracy says little of {measure}"
    return f"{who}over {counted(len(pairs), 'set')}, {meaning} (correlation {correlation:.2f})."
