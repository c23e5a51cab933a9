"""How measures of the test set move with the strength of a column of the data."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from auxo.evaluation import ShiftCurve, begin_sentence, build_shift_table, title_measure
from auxo.reporting.blocks import Block, Chart, Charts, Numbers, Section, SectionPart
from auxo.reporting.charts import Line, build_lines
from auxo.reporting.colours import Style
from auxo.reporting.judgement import Judgement, Omission
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import listed
from auxo.tasks import Measure

_POINT = 6  # pixels


class _NamedCurve(NamedTuple):
    """A curve and the run that it is of."""

    run: str
    curve: ShiftCurve


def shift_section(
    runs: Sequence[RunRecord], judgements: Sequence[Judgement], styles: Mapping[str, Style]
) -> Section | None:
    """Return measures against the strength of every column, or nothing where no set has columns.

    Args:
        runs: at least one.
        judgements: one per run.
        styles: of the runs, by name.
    """
    found: dict[str, list[_NamedCurve]] = {}
    omitted: dict[str, list[str]] = {}
    for run, judgement in zip(runs, judgements, strict=True):
        for name, curve in judgement.shifts.items():
            if isinstance(curve, Omission):
                omitted.setdefault(name, []).append(f"{name} of {run.name}: left out: {curve.reason}.")
            else:
                found.setdefault(name, []).append(_NamedCurve(run.name, curve))
    if not found and not omitted:
        return None
    parts = []
    for number, (name, named) in enumerate(found.items()):
        sentences = [describe_drop(each.curve, each.run if len(runs) > 1 else "") for each in named]
        blocks: list[Block] = [*legend_of([run for run in runs if run.name in {each.run for each in named}], styles)]
        blocks += draw_shift(named, styles, key=f"shift-{number}")
        parts.append(SectionPart(name, [] if len(runs) > 1 else sentences, blocks, sentences if len(runs) > 1 else ()))
    parts += [SectionPart(name, reasons) for name, reasons in omitted.items()]
    return Section("shift", "Under a shift of a column", parts)


def draw_shift(named: Sequence[tuple[str, ShiftCurve]], styles: Mapping[str, Style], *, key: str) -> list[Block]:
    """Return a chart of every measure against the strength, a line per run, and the numbers.

    Args:
        named: the curves of one column, with the run that each is of.
        styles: of the runs, by name.
        key: of the charts, unlike any other's on the page.
    """
    curves = [curve for _, curve in named]
    names = list(dict.fromkeys(name for curve in curves for point in curve.measured for name in point.measures))
    charts = []
    for place, name in enumerate(names):
        lines = [_draw_line(run, curve, name, styles[run]) for run, curve in named]
        first = next(each.measures[name] for curve in curves for each in curve.measured if name in each.measures)
        title = title_measure(name) + (f", {first.unit}" if first.unit else "")
        marks = {f"{curve.split} as it is": curve.observed for curve in curves} if len(curves) == 1 else None
        figure = build_lines(lines, x_title=f"strength of {curves[0].column}", y_title=title, marks=marks)
        ends = listed([_name_ends(*each, name) for each in named])
        label = f"{title} against the strength of {curves[0].column}: {ends}."
        charts.append(Chart(f"{key}-{place}", title, label, figure))
    tables = []
    for run, curve in named:
        table = build_shift_table([curve])
        caption = f"The points by the strength of {curve.column}" + (f" of {run}" if len(named) > 1 else "")
        tables.append(Numbers(caption, table.columns, table.lines, note=table.caption))
    return [Charts(charts), *tables]


def describe_drop(curve: ShiftCurve, run: str = "") -> str:
    """Return how the first measure moves from the strongest to the weakest measured strength.

    Args:
        curve: of the column.
        run: name of the run, where it has to be said.
    """
    weakest, strongest = (choose(curve.measured, key=lambda point: point.strength) for choose in (min, max))
    name = next(iter(strongest.measures))
    ends = [f"{point.measures[name].describe()} at {point.strength:g}" for point in (strongest, weakest)]
    text = f"{title_measure(name)} on {curve.split}: {ends[0]}, {ends[1]}; it has the strength {curve.observed:.2f}."
    return f"{run}: {text}" if run else begin_sentence(text)


def _draw_line(run: str, curve: ShiftCurve, name: str, style: Style) -> Line:
    """Return the line of a measure."""
    points = [point for point in curve.measured if name in point.measures]
    measures = [point.measures[name] for point in points]
    return Line(
        run,
        [point.strength for point in points],
        [measure.shown for measure in measures],
        style,
        [
            f"{run}: {point.measures[name].describe()} at {point.strength:g}, as of {point.effective_size:,.0f} images"
            for point in points
        ],
        [_POINT] * len(points),
        [_find_ends(measure) for measure in measures],
    )


def _find_ends(measure: Measure) -> tuple[float, float]:
    """Return the interval as an axis has it; without one both ends are the value."""
    low, high = (measure.value if end is None else end for end in (measure.low, measure.high))
    return measure._replace(value=low).shown, measure._replace(value=high).shown


def _name_ends(run: str, curve: ShiftCurve, name: str) -> str:
    """Return the values of a line at its ends, in words."""
    points = sorted((each for each in curve.measured if name in each.measures), key=lambda each: each.strength)
    ends = [f"{each.measures[name].describe()} at {each.strength:g}" for each in (points[0], points[-1])]
    return f"{run} from {ends[0]} to {ends[1]}"
