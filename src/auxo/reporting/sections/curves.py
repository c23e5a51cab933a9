"""How the runs went: losses, measures on validation, weights of gates and other metrics over their steps."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from math import nan

from auxo.evaluation import begin_sentence
from auxo.reporting.blocks import Block, Chart, Charts, Numbers, Section, SectionPart
from auxo.reporting.charts import Line, build_lines
from auxo.reporting.colours import Style, style_of
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.heads import Head, describe_guessing, find_head
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, said, titled
from auxo.runs.history import Evaluated, LoggedMetrics

_GATE = "gate_"
_COSINE = "_cosine"
_LOSS = "_loss"


def curves_section(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> Section:
    """Return losses in training and primary measures on validation over the steps of the runs."""
    numbers = count()
    heads = [head for head in _list_heads(runs) if any(len(_list_measurements(run, head)) > 1 for run in runs)]
    panels = [_validation_panel(runs, styles, head, number=next(numbers)) for head in heads]
    names = _list_names(runs, _is_loss)
    panels += [_make_panel(runs, styles, name, key=f"loss-{next(numbers)}") for name in names]
    sentences = [_describe_course(run, has_name=len(runs) > 1) for run in runs]
    blocks: list[Block] = [*legend_of(runs, styles), *([Charts(panels)] if panels else [])]
    for run in runs:
        blocks += [
            table
            for table in (_make_validation_table(run, runs), _metrics_table(run, runs, _is_loss, "Losses"))
            if table.lines
        ]
    part = SectionPart("", [], blocks, sentences) if len(runs) > 1 else SectionPart("", sentences, blocks)
    return Section("curves", "Learning curves", [part])


def gates_section(runs: Sequence[RunRecord]) -> Section | None:
    """Return the weights that gates gave to pretexts; nothing where no run has a gate."""
    parts = []
    for number, run in enumerate(runs):
        names = _list_names([run], _is_gate)
        if names:
            parts.append(_make_gate_panel(run, names, key=f"gates-{number}", title=run.name if len(runs) > 1 else ""))
    return Section("gates", "Gates", parts) if parts else None


def metrics_section(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> Section | None:
    """Return every other metric of the records and the learning rates; nothing where there are none."""
    names = _list_names(runs, _is_other)
    rates = list(dict.fromkeys(name for run in runs for row in run.measured for name in row.rates))
    panels = [_make_panel(runs, styles, name, key=f"metric-{number}") for number, name in enumerate(names)]
    for number, name in enumerate(rates):
        panels.append(_make_panel(runs, styles, name, key=f"rate-{number}", of_rate=True))
    if not panels:
        return None
    sentences = [
        f"{counted(len(rates), 'learning rate')}"
        + (f", and {listed(names)} as the methods report them." if names else ".")
    ]
    signs = [sign for run in runs for sign in _describe_collapse(run, has_name=len(runs) > 1)]
    blocks: list[Block] = [*legend_of(runs, styles), Charts(panels)]
    blocks += [table for run in runs if (table := _metrics_table(run, runs, _is_other, "Other metrics")).lines]
    part = SectionPart("", sentences, blocks, signs) if len(runs) > 1 else SectionPart("", [*sentences, *signs], blocks)
    return Section("metrics", "Other metrics", [part])


def _is_loss(name: str) -> bool:
    """Whether a metric is a loss."""
    return name.endswith(_LOSS)


def _is_gate(name: str) -> bool:
    """Whether a metric is the weight of a gate."""
    return name.startswith(_GATE) and not _is_loss(name)


def _is_other(name: str) -> bool:
    """Whether a metric is neither."""
    return not _is_loss(name) and not _is_gate(name)


def _list_names(runs: Sequence[RunRecord], is_wanted: Callable[[str], bool]) -> list[str]:
    """Return the metrics of some kind, in the order of the records."""
    names = dict.fromkeys(name for run in runs for row in run.measured for name in row.values)
    return [name for name in names if is_wanted(name)]


def _list_heads(runs: Sequence[RunRecord]) -> list[Head]:
    """Return the heads that were measured on validation, those of the task first."""
    heads = dict.fromkeys(find_head(each.row) for run in runs for each in run.evaluated)
    return sorted(heads, key=lambda head: head.kind != "task")


def _list_measurements(run: RunRecord, head: Head) -> list[Evaluated]:
    """Return what a head achieved on validation, in the order of the steps."""
    return [each for each in run.evaluated if find_head(each.row) == head]


def _mark_stages(runs: Sequence[RunRecord]) -> dict[str, int]:
    """Return where stages begin, if the runs agree and there are several."""
    starts = [run.stage_starts for run in runs]
    return dict(starts[0]) if len(starts[0]) > 1 and all(each == starts[0] for each in starts) else {}


def _make_panel(
    runs: Sequence[RunRecord], styles: Mapping[str, Style], name: str, *, key: str, of_rate: bool = False
) -> Chart:
    """Return one metric, or one learning rate, over the steps of all runs that have it."""
    lines, words = [], []
    for run in runs:
        rows = [row for row in run.measured if name in (row.rates if of_rate else row.values)]
        points = [(row.stage, row.epoch, row.step, (row.rates if of_rate else row.values)[name]) for row in rows]
        if points:
            lines.append(_make_line(run.name, points, styles[run.name]))
            words.append(f"{run.name} from {said(points[0][-1])} to {said(points[-1][-1])}")
    title = f"learning rate, {name}" if of_rate else name.replace("_", " ")
    return Chart(
        key,
        title,
        f"{title} over the steps: {listed(words)}.",
        build_lines(lines, x_title="step", y_title="", marks=_mark_stages(runs)),
        height=240,
    )


def _validation_panel(runs: Sequence[RunRecord], styles: Mapping[str, Style], head: Head, *, number: int) -> Chart:
    """Return the primary measure of a head on the validation set over the steps of all runs that have it."""
    lines, words = [], []
    rows = [each.row for run in runs for each in _list_measurements(run, head)]
    for run in runs:
        own = _list_measurements(run, head)
        points = [(each.stage, each.epoch, each.step, each.row.main.shown) for each in own]
        if points:
            lines.append(_make_line(run.name, points, styles[run.name], size=6))
            words.append(f"{run.name} from {own[0].row.main.describe()} to {own[-1].row.main.describe()}")
    measure, chance = titled(rows[0]), describe_guessing(rows)
    return Chart(
        f"validation-{number}",
        f"{head.title} on validation, {measure}{chance}",
        f"{measure} of {head.title} on the validation set over the steps{chance}: {listed(words)}.",
        build_lines(lines, x_title="step", y_title="", marks=_mark_stages(runs)),
        height=240,
    )


def _make_line(name: str, points: Sequence[tuple[str, float, int, float]], style: Style, *, size: int = 0) -> Line:
    """Return a line with a gap between stages.

    Args:
        name: of the line.
        points: stage, epoch in it, step of the run and value of each.
        style: how it is drawn.
        size: of the points in pixels; 0 draws none.
    """
    x: list[float] = []
    y: list[float] = []
    texts: list[str] = []
    for place, (stage, epoch, step, value) in enumerate(points):
        if place and stage != points[place - 1][0]:
            x.append(step)
            y.append(nan)
            texts.append("")
        x.append(step)
        y.append(value)
        texts.append(f"{name}, {stage}, epoch {epoch:.4g}, step {step:,}: {said(value)}")
    return Line(name, x, y, style, texts, [size] * len(x) if size else ())


def _describe_course(run: RunRecord, *, has_name: bool) -> str:
    """Return how the first loss of the last stage and the primary measure went."""
    parts = []
    last = [row for row in run.measured if row.stage == run.config.stages[-1].name]
    name = next((name for row in last for name in row.values if _is_loss(name)), None)
    values = [row.values[name] for row in last if name in row.values] if name is not None else []
    if values and name is not None:
        parts.append(
            f"{name.replace('_', ' ')} "
            + (f"went from {said(values[0])} to" if len(values) > 1 else "was")
            + f" {said(values[-1])}, {counted(last[-1].step, 'step')} after the start"
        )
    first = next((each.row.head for each in run.evaluated if each.row.kind == "task"), None)
    points = [each for each in run.evaluated if each.row.kind == "task" and each.row.head == first]
    if len(points) > 1:
        pick = max if points[0].row.main.higher_is_better else min
        best = pick(points, key=lambda each: each.row.main.value)
        parts.append(
            f"{first} on validation from {points[0].row.main.describe()} to {points[-1].row.main.describe()}, "
            f"the best {best.row.main.describe()} at epoch {best.epoch:.4g}"
        )
    elif points:
        parts.append(f"{first} was measured on validation once: {points[0].row.main.describe()}")
    thinned = f" Each point is the mean of {run.records_per_point} records." if run.records_per_point > 1 else ""
    text = listed(parts) or "no losses were recorded"
    return (f"{run.name}: {text}." if has_name else f"{begin_sentence(text)}.") + thinned


def _make_gate_panel(run: RunRecord, names: Sequence[str], *, key: str, title: str) -> SectionPart:
    """Return the weights of one run's gate."""
    lines, ends = _gather_lines(run, {name.removeprefix(_GATE): name for name in names})
    final = listed([f"{name} {end:.2f}" for name, (_, end) in sorted(ends.items(), key=lambda item: -item[1][1])])
    name, (start, end) = max(ends.items(), key=lambda item: abs(item[1][1] - item[1][0]))
    sentence = (
        f"At the end the weights are {final}. The largest change is that of {name}, from {start:.2f} to {end:.2f}."
    )
    figure = build_lines(lines, x_title="step", y_title="weight", marks=_mark_stages([run]), has_legend=True)
    chart = Chart(key, "Weights of the gate over the steps", f"Weights of the gate over the steps. {sentence}", figure)
    charts, sentences = [chart], [sentence]
    tasks = [name.removeprefix(_GATE) for name in names]
    cosines, last = _gather_lines(run, {task: f"{task}{_COSINE}" for task in tasks})
    if cosines:
        told = listed([f"{task} {end:.2f}" for task, (_, end) in last.items()])
        sentences.append(f"The last cosines with the primary gradient are {told}; below 0 is a conflict.")
        figure = build_lines(cosines, x_title="step", y_title="cosine", marks=_mark_stages([run]), has_legend=True)
        words = "Cosines of the tasks' gradients with the primary one over the steps"
        charts.append(Chart(f"{key}-cosines", words, f"{words}. {sentences[-1]}", figure))
    table = _metrics_table(run, [run], _is_gate, "Weights of the gate")
    return SectionPart(title, sentences, [Charts(charts), table])


def _gather_lines(run: RunRecord, names: Mapping[str, str]) -> tuple[list[Line], dict[str, tuple[float, float]]]:
    """Return lines of metrics over the steps, and their first and last values, by what they are to be called."""
    lines, ends = [], {}
    for number, (short, name) in enumerate(names.items()):
        own = [row for row in run.measured if name in row.values]
        if own:
            points = [(row.stage, row.epoch, row.step, row.values[name]) for row in own]
            lines.append(_make_line(short, points, style_of(number)))
            ends[short] = (points[0][-1], points[-1][-1])
    return lines, ends


def _describe_collapse(run: RunRecord, *, has_name: bool) -> list[str]:
    """Return what the signs of collapse say, where they were recorded."""
    rows = [row for row in run.measured if {"embedding_std", "effective_rank"} <= row.values.keys()]
    if not rows:
        return []
    spread, rank = rows[-1].values["embedding_std"], rows[-1].values["effective_rank"]
    text = (
        f"the last embeddings had a spread of {said(spread)} (0 would be collapse, 1 is even) and an effective rank of "
        f"{rank:.1f}"
    )
    return [f"{run.name}: {text}." if has_name else f"{begin_sentence(text)}."]


def _make_validation_table(run: RunRecord, runs: Sequence[RunRecord]) -> Numbers:
    """Return the primary measures on validation as a table."""
    heads = _list_heads([run])
    found = {(each.stage, each.step, each.epoch) for each in run.evaluated}
    lines = []
    for stage, step, epoch in sorted(found, key=lambda place: place[1]):
        rows = {find_head(each.row): each.row for each in run.evaluated if each.step == step}
        cells = [rows[head].main.describe() if head in rows else "-" for head in heads]
        lines.append((f"{step:,}", stage, f"{epoch:.4g}", *cells))
    names = [head.title + describe_guessing([each.row for each in _list_measurements(run, head)]) for head in heads]
    return Numbers(_write_caption("Measures on validation", run, runs), ["step", "stage", "epoch", *names], lines)


def _metrics_table(run: RunRecord, runs: Sequence[RunRecord], is_wanted: Callable[[str], bool], what: str) -> Numbers:
    """Return the metrics of some kind as a table, one line for every point of their charts."""
    names = _list_names([run], is_wanted)
    rates = list(dict.fromkeys(name for row in run.measured for name in row.rates)) if is_wanted is _is_other else []

    def cells(row: LoggedMetrics) -> list[str]:
        return [said(row.values.get(name)) for name in names] + [said(row.rates.get(name)) for name in rates]

    rows = [row for row in run.measured if rates or any(name in row.values for name in names)]
    columns = [*names, *(f"learning rate, {name}" for name in rates)]
    lines = [(f"{row.step:,}", row.stage, f"{row.epoch:.4g}", *cells(row)) for row in rows]
    return Numbers(_write_caption(what, run, runs), ["step", "stage", "epoch", *columns], lines)


def _write_caption(what: str, run: RunRecord, runs: Sequence[RunRecord]) -> str:
    """Return what a table holds."""
    return f"{what} by step, {run.name}" if len(runs) > 1 else f"{what} by step"
