"""The colours of charts, in light and in dark, and the styles that tell runs and classes apart without colour too."""

from collections.abc import Sequence
from typing import NamedTuple

from auxo.reporting.run_record import RunRecord

SERIES = ("#0069a8", "#bf4a00", "#00755a", "#a33f7a", "#856200", "#5a55c9", "#5f6b78")
"""Colours of lines and points on white, each of a contrast of at least 4.5 to it."""

INK, AXIS, GRID = "#1b1f24", "#57606b", "#dfe3e9"
"""Colours of text, of axes and of lines behind a chart, on white."""

_SERIES_ON_DARK = ("#56b0ee", "#ff9257", "#3ccfa2", "#ea98c9", "#e6bd45", "#a9a5ff", "#aab4c0")

DARK = {
    **dict(zip(SERIES, _SERIES_ON_DARK, strict=True)),
    INK: "#e8ebef",
    AXIS: "#aab3be",
    GRID: "#323943",
    "#ffffff": "#1a1f26",
    "#9ecbf0": "#2c6499",
}
"""What each colour becomes on a dark page."""

_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "triangle-up", "square", "diamond", "cross", "triangle-down", "star")


class Style(NamedTuple):
    """How a line or a group of points is drawn.

    Args:
        colour: on white.
        dash: of lines, as plotly calls it.
        symbol: of points, likewise.
    """

    colour: str
    dash: str
    symbol: str


def style_of(number: int, *, turn: int = 0) -> Style:
    """Return a style; the first 28 numbers differ in more than one of its parts or in colour.

    Args:
        number: of the line, the class or the group of runs, >= 0.
        turn: number of the run in its group, which moves the dash on.
    """
    symbol = _SYMBOLS[(number + number // len(SERIES)) % len(_SYMBOLS)]
    return Style(SERIES[number % len(SERIES)], _DASHES[(number + turn) % len(_DASHES)], symbol)


def run_styles(groups: Sequence[Sequence[RunRecord]]) -> dict[str, Style]:
    """Return the style of every run by its name: one colour for the runs that differ in their seed alone."""
    return {
        run.name: style_of(number, turn=turn)
        for number, members in enumerate(groups)
        for turn, run in enumerate(members)
    }
