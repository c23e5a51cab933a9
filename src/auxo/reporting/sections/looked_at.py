"""What the models look at, and how they arrange images: Grad-CAM and t-SNE."""

from collections.abc import Callable, Sequence
from typing import Any

from scipy.spatial import KDTree

from auxo.explain import Attention, AttentionGrid, PointMap
from auxo.reporting.blocks import Chart, ExplainedImage, ExplainedImages, Numbers, Points, Section, SectionPart
from auxo.reporting.charts import Scatter, build_scatter
from auxo.reporting.colours import INK, style_of
from auxo.reporting.images import covered_uri, image_uri, sprite_of
from auxo.reporting.judgement import Judgement, LookedAt, Omission
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.words import counted, percent, said

_HOW_TO_READ_A_MAP = (
    "Point at an image to see it, or step through them with the arrow keys. Colour and shape are the class, a rim is "
    "a mistake. Neighbours mean something; distances between groups and their sizes do not."
)
_HOW_TO_READ_A_GRID = (
    "Each image beside itself under its map: from black, no evidence, to yellow, the most in this image. A dashed "
    "frame is a mistake."
)
_NO_RIM = "rgba(0,0,0,0)"
_COLUMNS = ("image", "class", "prediction", "explained", "probability", "most at row", "column", "in the middle")


def points_section(runs: Sequence[RunRecord], judgements: Sequence[Judgement]) -> Section | None:
    """Return the t-SNE map of each run, whose points show their images; ``None`` where all runs answer every pixel.

    Args:
        runs: at least one.
        judgements: one per run.
    """
    return _make_section("points", "How images are arranged", _HOW_TO_READ_A_MAP, runs, judgements, _points_or_reason)


def attention_section(runs: Sequence[RunRecord], judgements: Sequence[Judgement]) -> Section | None:
    """Return the Grad-CAM maps of each run; ``None`` where all runs answer every pixel.

    Args:
        runs: at least one.
        judgements: one per run.
    """
    return _make_section(
        "attention", "What the model looks at", _HOW_TO_READ_A_GRID, runs, judgements, _attention_or_reason
    )


def _make_section(
    key: str,
    title: str,
    how_to_read: str,
    runs: Sequence[RunRecord],
    judgements: Sequence[Judgement],
    show: Callable[[LookedAt, str, str], SectionPart],
) -> Section | None:
    """Return a section with a part for each run: what is shown of it, or why nothing is.

    ``None`` where all runs answer every pixel.
    """
    if all(judgement.shown is not None for judgement in judgements):
        return None  # of every pixel there are other images to look at
    parts = []
    for number, (run, judgement) in enumerate(zip(runs, judgements, strict=True)):
        name, looked_at = run.name if len(runs) > 1 else "", judgement.looked_at
        if isinstance(looked_at, Omission):
            parts.append(_left_out(name, looked_at))
        else:
            parts.append(show(looked_at, f"{key}-{number}", name))
    first = [SectionPart("", [how_to_read])] if any(part.blocks for part in parts) else []
    return Section(key, title, [*first, *parts])


def _points_or_reason(looked_at: LookedAt, key: str, title: str) -> SectionPart:
    """Return the map of one run, or why there is none."""
    found = looked_at.points
    return (
        _left_out(title, found) if isinstance(found, Omission) else _show_points(looked_at, found, key=key, title=title)
    )


def _attention_or_reason(looked_at: LookedAt, _key: str, title: str) -> SectionPart:
    """Return the Grad-CAM maps of one run, or why there are none."""
    found = looked_at.attention
    return _left_out(title, found) if isinstance(found, Omission) else _show_saliency(looked_at, found, title=title)


def _left_out(title: str, omission: Omission) -> SectionPart:
    """Return why there is nothing."""
    return SectionPart(title, [f"Left out: {omission.reason}."])


def _show_points(looked_at: LookedAt, found: PointMap, *, key: str, title: str) -> SectionPart:
    """Return the map of one run."""
    source, places = looked_at.source, found.embedding.points.tolist()
    names, right = looked_at.right.names, looked_at.right.values[found.indices].tolist()
    answers = [None] * len(right) if found.predicted is None else found.predicted.tolist()
    groups = []
    for number, shown in enumerate(looked_at.classes):
        own = [place for place, each in enumerate(right) if each == shown]
        own.sort(key=lambda place: answers[place] not in (None, shown))  # the legend shows the first
        rims = [_NO_RIM if answers[place] in (None, shown) else INK for place in own]
        x, y = ([places[place][axis] for place in own] for axis in (0, 1))
        if own:
            groups.append(Scatter(names[shown], x, y, style_of(number), numbers=own, rims=rims))
    texts, lines = [], []
    for place, (own_class, answer) in enumerate(zip(right, answers, strict=True)):
        where = source.describe(int(found.indices[place]))
        taken = "" if answer is None else f", predicted as {names[answer]}" if answer != own_class else ", correct"
        texts.append(f"{names[own_class]}{taken}: {where}")
        x, y = places[place]
        lines.append((where, names[own_class], "-" if answer is None else names[answer], f"{x:.1f}", f"{y:.1f}"))
    sentence = _of_points(looked_at, found, right, answers)
    figure = build_scatter(groups, x_title="", y_title="", is_map=True, has_legend=True)
    columns = ["where it is from", "class", "prediction", "x", "y"]
    numbers = Numbers(f"The {len(lines)} images of the map", columns, lines)
    chart = Chart(key, f"t-SNE of {found.num_features} features of {looked_at.split}", sentence, figure, height=520)
    return SectionPart(title, [sentence], [Points(chart, sprite_of(source.fetch(found.indices)), texts, numbers)])


def _of_points(looked_at: LookedAt, found: PointMap, right: Sequence[int], answers: Sequence[int | None]) -> str:
    """Return how many images of what the map shows, and how many of them have a neighbour of their class."""
    _, nearest = KDTree(found.embedding.points).query(found.embedding.points, k=2)
    alike = sum(right[int(other)] == right[place] for place, (_, other) in enumerate(nearest.tolist()))
    shown, total = len(looked_at.classes), len(looked_at.right.names)
    of_classes = f"{shown} of {total} classes" if shown < total else f"all {total} classes"
    wrong = sum(answer is not None and answer != own for own, answer in zip(right, answers, strict=True))
    mistakes = "" if found.predicted is None else f"; {wrong} of them are misclassified"
    return (
        f"{len(right)} images of {looked_at.split} from {of_classes}: the nearest neighbour on the map is of the "
        f"same class for {percent(alike / len(right))}{mistakes}."
    )


def _show_saliency(looked_at: LookedAt, found: AttentionGrid, *, title: str) -> SectionPart:
    """Return the maps of one run."""
    shown = [image for row in found.grid for image in row]
    items = [_make_image(image, row) for image, row in zip(shown, found.rows, strict=True)]
    wrong = sum(not item.is_right for item in items)
    shares = [row["centre_share"] for row in found.rows if row["centre_share"] is not None]
    middle = f"; on average {percent(sum(shares) / len(shares))} of it lies in the middle half" if shares else ""
    rows, columns = found.size
    sentence = (
        f"{counted(len(items), 'image')} of {looked_at.split}, up to {looked_at.num_per_class} of each class, "
        f"{wrong or 'none'} of them misclassified. Beside each is the evidence for the answer in the layer "
        f"{found.layer} ({rows}x{columns}){middle}."
    )
    columns_of_table = [
        "image",
        "class",
        "prediction",
        "explained",
        "probability",
        "most at row",
        "column",
        "in the middle",
    ]
    lines = [_make_line(row) for row in found.rows]
    table = Numbers("Where the evidence lies, by image", columns_of_table, lines)
    return SectionPart(title, [sentence], [ExplainedImages(items), table])


def _make_image(shown: Attention, row: dict[str, Any]) -> ExplainedImage:
    """Return an image with its map."""
    is_right = shown.label == shown.predicted
    answer = f"{shown.label}, correct" if is_right else f"{shown.label}, predicted as {shown.predicted}"
    peak = row["peak"]
    where = (
        "no evidence at all"
        if peak is None
        else f"the most at row {peak[0]}, column {peak[1]}, {percent(row['centre_share'])} in the middle half"
    )
    return ExplainedImage(
        plain=image_uri(shown.pixels),
        covered=covered_uri(shown),
        text=f"{row['image']}, of class {shown.label}",
        attention=f"Evidence for {row['explained']}: {where}",
        answer=f"{answer}, {percent(row['probability'])} sure" if row["explained"] == shown.predicted else answer,
        is_right=is_right,
    )


def _make_line(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a image's line of the table."""
    peak = row["peak"] or ("-", "-")
    share = row["centre_share"]
    return (
        row["image"],
        row["label"],
        row["predicted"],
        row["explained"],
        said(row["probability"]),
        str(peak[0]),
        str(peak[1]),
        "-" if share is None else percent(share),
    )
