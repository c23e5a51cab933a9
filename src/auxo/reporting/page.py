"""A page as one HTML file that asks nobody for anything."""

import json
from pathlib import Path

from markupsafe import Markup

from auxo.reporting.blocks import Page
from auxo.reporting.colours import DARK

_FOLDER = Path(__file__).parent / "templates"


def render_page(page: Page) -> str:
    """Return the HTML of a page.

    Text is escaped wherever it stands. The script of plotly is in the page once, and only where it has a chart; a
    policy in its head forbids every request.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["script_json"] = script_json
    charts = page.charts()
    return environment.get_template("report.html").render(
        page=page,
        css=_read_own_file("report.css"),
        script=_read_own_file("report.js"),
        plotly=Markup(get_plotlyjs()) if charts else "",  # plotly's own file
        charts={chart.key: script_json(chart.figure) for chart in charts},
        dark=script_json(DARK),
    )


def script_json(value: object) -> Markup:
    r"""Return JSON that can stand in a script element, whatever text is in it.

    Example:
        >>> str(script_json("</script>"))
        '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # nothing in it can end the element


def _read_own_file(name: str) -> Markup:
    """Return a file of the package as it is."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))  # the package's own file
