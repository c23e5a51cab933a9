"""What methods show of themselves, as they wrote it."""

from collections.abc import Sequence

from auxo.interfaces import CurveExhibit, ImageExhibit, TableExhibit
from auxo.reporting.blocks import Block, Chart, Charts, ImageGrid, Numbers, Section, SectionPart
from auxo.reporting.charts import Line, build_lines
from auxo.reporting.colours import style_of
from auxo.reporting.images import image_uri
from auxo.reporting.run_record import RunRecord
from auxo.runs.exhibits import ShownExhibit, read_exhibits


def exhibits_section(runs: Sequence[RunRecord]) -> Section | None:
    """Return what the methods of runs show of themselves; ``None`` where they show nothing.

    Args:
        runs: at least one.
    """
    parts: list[SectionPart] = []
    for run in runs:
        shown = read_exhibits(run.folder, [stage.name for stage in run.config.stages])
        for stage in dict.fromkeys(each.stage for each in shown):
            own = [each for each in shown if each.stage == stage]
            title = " / ".join(filter(None, (run.name if len(runs) > 1 else "", stage)))
            sentences, blocks = _build_blocks(own, key=f"exhibits-{len(parts)}")
            parts.append(SectionPart(title, sentences, blocks))
    return Section("exhibits", "What the methods show", parts) if parts else None


def _build_blocks(shown: Sequence[ShownExhibit], *, key: str) -> tuple[list[str], list[Block]]:
    """Return the sentences and the blocks of some exhibits."""
    sentences: list[str] = []
    blocks: list[Block] = []
    for number, each in enumerate(shown):
        exhibit = each.exhibit
        if isinstance(exhibit, ImageExhibit):
            addresses = [image_uri(image.numpy()) for image in exhibit.images]
            captions = exhibit.captions or [""] * len(addresses)
            blocks.append(ImageGrid(exhibit.title, list(zip(addresses, captions, strict=True))))
        elif isinstance(exhibit, CurveExhibit):
            lines = [
                Line(name, [x for x, _ in pairs], [y for _, y in pairs], style_of(place))
                for place, (name, pairs) in enumerate(exhibit.lines.items())
            ]
            figure = build_lines(lines, x_title=exhibit.x, y_title=exhibit.y, has_legend=len(lines) > 1)
            blocks.append(Charts([Chart(f"{key}-{number}", exhibit.title, exhibit.title, figure)]))
        elif isinstance(exhibit, TableExhibit):
            cells = [tuple(map(str, row)) for row in exhibit.rows]
            blocks.append(Numbers(exhibit.title, exhibit.columns, cells, is_open=exhibit.is_open))
        else:
            paragraphs = [line for line in exhibit.text.split("\n\n") if line.strip()]
            sentences += [f"{exhibit.title}: {' '.join(paragraph.split())}" for paragraph in paragraphs]
    return sentences, blocks
