"""What the lines of charts stand for."""

from collections.abc import Mapping, Sequence

from auxo.reporting.blocks import Legend, LegendItem
from auxo.reporting.colours import DARK, Style
from auxo.reporting.run_record import RunRecord

_STROKES = {"solid": "", "dash": "8 4", "dot": "2 4", "dashdot": "8 4 2 4"}


def legend_of(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> list[Legend]:
    """Return the legend of several runs; none of one."""
    return name_lines([(run.name, styles[run.name]) for run in runs])


def name_lines(lines: Sequence[tuple[str, Style]]) -> list[Legend]:
    """Return the legend of several lines by name and style; none of one."""
    if len(lines) < 2:
        return []
    return [Legend([LegendItem(name, style.colour, DARK[style.colour], _STROKES[style.dash]) for name, style in lines])]
