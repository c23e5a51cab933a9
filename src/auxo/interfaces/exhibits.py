"""What a method may show of itself at the end of a stage: plain values that are written as plain files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from jaxtyping import UInt8
from torch import Tensor


@dataclass(frozen=True)
class ImageExhibit:
    """Images in rows.

    Args:
        title: what is to be seen.
        images: shape ``(n, channels, height, width)``; uint8; one channel or three.
        captions: one for each image, or none.
        columns: images beside each other, >= 1.
    """

    title: str
    images: UInt8[Tensor, "n channels height width"]
    captions: Sequence[str] = ()
    columns: int = 8


@dataclass(frozen=True)
class CurveExhibit:
    """Lines over one axis.

    Args:
        title: what is to be seen.
        x: title of the horizontal axis.
        y: title of the vertical axis.
        lines: by name, pairs of a position and a value.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[int | float, int | float]]]


@dataclass(frozen=True)
class TableExhibit:
    """Cells in rows and columns.

    Args:
        title: what is to be seen.
        columns: one header for each.
        rows: of cells, as many as columns; texts or numbers.
        is_open: whether the report shows it without being asked; a long one is better folded up.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    is_open: bool = True


@dataclass(frozen=True)
class TextExhibit:
    """Sentences.

    Args:
        title: what they are about.
        text: plain; an empty line between paragraphs.
    """

    title: str
    text: str


Exhibit: TypeAlias = ImageExhibit | CurveExhibit | TableExhibit | TextExhibit
