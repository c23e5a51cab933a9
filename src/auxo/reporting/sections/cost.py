"""What the runs cost."""

from collections.abc import Mapping, Sequence

from auxo.evaluation import begin_sentence
from auxo.reporting.blocks import Block, Chart, Charts, Numbers, Section, SectionPart
from auxo.reporting.charts import Line, build_lines
from auxo.reporting.colours import Style
from auxo.reporting.judgement import Judgement
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, titled
from auxo.runs.history import Evaluated


def cost_section(runs: Sequence[RunRecord], judgements: Sequence[Judgement], styles: Mapping[str, Style]) -> Section:
    """Return seconds, images, operations and parameters of each run, and what several achieve for their operations.

    Args:
        runs: at least one.
        judgements: one per run.
        styles: of the runs, by name.
    """
    lines = []
    for run, judgement in zip(runs, judgements, strict=True):
        spent = run.history.compute
        lines.append(
            (
                run.name,
                f"{spent.train_seconds:,.1f}",
                f"{spent.images:,}",
                f"{run.history.steps:,}",
                "not counted" if spent.flops is None else f"{spent.flops / 1e9:,.1f}",
                f"{judgement.num_parameters:,}",
                f"{spent.images / spent.train_seconds:,.0f}" if spent.train_seconds > 0 else "-",
            )
        )
    columns = ["run", "seconds", "images", "steps", "10⁹ operations", "parameters", "images a second"]
    note = (
        "Training of all stages together, without reading data and judging. Each training image counts as often as it "
        "was seen; what a pretext makes of one is not counted again. Operations are counted at the first step of each "
        "kind. Parameters are those of the last stage's network, with heads that only training needs."
    )
    table = Numbers("What training took", columns, lines, is_open=True, note=note)
    blocks: list[Block] = [*_draw_course(runs, styles), table]
    return Section("cost", "Cost", [SectionPart("", [_write_sentence(runs)], blocks)])


def _draw_course(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> list[Block]:
    """Return the primary measure on validation over the operations spent, where several runs of one measure have both.

    Operations are in proportion to steps only where a run has one stage, so that others are left out.
    """
    points = {run.name: _list_points(run) for run in runs}
    drawn = [run for run in runs if points[run.name]]
    rows = [each.row for run in drawn for _, each in points[run.name]]
    if len(drawn) < 2 or len({(row.primary, row.main.unit) for row in rows}) > 1:
        return []
    lines, words = [], []
    for run in drawn:
        flops, found = zip(*points[run.name], strict=True)
        values = [each.row.main for each in found]
        texts = [f"{run.name}, {x:.4g} operations: {value.describe()}" for x, value in zip(flops, values, strict=True)]
        lines.append(
            Line(run.name, flops, [value.shown for value in values], styles[run.name], texts, [6] * len(flops))
        )
        words.append(f"{run.name} {values[-1].describe()} for {flops[-1]:.3g}")
    title = f"{begin_sentence(titled(rows[0]))} on validation over floating-point operations of training"
    figure = build_lines(lines, x_title="operations", y_title="")
    return [
        *legend_of(drawn, styles),
        Charts([Chart("operations", title, f"{title}: {listed(words)}.", figure, height=240)]),
    ]


def _list_points(run: RunRecord) -> list[tuple[float, Evaluated]]:
    """Return what the head that predicts achieved on validation, with the operations until then."""
    flops, steps = run.history.compute.flops, run.history.steps
    if flops is None or not steps or len(run.config.stages) > 1:
        return []
    own = [each for each in run.evaluated if each.row.kind == "task"]
    return [(flops * each.step / steps, each) for each in own if each.row.head == own[0].row.head]


def _write_sentence(runs: Sequence[RunRecord]) -> str:
    """Return what all cost together, and the cheapest and the dearest."""
    seconds = [run.history.compute.train_seconds for run in runs]
    images = sum(run.history.compute.images for run in runs)
    if len(runs) == 1:
        return f"Training took {seconds[0]:,.1f} seconds and saw {counted(images, 'image')}."
    cheap, dear = (pick(runs, key=lambda run: run.history.compute.train_seconds) for pick in (min, max))
    return (
        f"Training took {sum(seconds):,.1f} seconds together, from {cheap.history.compute.train_seconds:,.1f} "
        f"({cheap.name}) to {dear.history.compute.train_seconds:,.1f} ({dear.name})."
    )
