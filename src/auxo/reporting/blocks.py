"""What a page is made of: sections, sentences, charts, tables and images, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

_MANY = 100_000  # counted in a table: from here cells have so many digits that shares are easier to read


@dataclass(frozen=True)
class Chart:
    """A drawing for the eye.

    Args:
        key: name of its element on the page, unlike any other's.
        title: above it.
        label: what a reader who does not see it is told.
        figure: data and layout for plotly; text in it is escaped already.
        height: pixels.
    """

    key: str
    title: str
    label: str
    figure: Mapping[str, Any]
    height: int = 300


@dataclass(frozen=True)
class Charts:
    """Charts beside each other where there is room.

    Args:
        panels: at least one.
    """

    panels: Sequence[Chart]
    kind: str = "charts"


@dataclass(frozen=True)
class LegendItem:
    """One line of a legend.

    Args:
        name: of the run or runs.
        colour: on white.
        dark: on black.
        dashes: lengths of strokes and gaps; empty means solid.
    """

    name: str
    colour: str
    dark: str
    dashes: str


@dataclass(frozen=True)
class Legend:
    """What the lines of the charts below stand for.

    Args:
        items: one per run.
    """

    items: Sequence[LegendItem]
    kind: str = "legend"


@dataclass(frozen=True)
class Numbers:
    """A table; the first column names the line.

    Args:
        caption: says what it holds; also what is clicked on to open it where it is not open.
        columns: one header per column.
        lines: one tuple of texts per line, as long as ``columns``.
        is_open: shown at once, not when it is asked for.
        note: sentences below.
        has_words: its cells are words, not numbers.
    """

    caption: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    is_open: bool = False
    note: str = ""
    has_words: bool = False
    kind: str = "numbers"


@dataclass(frozen=True)
class Confusion:
    """How often images, or pixels, of a class are predicted as which.

    Args:
        title: the set.
        summary: a sentence.
        answers: of rows and columns.
        counts: one row per true class; how many are predicted as each class.
        is_open: shown at once.
        counted: what is counted.
    """

    title: str
    summary: str
    answers: Sequence[str]
    counts: Sequence[Sequence[int]]
    is_open: bool
    counted: str = "images"
    kind: str = "confusion"

    @property
    def is_in_percent(self) -> bool:
        """Whether cells show shares of their rows, as counts of many digits are not read."""
        return sum(map(sum, self.counts)) >= _MANY

    def share(self, row: int, column: int) -> float:
        """Return a cell's percentage of its row's images; 0 for a class without any."""
        return 100 * self.counts[row][column] / max(1, sum(self.counts[row]))


@dataclass(frozen=True)
class Sprite:
    """Many small images in one.

    Args:
        address: a data URI.
        columns: images beside each other.
        rows: images above each other.
    """

    address: str
    columns: int
    rows: int


@dataclass(frozen=True)
class Points:
    """A map of images as points; each shows its image when it is pointed at.

    Args:
        chart: its traces give every point's number as ``customdata``.
        sprite: the images by that number.
        texts: what each image is, by that number.
        numbers: the same as a table; its line ``n`` is the image ``n``.
    """

    chart: Chart
    sprite: Sprite
    texts: Sequence[str]
    numbers: Numbers
    kind: str = "points"


@dataclass(frozen=True)
class ExplainedImage:
    """An image beside itself under its map of attention.

    Args:
        plain: a data URI.
        covered: a data URI.
        text: what it is.
        attention: where the evidence lies, in words.
        answer: class that was answered and its probability.
        is_right: whether that was right.
    """

    plain: str
    covered: str
    text: str
    attention: str
    answer: str
    is_right: bool


@dataclass(frozen=True)
class ExplainedImages:
    """Images with their maps.

    Args:
        items: class after class.
    """

    items: Sequence[ExplainedImage]
    kind: str = "explained_images"


@dataclass(frozen=True)
class ImageGrid:
    """Images in rows, each over its caption.

    Args:
        title: what is to be seen.
        items: of each image a data URI and a caption, which may be empty.
    """

    title: str
    items: Sequence[tuple[str, str]]
    kind: str = "images"


@dataclass(frozen=True)
class AnsweredImage:
    """An image beside its right answer and the given one.

    Args:
        addresses: data URIs of image, right answer, given answer, and where there is one of the doubt.
        texts: what each of them is.
        caption: below.
    """

    addresses: Sequence[str]
    texts: Sequence[str]
    caption: str


@dataclass(frozen=True)
class AnsweredImages:
    """Images beside their answers, a row for each.

    Args:
        title: which images.
        heads: what the images of a row are.
        items: one per image.
        swatches: what the colours stand for: names and CSS colours.
    """

    title: str
    heads: Sequence[str]
    items: Sequence[AnsweredImage]
    swatches: Sequence[tuple[str, str]]
    kind: str = "answered_images"


Block: TypeAlias = Legend | Charts | Numbers | Confusion | Points | ExplainedImages | ImageGrid | AnsweredImages


@dataclass(frozen=True)
class SectionPart:
    """A part of a section.

    Args:
        title: the run it is about; empty where a section has one part.
        sentences: what is to be seen.
        blocks: in order.
        items: the same of each run.
    """

    title: str
    sentences: Sequence[str]
    blocks: Sequence[Block] = ()
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Args:
        key: name of its element on the page.
        title: its heading.
        parts: in order.
    """

    key: str
    title: str
    parts: Sequence[SectionPart]


@dataclass(frozen=True)
class Page:
    """A report.

    Args:
        title: its only heading of the first rank.
        summary: sentences below.
        sections: in order.
        made_with: what wrote it.
    """

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    made_with: str

    def charts(self) -> list[Chart]:
        """Return every chart of the page."""
        blocks = [block for section in self.sections for part in section.parts for block in part.blocks]
        panels = [chart for block in blocks if isinstance(block, Charts) for chart in block.panels]
        return panels + [block.chart for block in blocks if isinstance(block, Points)]
