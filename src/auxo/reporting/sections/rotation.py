"""Rotation accuracy against class accuracy, over sets."""

from collections.abc import Mapping, Sequence

import numpy as np

from auxo.evaluation import EvaluationRow
from auxo.reporting.blocks import Chart, Charts, Numbers, Part, Section
from auxo.reporting.charts import Scatter, build_scatter
from auxo.reporting.colours import Style
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, percent

__all__ = ["rotation_section"]

_ROTATION = "rotation"
_FEW = 3  # sets that a correlation needs at least
_NARROW = 0.05  # span of accuracies below which a correlation says nothing


def rotation_section(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> Section | None:
    """Return the accuracy of classes against that of rotations, a point a set; nothing without rotation heads."""
    pairs = {run.name: _pairs(run) for run in runs}
    shown = [run for run in runs if pairs[run.name]]
    if not shown:
        return None
    groups = [
        Scatter(
            run.name,
            [100 * rotation.accuracy for rotation, _ in pairs[run.name]],
            [100 * row.accuracy for _, row in pairs[run.name]],
            styles[run.name],
            [
                f"{run.name}, {row.split}: rotation {percent(rotation.accuracy)}, class {percent(row.accuracy)}"
                for rotation, row in pairs[run.name]
            ],
            names=[row.split for _, row in pairs[run.name]] if len(shown) == 1 else (),
        )
        for run in shown
    ]
    sentences = [_sentence(run, pairs[run.name], has_name=len(runs) > 1) for run in shown]
    if len(runs) == 1:
        sentences = [text[0].upper() + text[1:] for text in sentences]
    chart = Chart(
        "rotation-chart",
        "Accuracy of classes against accuracy of rotation, a point a set",
        "Accuracy of classes against accuracy of rotation. " + " ".join(sentences),
        build_scatter(groups, x_title="rotation accuracy, %", y_title="class accuracy, %"),
        height=380,
    )
    lines = [
        (row.split, run.name, f"{100 * rotation.accuracy:.1f}", f"{100 * row.accuracy:.1f}")
        for run in shown
        for rotation, row in pairs[run.name]
    ]
    table = Numbers("The points of the chart", ["set", "run", "rotation, %", "class, %"], lines)
    return Section(
        "rotation", "Rotation and class", [Part("", sentences, [*legend_of(shown, styles), Charts([chart]), table])]
    )


def _pairs(run: RunRecord) -> list[tuple[EvaluationRow, EvaluationRow]]:
    """Return the rows of rotation and of the class head that predicts, for every set that has both."""
    rotations = {row.split: row for row in run.history.rows if (row.kind, row.head) == ("pretext", _ROTATION)}
    return [(rotations[row.split], row) for row in run.history.first_head() if row.split in rotations]


def _sentence(run: RunRecord, pairs: Sequence[tuple[EvaluationRow, EvaluationRow]], *, has_name: bool) -> str:
    """Return how the two go together."""
    who = f"{run.name}: " if has_name else ""
    rotations = np.array([rotation.accuracy for rotation, _ in pairs])
    classes = np.array([row.accuracy for _, row in pairs])
    if len(pairs) < _FEW or np.ptp(rotations) == 0 or np.ptp(classes) == 0:
        words = [f"{row.split} rotation {percent(r.accuracy)}, class {percent(row.accuracy)}" for r, row in pairs]
        return f"{who}{listed(words)}."
    if np.ptp(rotations) < _NARROW:
        between = f"between {percent(float(rotations.min()))} and {percent(float(rotations.max()))}"
        return f"{who}rotation accuracy is {between} on all {len(pairs)} sets, too narrow a range to say more."
    correlation = float(np.corrcoef(rotations, classes)[0, 1])
    if correlation > 0.5:
        meaning = "sets of higher rotation accuracy have higher class accuracy"
    elif correlation < -0.5:
        meaning = "sets of higher rotation accuracy have lower class accuracy"
    else:
        meaning = "rotation accuracy says little of class accuracy"
    return f"{who}over {counted(len(pairs), 'set')}, {meaning} (correlation {correlation:.2f})."
