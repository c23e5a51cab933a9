"""The drawings of Grad-CAM and t-SNE, as PNG."""

import io
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design (https://jfly.uni-koeln.de/color/), which differ under every common colour
# blindness, with grey for black, which marks mistakes, and without yellow, which is lost on white. Further classes
# repeat them with another marker.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
_MARKERS = ("o", "^", "s", "D")
_RIGHT, _WRONG = "#0072B2", "#D55E00"
FONT_SIZE = 8
_DOTS_PER_INCH = 150
_LINE, _LETTER = 0.17, 0.075  # inches: height of a line of the title, and a width that most of its letters stay below
_LONGEST_NAME = 20  # letters of a class's name that fit on a line beside the points

MAX_CLASSES = len(_COLOURS) * len(_MARKERS)
"""More classes than these cannot be told apart on a map of points."""


@dataclass(frozen=True)
class Attention:
    """One image of a Grad-CAM grid.

    Args:
        pixels: shape ``(channels, height, width)``; uint8.
        attention: shape ``(height, width)``; in [0, 1].
        label: name of its class.
        predicted: name of the class it was taken for.
        covered: rows and columns in the middle that the map lies over; ``None`` means all.
    """

    pixels: UInt8[np.ndarray, "channels height width"]
    attention: Float[np.ndarray, "height width"]
    label: str
    predicted: str
    covered: tuple[int, int] | None = None

    @property
    def is_partly_covered(self) -> bool:
        """Whether the map leaves a rim of the image out."""
        return self.covered not in (None, self.attention.shape)


def draw_attention(rows: Sequence[Sequence[Attention]], *, title: str, caption: str) -> bytes:
    """Return a PNG with one row of images per class, each beside itself under its map; two columns of rows from 6 on.

    Args:
        rows: images of one class each; not empty.
        title: above, on as many lines as it needs.
        caption: lines below.
    """
    from matplotlib.figure import Figure

    lines_below = 1 + caption.count("\n")
    side, gap, foot = 0.85, 0.22, 0.52 + 0.13 * lines_below  # inches
    longest = max(len(line) for row in rows for line in _fold_name(row[0].label).split("\n"))
    margin = 0.2 + 0.07 * longest
    num_blocks = 2 if len(rows) > 5 else 1
    lines = -(-len(rows) // num_blocks)
    pairs = max(map(len, rows))
    block_width = margin + pairs * (2 * side + 0.1)
    width = max(num_blocks * block_width, 7.0) + 0.1
    titles = break_title(title, width - 0.2)
    head = 0.18 + len(titles) * _LINE
    height = head + lines * (side + gap) + foot
    figure = Figure(figsize=(width, height))

    def axes_at(left: float, top: float) -> "Axes":
        return figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))

    for number, row in enumerate(rows):
        left = (number // lines) * block_width + margin
        top = head + (number % lines) * (side + gap) + gap
        name = row[0].label
        figure.text(
            (left - 0.08) / width,
            1 - (top + side / 2) / height,
            _fold_name(name),
            fontsize=FONT_SIZE,
            ha="right",
            va="center",
        )
        for column, shown in enumerate(row):
            start = left + column * (2 * side + 0.1)
            _show_pair(axes_at(start, top), axes_at(start + side, top), shown)
    figure.text(0.5, 1 - 0.12 / height, "\n".join(titles), fontsize=FONT_SIZE + 1.5, ha="center", va="top")
    figure.text(0.5, 0.12 / height, caption, fontsize=FONT_SIZE, ha="center", va="bottom")
    _add_scale(figure, width, height, above=0.29 + 0.13 * lines_below)
    return save_png(figure)


def _show_pair(plain: "Axes", covered: "Axes", shown: Attention) -> None:
    """Show an image, and beside it the same under its map, framed by whether the answer was right.

    Where the map leaves a rim out, the rim stays as it is and a dotted line goes around the map.
    """
    pixels = np.moveaxis(shown.pixels, 0, -1)
    pixels = pixels if pixels.shape[-1] == 3 else pixels[..., :1].repeat(3, axis=-1)
    is_right = shown.label == shown.predicted
    colour, style = (_RIGHT, "-") if is_right else (_WRONG, (0, (3, 2)))
    grey = pixels.mean(axis=-1)
    for axes, image in ((plain, pixels), (covered, grey)):
        axes.imshow(image, cmap="Greys_r", vmin=0, vmax=255, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(edgecolor=colour, linewidth=1.5, linestyle=style)
    height, width = shown.attention.shape
    rows, columns = shown.covered or (height, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    covered.imshow(
        shown.attention[top : top + rows, left : left + columns],
        cmap="inferno",
        vmin=0,
        vmax=1,
        alpha=0.6,
        interpolation="bilinear",
        extent=(left - 0.5, left + columns - 0.5, top + rows - 0.5, top - 0.5),
    )
    covered.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    if shown.is_partly_covered:
        _draw_outline(covered, (left - 0.5, top - 0.5), columns, rows)
    if not is_right:
        plain.set_title(f"taken for {shown.predicted}", fontsize=FONT_SIZE - 1.5, pad=2, loc="left", color=_WRONG)


def _draw_outline(axes: "Axes", corner: tuple[float, float], width: int, height: int) -> None:
    """Draw a dotted line around a rectangle that is seen on black and on white."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="black", linewidth=1.0))
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=1.0, linestyle=":"))


def _add_scale(figure: "Figure", width: float, height: float, *, above: float) -> None:
    """Add the scale of the maps, so many inches above the lower edge."""
    axes = figure.add_axes(((width / 2 - 1) / width, above / height, 2 / width, 0.09 / height))
    axes.imshow(np.linspace(0, 1, 64)[None], cmap="inferno", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    for x, text, side in ((-0.02, "no evidence", "right"), (1.02, "the most in this image", "left")):
        axes.text(x, 0.5, text, transform=axes.transAxes, fontsize=FONT_SIZE, ha=side, va="center")


def draw_points(
    points: Float[np.ndarray, "n 2"],
    classes: Int[np.ndarray, " n"],
    is_right: Bool[np.ndarray, " n"] | None,
    names: Sequence[str],
    *,
    title: str,
    caption: str,
) -> bytes:
    """Return a PNG of points by class, with a black rim where the model was wrong.

    Args:
        points: where they lie.
        classes: number of each point's class in ``names``; int64.
        is_right: whether the model told the class; ``None`` where it has no class head.
        names: of the classes, at most ``MAX_CLASSES``; the legend has every class with points, and a class is named
            among its points too unless others are the most wherever they lie, of which the last line below the image
            speaks.
        title: above, on as many lines as it needs.
        caption: lines below.
    """
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    groups = [_Group(number, name, classes == number) for number, name in enumerate(names)]
    groups = [group for group in groups if group.members.any()]
    places = [_place_of_name(points, group.members) for group in groups]
    if any(place is None for place in places):
        caption += "\na class that is named in the legend alone is outnumbered wherever it lies"
    width, side, foot = 8.2, 5.61, 0.4 + 0.13 * (1 + caption.count("\n"))  # inches
    titles = break_title(title, 0.77 * width)
    height = foot + side + 0.16 + len(titles) * _LINE
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.02, foot / height, 0.77, side / height))
    handles = []
    for group, place in zip(groups, places, strict=True):
        _draw_scatter(axes, points, group, is_right)
        handles.append(axes.scatter([], [], s=30, c=group.colour, marker=group.marker, label=group.folded))
        if place is not None:
            outline = [withStroke(linewidth=3, foreground="white")]
            size, (x, y) = FONT_SIZE + 1, place
            axes.text(x, y, group.folded, fontsize=size, ha="center", va="center", zorder=4, path_effects=outline)
    if is_right is not None:
        label = "taken for\nanother class"
        handles.append(axes.scatter([], [], s=30, c="white", edgecolors="black", linewidths=1.1, label=label))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=FONT_SIZE, frameon=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title("\n".join(titles), fontsize=FONT_SIZE + 1.5)
    figure.text(0.405, (foot - 0.1) / height, caption, fontsize=FONT_SIZE, ha="center", va="top")
    return save_png(figure)


class _Group(NamedTuple):
    """The points of a class.

    Args:
        number: of the class.
        name: of the class.
        members: which of the points.
    """

    number: int
    name: str
    members: Bool[np.ndarray, " n"]

    @property
    def colour(self) -> str:
        """Its colour; with the marker no other class has it."""
        return _COLOURS[self.number % len(_COLOURS)]

    @property
    def marker(self) -> str:
        """Its marker."""
        return _MARKERS[self.number // len(_COLOURS)]

    @property
    def folded(self) -> str:
        """Its name on as many lines as it needs beside the points."""
        return textwrap.fill(self.name, _LONGEST_NAME)


def _draw_scatter(
    axes: "Axes", points: Float[np.ndarray, "n 2"], group: _Group, is_right: Bool[np.ndarray, " n"] | None
) -> None:
    """Draw the points of a class, those of wrong answers with a black rim over the others."""
    layers = [(group.members if is_right is None else group.members & is_right, "white", 18, 0.3)]
    if is_right is not None:
        layers.append((group.members & ~is_right, "black", 28, 1.1))
    for order, (members, rim, size, thickness) in enumerate(layers, start=2):
        x, y = points[members].T
        axes.scatter(
            x, y, s=size, c=group.colour, marker=group.marker, edgecolors=rim, linewidths=thickness, zorder=order
        )


def _place_of_name(
    points: Float[np.ndarray, "n 2"], of_class: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " 2"] | None:
    """Return the point around which a quarter of a class, which has points, is closest together.

    None if others are the most there.
    """
    own = points[of_class]
    distances, _ = KDTree(own).query(own, k=[max(1, -(-len(own) // 4))])
    best = int(distances[:, 0].argmin())
    around = KDTree(points).query_ball_point(own[best], distances[best, 0])
    place: Float[np.ndarray, " 2"] = own[best]
    return place if 2 * of_class[around].sum() >= len(around) else None


def break_title(title: str, inches: float) -> list[str]:
    """Return the lines of a title that has so much room."""
    return textwrap.wrap(title, max(1, int(inches / _LETTER))) or [""]


def _fold_name(name: str) -> str:
    """Return a name on as many lines as it needs beside a row."""
    return name.replace("_", "\n").replace(" ", "\n")


def save_png(figure: "Figure") -> bytes:
    """Return a figure as a PNG without date and version, so that equal figures are equal bytes."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")  # a note says so once
        figure.savefig(stream, format="png", dpi=_DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def find_unknown_letters(texts: Iterable[str]) -> str:
    """Return the letters that the font of the drawings does not have, each once."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    return "".join(dict.fromkeys(letter for letter in "".join(texts) if ord(letter) not in known and letter != "\n"))
