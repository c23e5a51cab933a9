"""The page of an audit: what each column comes to, with charts, tables and what the model looks at."""

import auxo
from auxo.evaluation import begin_sentence, title_measure, write_measure
from auxo.evaluation.audit import CellMean
from auxo.explain import Attention, ClassSaliency
from auxo.reporting.audit import MOST_SHOWN, Audit, AuditedColumn, build_audit_table, write_p
from auxo.reporting.blocks import (
    Block,
    Chart,
    Charts,
    ExplainedImage,
    ExplainedImages,
    Numbers,
    Page,
    Section,
    SectionPart,
)
from auxo.reporting.charts import build_intervals
from auxo.reporting.colours import style_of
from auxo.reporting.images import covered_uri, image_uri
from auxo.reporting.judgement import Omission
from auxo.reporting.sections import describe_drop, draw_shift
from auxo.reporting.sections.legend import name_lines
from auxo.reporting.sections.words import counted, listed

_MOST_CLASSES = 15  # in a chart; a table has all

_HOW = (
    "Every test is made within the classes, so that a class that is harder, or more frequent with one value of a "
    "column, does not count as leaning. The test of predictions asks whether the measure of single images depends on "
    "the column, that of features whether the squared discrepancy between its values does (Gaussian kernel of the "
    "median distance). Both compare with random orders of the column within each class.",
    "Most networks show in their features what an image looks like, also where their predictions do not rest on it. "
    "Features that differ are a possibility to lean, not leaning.",
    "An audit sees the columns that it is given. What a model leans on that no column says, it does not see; and where "
    "two columns go together, it does not say which of them matters.",
)


def build_audit_page(audit: Audit) -> Page:
    """Return the page of an audit.

    Args:
        audit: of at least one column.
    """
    names = listed([each.audit.name for each in audit.columns])
    table = build_audit_table(audit)
    overview = Numbers("The columns", table.columns, table.lines, is_open=True, note=table.caption, has_words=True)
    sections = [Section("columns", "What each column comes to", [SectionPart("", [], [overview])])]
    for number, each in enumerate(audit.columns):
        sections.append(Section(f"column-{number}", each.audit.name, _show_column(audit, each, f"column-{number}")))
    sections.append(Section("how", "How this is measured", [SectionPart("", _HOW)]))
    return Page(
        title=f"Does {audit.run} lean on {names}?",
        summary=[_summarise_column(audit, each) for each in audit.columns],
        sections=sections,
        made_with=f"Made by auxo {auxo.__version__} from the images and weights; the page asks no server for anything.",
    )


def _summarise_column(audit: Audit, each: AuditedColumn) -> str:
    """Return what a column comes to, in a sentence."""
    own, gap = each.audit, each.audit.class_gap
    verdict = {
        "leans": f"The model leans on {own.name}",
        "leans slightly": f"The model leans slightly on {own.name}",
        "not seen": f"Leaning on {own.name} was not seen",
        "cannot tell": f"Whether the model leans on {own.name} cannot be told",
    }[own.verdict]
    if gap is None:
        return f"{verdict}: {'; '.join(own.reasons)}."
    of_class = f" of {gap.stratum}" if gap.stratum else ""
    unit = "points" if audit.unit == "%" else audit.unit
    return (
        f"{verdict}: the largest difference is between {gap.best} and {gap.worst}{of_class}, "
        f"{audit.show_gap(gap)} {unit} (p = {write_p(own.predictions)} of predictions)."
    )


def _show_column(audit: Audit, each: AuditedColumn, key: str) -> list[SectionPart]:
    """Return the parts of a column: differences, strengths, saliency."""
    own = each.audit
    sentences = [f"{begin_sentence(reason)}." for reason in own.reasons]
    sentences += _describe_differences(audit, each)
    blocks: list[Block] = []
    if own.class_gap is not None:
        blocks += [*_name_values(each), _draw_cells(audit, each, key)]
    parts = [SectionPart("By value and class", sentences, [*blocks, *_list_cells(audit, each), _list_groups(each)])]
    title = "By strength"
    if isinstance(each.curve, Omission):
        parts.append(SectionPart(title, [f"Left out: {each.curve.reason}."]))
    else:
        drawn = draw_shift([(audit.run, each.curve)], {audit.run: style_of(0)}, key=f"{key}-shift")
        parts.append(SectionPart(title, [describe_drop(each.curve)], drawn))
    title = "What the model looks at"
    if isinstance(each.saliency, Omission):
        parts.append(SectionPart(title, [f"Left out: {each.saliency.reason}."]))
    else:
        parts.append(_show_saliency(own.name, each.saliency, title=title))
    return parts


def _describe_differences(audit: Audit, each: AuditedColumn) -> list[str]:
    """Return the worst group, the difference over all classes, and what features say, a sentence each."""
    own, sentences = each.audit, []
    measure, unit = title_measure(audit.primary), f" {audit.unit}" if audit.unit else ""
    points = " points" if audit.unit == "%" else unit
    if own.worst is not None:
        of_class = f"{own.worst.stratum} with " if len(own.grouping.strata.names) > 1 else ""
        sentences.append(
            f"Worst group: {of_class}{own.worst.value}, {audit.show(own.worst.mean)}{unit} of "
            f"{counted(own.worst.n, 'image')} [{audit.show(own.worst.low)}, {audit.show(own.worst.high)}]."
        )
    if own.gap is not None:
        sentences.append(
            f"Over all classes {measure} differs by {audit.show_gap(own.gap)}{points} between {own.gap.best} "
            f"and {own.gap.worst}; this also counts which classes the values have."
        )
    if own.embeddings is not None:
        test, weighted = own.embeddings.test, own.embeddings.weighted
        told = "" if weighted is None else f"; {weighted:.4f} between values weighted to be independent of the class"
        sentences.append(
            f"Features of {own.embeddings.n:,} images: squared discrepancy {test.statistic:.4f} within the classes, "
            f"{test.expected:.4f} by chance, p = {write_p(test)}{told}."
        )
    return sentences


def _name_values(each: AuditedColumn) -> list[Block]:
    """Return the legend of the values of a column."""
    return [*name_lines([(name, style_of(number)) for number, name in enumerate(each.audit.grouping.groups.names)])]


def _draw_cells(audit: Audit, each: AuditedColumn, key: str) -> Charts:
    """Return the measure of every class and value with its interval, of the classes that differ the most."""
    own = each.audit
    by_class: dict[str, list[CellMean]] = {}
    for cell in own.cells:
        by_class.setdefault(cell.stratum, []).append(cell)

    def spread(name: str) -> float:
        means = [cell.mean for cell in by_class[name] if cell.is_compared]
        return max(means) - min(means) if means else -1.0

    shown = set(sorted(by_class, key=spread, reverse=True)[:_MOST_CLASSES])
    names = [name for name in by_class if name in shown]
    scale = 100 if audit.unit == "%" else 1
    groups = []
    for number, value in enumerate(own.grouping.groups.names):
        points = [
            (place, scale * cell.mean, scale * cell.low, scale * cell.high)
            for place, name in enumerate(names)
            for cell in by_class[name]
            if cell.value == value
        ]
        groups.append((value, style_of(number), points))
    title = title_measure(audit.primary) + (f", {audit.unit}" if audit.unit else "")
    few = f", the {len(names)} classes of {len(by_class)} that differ the most" if len(names) < len(by_class) else ""
    figure = build_intervals(groups, names, x_title=title, digits=audit.digits)
    label = f"{title} by class and {own.name} with 95 % intervals{few}. {_summarise_column(audit, each)}"
    height = 70 + len(names) * max(40, 15 * len(groups) + 8)
    heading = f"{title}, by class and {own.name}, with 95 % intervals{few}"
    return Charts([Chart(f"{key}-cells", heading, label, figure, height)])


def _list_cells(audit: Audit, each: AuditedColumn) -> list[Numbers]:
    """Return the measure of every class and value as a table; none where it is of no single images."""
    unit = f", {audit.unit}" if audit.unit else ""
    lines = [
        (
            cell.stratum,
            cell.value,
            f"{cell.n:,}",
            f"{audit.show(cell.mean)} [{audit.show(cell.low)}, {audit.show(cell.high)}]",
            "yes" if cell.is_compared else "no",
        )
        for cell in each.audit.cells
    ]
    columns = ["class", each.audit.name, "images", title_measure(audit.primary) + unit, "compared"]
    note = f"Compared are classes with two values or more of at least {audit.config.fewest} images each."
    return [Numbers(f"By class and {each.audit.name}", columns, lines, note=note)] if lines else []


def _list_groups(each: AuditedColumn) -> Numbers:
    """Return all measures by value."""
    groups = each.audit.groups
    names = list(dict.fromkeys(name for group in groups for name in group.measures))
    lines = [
        (
            group.value,
            f"{group.n:,}",
            *(write_measure(group.measures[name]) if name in group.measures else "-" for name in names),
        )
        for group in groups
    ]
    columns = [each.audit.name, "images", *map(title_measure, names)]
    note = "Over all classes: a value that is frequent in a hard class has low measures for that alone. Fractions in %."
    return Numbers(f"All measures by {each.audit.name}", columns, lines, note=note)


def _show_saliency(column: str, found: ClassSaliency, *, title: str) -> SectionPart:
    """Return for every value, in a row of its own, the mean image under its mean map, then a few images."""
    rows: list[Block] = []
    for group in found.groups:
        count = counted(group.n, "image")
        text = f"mean of {count} of {found.label} with {column} {group.value}"
        items = [_make_image(group.mean, text, f"{group.value}: mean of {count}", is_right=True)]
        for shown in group.examples:
            is_right = shown.predicted == shown.label
            answer = "correct" if is_right else f"predicted as {shown.predicted}"
            text = f"an image of {found.label} with {column} {group.value}"
            items.append(_make_image(shown, text, f"{group.value}, {answer}", is_right=is_right))
        rows.append(ExplainedImages(items))
    shown_of = f", of at most {MOST_SHOWN} values" if len(found.groups) == MOST_SHOWN else ""
    sentence = (
        f"Grad-CAM of {found.label}, where the difference is largest, in the layer {found.layer}{shown_of}: for each "
        "value the mean image under its mean map, then single images. From black, no evidence for the prediction, to "
        "yellow, the most in this image; a dashed frame is a mistake."
    )
    return SectionPart(title, [sentence], rows)


def _make_image(shown: Attention, text: str, answer: str, *, is_right: bool) -> ExplainedImage:
    """Return an image beside itself under its map."""
    return ExplainedImage(image_uri(shown.pixels), covered_uri(shown), text, f"evidence in {text}", answer, is_right)
