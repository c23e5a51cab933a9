"""Charts as plotly takes them: checked by plotly, with text escaped and numbers rounded."""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

from auxo.reporting.colours import AXIS, GRID, INK, Style

Number: TypeAlias = int | float

_DIGITS = 5
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


class Line(NamedTuple):
    """A line of a chart.

    Args:
        name: in the legend and beside the pointer.
        x: positions.
        y: values; what is not finite leaves a gap.
        style: how it is drawn.
        texts: said of each point beside the pointer; none where empty.
        sizes: of the points in pixels; none are drawn where empty.
        ends: lower and upper end of an interval of each value; none are drawn where empty.
    """

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    style: Style
    texts: Sequence[str] = ()
    sizes: Sequence[Number] = ()
    ends: Sequence[tuple[Number, Number]] = ()


class Scatter(NamedTuple):
    """A group of points.

    Args:
        name: in the legend and beside the pointer.
        x: positions.
        y: likewise.
        style: how they are drawn.
        texts: said of each beside the pointer; nothing is said where empty.
        numbers: given to the page's script with each point; none where empty.
        rims: colour around each point; none where empty.
        names: written beside each point; none where empty.
    """

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    style: Style
    texts: Sequence[str] = ()
    numbers: Sequence[int] = ()
    rims: Sequence[str] = ()
    names: Sequence[str] = ()


def plain(text: str) -> str:
    """Return text that plotly, which reads a part of HTML, shows as it is.

    Example:
        >>> plain("<b>cat</b>")
        '&lt;b&gt;cat&lt;/b&gt;'
    """
    return escape(text, quote=False)


def build_lines(
    lines: Sequence[Line],
    *,
    x_title: str,
    y_title: str,
    marks: Mapping[str, Number] | None = None,
    is_square: bool = False,
    has_legend: bool = False,
) -> dict[str, Any]:
    """Return a chart of lines.

    Args:
        lines: at least one.
        x_title: below.
        y_title: to the left.
        marks: positions of upright lines by what stands beside them, such as where stages begin.
        is_square: both axes from 0 to 100 with a line where they agree.
        has_legend: name the lines below.
    """
    data = [_make_trace(line, has_legend=has_legend) for line in lines]
    layout = _make_layout(x_title, y_title, has_legend=has_legend)
    if is_square:
        layout["xaxis"]["range"] = layout["yaxis"]["range"] = [0, 103]
        layout["shapes"] = [_make_line(0, 0, 100, 100)]
    if marks:
        layout["shapes"] = [{**_make_line(x, 0, x, 1), "yref": "paper"} for x in marks.values()]
        layout["annotations"] = [
            {
                "x": x,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "yshift": 12 * (place % 2),
                "xanchor": "left",
                "showarrow": False,
                "text": plain(name),
                "font": {"size": 11, "color": AXIS},
            }
            for place, (name, x) in enumerate(marks.items())
        ]
        layout["margin"]["t"] = 36
    return _check_figure(data, layout)


def build_intervals(
    groups: Sequence[tuple[str, Style, Sequence[tuple[int, float, float, float]]]],
    names: Sequence[str],
    *,
    x_title: str,
    digits: int = 1,
) -> dict[str, Any]:
    """Return values with their intervals, one line of the chart per name.

    Args:
        groups: name, style, and ``(number of the line, value, low, high)`` of each point.
        names: of the lines, from above.
        x_title: below.
        digits: after the point, beside the pointer.
    """
    data = []
    for place, (name, style, points) in enumerate(groups):
        offset = 0.6 * ((place + 0.5) / len(groups) - 0.5)
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(name),
                "x": _round_values([value for _, value, _, _ in points]),
                "y": [number + offset for number, *_ in points],
                "error_x": _make_error_bars(
                    [value - low for _, value, low, _ in points], [high - value for _, value, _, high in points], style
                ),
                "marker": {"color": style.colour, "symbol": style.symbol, "size": 9},
                "text": [
                    f"{plain(names[number])}: {value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
                    for number, value, low, high in points
                ],
                "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
                "showlegend": False,
            }
        )
    layout = _make_layout(x_title, "")
    layout["yaxis"] |= {
        "tickvals": list(range(len(names))),
        "ticktext": [plain(name) for name in names],
        "range": [len(names) - 0.5, -0.5],
        "showgrid": False,
        "tickfont": {"color": INK},
    }
    layout["shapes"] = [
        {**_make_line(0, place - 0.5, 1, place - 0.5), "xref": "paper", "line": {"color": GRID, "width": 1}}
        for place in range(1, len(names))
    ]
    layout["hovermode"] = "closest"
    return _check_figure(data, layout)


def build_scatter(
    groups: Sequence[Scatter], *, x_title: str, y_title: str, is_map: bool = False, has_legend: bool = False
) -> dict[str, Any]:
    """Return a chart of points.

    Args:
        groups: at least one.
        x_title: below.
        y_title: to the left.
        is_map: a map whose axes mean nothing, so none are drawn and both have one scale.
        has_legend: name the groups below.
    """
    data = []
    for group in groups:
        style = group.style
        marker: dict[str, Any] = {"color": style.colour, "symbol": style.symbol, "size": 8 if is_map else 10}
        if group.rims:
            marker["line"] = {"color": list(group.rims), "width": 1.6}
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "name": plain(group.name),
            "x": _round_values(group.x),
            "y": _round_values(group.y),
            "marker": marker,
            "showlegend": has_legend,
            "hoverinfo": "none",
        }
        if group.numbers:
            trace["customdata"] = list(group.numbers)
        if group.texts:
            trace |= {"hovertext": [plain(text) for text in group.texts], "hoverinfo": "text"}
        if group.names:
            names = [f" {plain(name)} " for name in group.names]
            middle = (min(group.x) + max(group.x)) / 2
            sides = [
                f"{'bottom' if place % 2 else 'top'} {'right' if x < middle else 'left'}"
                for place, x in enumerate(group.x)
            ]
            trace |= {"mode": "markers+text", "text": names, "textposition": sides, "cliponaxis": False}
        data.append(trace)
    layout = _make_layout(x_title, y_title, has_legend=has_legend)
    layout["hovermode"] = "closest"
    if is_map:
        layout["xaxis"] |= {"visible": False}
        layout["yaxis"] |= {"visible": False, "scaleanchor": "x"}
        layout["margin"] = {"l": 4, "r": 4, "t": 4, "b": 4}
    return _check_figure(data, layout)


def build_heat(counts: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    """Return counts by class (rows) and prediction (columns), shaded by the share of the row."""
    shares = [[100 * count / max(1, sum(row)) for count in row] for row in counts]
    texts = [
        [f"{plain(label)} predicted as {plain(taken)}: {count}" for taken, count in zip(names, row, strict=True)]
        for label, row in zip(names, counts, strict=True)
    ]
    trace = {
        "type": "heatmap",
        "z": [_round_values(row) for row in shares],
        "zmin": 0,
        "zmax": 100,
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "colorscale": [[0, "#ffffff"], [0.1, "#9ecbf0"], [1, "#0069a8"]],
        "showscale": False,
    }
    layout = _make_layout("prediction", "class")
    ticks = {"tickvals": list(range(len(names))), "ticktext": [plain(name) for name in names], "showgrid": False}
    layout["xaxis"] |= {**ticks, "tickangle": 90, "tickfont": {"size": 9}}
    layout["yaxis"] |= {**ticks, "autorange": "reversed", "tickfont": {"size": 9}}
    layout["hovermode"] = "closest"
    return _check_figure([trace], layout)


def _make_trace(line: Line, *, has_legend: bool) -> dict[str, Any]:
    """Return a line as plotly takes it."""
    style = line.style
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if line.sizes or len(line.x) < 3 else "lines",
        "name": plain(line.name),
        "x": _round_values(line.x),
        "y": _round_values(line.y),
        "line": {"color": style.colour, "dash": style.dash, "width": 1.8},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": list(line.sizes) or 7},
        "showlegend": has_legend,
    }
    if line.texts:
        trace |= {"text": [plain(text) for text in line.texts], "hovertemplate": "%{text}<extra></extra>"}
    if line.ends:
        below = [y - low for y, (low, _) in zip(line.y, line.ends, strict=True)]
        above = [high - y for y, (_, high) in zip(line.y, line.ends, strict=True)]
        trace["error_y"] = _make_error_bars(below, above, style)
    return trace


def _make_error_bars(below: Sequence[Number], above: Sequence[Number], style: Style) -> dict[str, Any]:
    """Return the bars of intervals that reach so far below and above their values."""
    return {
        "type": "data",
        "symmetric": False,
        "array": _round_values(above),
        "arrayminus": _round_values(below),
        "color": style.colour,
        "thickness": 1.6,
        "width": 4,
    }


def _make_layout(x_title: str, y_title: str, *, has_legend: bool = False) -> dict[str, Any]:
    """Return what the charts share: no background, so that the page shows through."""
    axis = {
        "gridcolor": GRID,
        "linecolor": AXIS,
        "tickfont": {"color": AXIS},
        "zeroline": False,
        "automargin": True,
        "ticks": "",
    }
    title = {"font": {"size": 12, "color": AXIS}, "standoff": 8}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": INK},
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "xaxis": {**axis, "title": {**title, "text": x_title}},
        "yaxis": {**axis, "title": {**title, "text": y_title}},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": AXIS, "font": {"color": INK}, "namelength": -1},
        "showlegend": has_legend,
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
    }


def _make_line(left: Number, low: Number, right: Number, high: Number) -> dict[str, Any]:
    """Return a thin broken line behind the data."""
    line = {"color": AXIS, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": left, "y0": low, "x1": right, "y1": high, "line": line, "layer": "below"}


def _round_values(values: Sequence[Number]) -> list[float | None]:
    """Return values with five digits, and nothing for what is not finite."""
    return [float(f"{value:.{_DIGITS}g}") if isfinite(value) else None for value in values]


def _check_figure(data: list[dict[str, Any]], layout: dict[str, Any]) -> dict[str, Any]:
    """Return a figure whose names and values plotly knows."""
    from plotly.graph_objects import Figure

    plotted = Figure(data, layout).to_plotly_json()
    kept = {key: value for key, value in plotted["layout"].items() if key in layout}  # without plotly's own template
    return {"data": plotted["data"], "layout": kept}
