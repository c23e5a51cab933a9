"""The drawing of images beside their answers, as PNG."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from auxo.explain.answers import ShownAnswer
from auxo.explain.figures import FONT_SIZE, break_title, save_png
from auxo.tasks import blend_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 1.25  # inches of an image
_GAP, _LINE = 0.06, 0.17
_OPACITY = 0.6


def lay_over(shown: ShownAnswer) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width 3"]]:
    """Return the right and the given answer in colours over the image."""
    plain = colour_pixels(shown.pixels)
    truth, answer = (blend_images(plain, each, opacity=_OPACITY) for each in (shown.truth, shown.answer))
    return truth, answer


def colour_pixels(pixels: UInt8[np.ndarray, "channels height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image with its colours last; one of another number of channels than three in the grey of its first."""
    moved = np.moveaxis(pixels, 0, -1)
    return moved if moved.shape[-1] == 3 else moved[..., :1].repeat(3, axis=-1)


def _list_panels(shown: ShownAnswer) -> list[tuple[str, np.ndarray]]:
    """Return what is drawn of an image from left to right, colours or numbers in [0, 1], each below its head."""
    truth, answer = lay_over(shown)
    maps = (("doubt", shown.doubt), ("evidence", shown.evidence))
    found = [(head, values) for head, values in maps if values is not None]
    return [("image", colour_pixels(shown.pixels)), ("right", truth), ("answer", answer), *found]


def draw_answers(
    answers: Sequence[ShownAnswer], legend: Mapping[str, tuple[int, int, int]], *, title: str, caption: str
) -> bytes:
    """Return a PNG with a row for every image: itself, the right and the given answer over it, doubt and evidence.

    Args:
        answers: at least one, of one size.
        legend: what the colours stand for.
        title: above, on as many lines as it needs.
        caption: lines below.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    panels = [_list_panels(shown) for shown in answers]
    rows, columns = answers[0].truth.shape[:2]
    tall = _WIDTH * rows / columns
    margin = 1.0
    width = max(margin + len(panels[0]) * (_WIDTH + _GAP) + 0.3, 5.5)
    titles, below = break_title(title, width - 0.2), caption.split("\n")
    per_line = max(1, int((width - 0.2) / 1.3))
    legend_lines = -(-len(legend) // per_line)
    head, foot = 0.45 + len(titles) * _LINE, 0.15 + _LINE * (len(below) + legend_lines + 0.5)
    height = head + len(answers) * (tall + _GAP + 0.03) + foot
    figure = Figure(figsize=(width, height))

    def place_axes(column: int, row: int) -> "Axes":
        left, top = margin + column * (_WIDTH + _GAP), head + row * (tall + _GAP + 0.03)
        axes = figure.add_axes((left / width, 1 - (top + tall) / height, _WIDTH / width, tall / height))
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    for row, shown in enumerate(answers):
        placed = [place_axes(column, row) for column in range(len(panels[row]))]
        for axes, (name, image) in zip(placed, panels[row], strict=True):
            axes.imshow(image, cmap="inferno", vmin=0, vmax=1, interpolation="nearest")  # the map is for numbers alone
            if row == 0:
                axes.set_title(name, fontsize=FONT_SIZE, pad=3)
        label = f"{shown.kind}\n{shown.said}"
        placed[0].set_ylabel(label, fontsize=FONT_SIZE, rotation=0, ha="right", va="center", labelpad=6)
        if shown.explained:
            placed[-1].set_ylabel(shown.explained, fontsize=FONT_SIZE, rotation=270, labelpad=10)
            placed[-1].yaxis.set_label_position("right")
    handles = [Patch(color=f"#{bytes(colour).hex()}", label=name) for name, colour in legend.items()]
    if handles:
        place = (0.5, (0.12 + _LINE * len(below)) / height)
        figure.legend(
            handles=handles, loc="lower center", bbox_to_anchor=place, ncols=per_line, fontsize=FONT_SIZE, frameon=False
        )
    figure.text(0.5, 1 - 0.12 / height, "\n".join(titles), fontsize=FONT_SIZE + 1.5, ha="center", va="top")
    figure.text(0.5, 0.1 / height, caption, fontsize=FONT_SIZE, ha="center", va="bottom")
    return save_png(figure)
