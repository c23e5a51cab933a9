"""What the lines of charts stand for."""

from collections.abc import Mapping, Sequence

from auxo.reporting.blocks import Legend, LegendItem
from auxo.reporting.colours import DARK, Style
from auxo.reporting.run_record import RunRecord

_STROKES = {"solid": "", "dash": "8 4", "dot": "2 4", "dashdot": "8 4 2 4"}


def legend_of(runs: Sequence[RunRecord], styles: Mapping[str, Style]) -> list[Legend]:
    """Return the legend of several runs; none of one."""
    if len(runs) < 2:
        return []
    items = [
        LegendItem(run.name, style.colour, DARK[style.colour], _STROKES[style.dash])
        for run in runs
        for style in [styles[run.name]]
    ]
    return [Legend(items)]
