"""The page itself: what stands in it cannot break out of it, it asks nobody for anything, and its parts have names."""

import json
import re
from itertools import pairwise

import pytest
from plotly.offline import get_plotlyjs

from auxo.reporting.blocks import (
    Chart,
    Charts,
    Confusion,
    ExplainedImage,
    ExplainedImages,
    Numbers,
    Page,
    Points,
    Section,
    SectionPart,
    Sprite,
)
from auxo.reporting.charts import Line as ChartLine
from auxo.reporting.charts import Scatter, build_heat, build_intervals, build_lines, build_scatter, plain
from auxo.reporting.colours import style_of
from auxo.reporting.page import render_page, script_json

EVIL = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&{{ 7000 * 7 }}${1}"
DOT = "data:image/webp;base64,AAAA"


def page_of(*blocks):
    """A page with these blocks, where every text is hostile."""
    return Page(EVIL, [EVIL], [Section("one", EVIL, [SectionPart(EVIL, [EVIL], blocks, [EVIL])])], EVIL)


def chart_of(figure):
    return Chart("drawn", EVIL, EVIL, figure)


def without_script(html):
    return html.replace(get_plotlyjs(), "")


def test_script_json__text_that_ends_scripts__comes_back_and_has_no_bracket():
    text = str(script_json({EVIL: [EVIL, "\u2028"]}))
    assert json.loads(text) == {EVIL: [EVIL, "\u2028"]}
    assert not set("<>&\u2028") & set(text)


@pytest.mark.parametrize(
    "block",
    [
        Numbers(EVIL, [EVIL], [[EVIL]], note=EVIL),
        Numbers(EVIL, [EVIL], [[EVIL]], is_open=True),
        Confusion(EVIL, EVIL, [EVIL, "b"], [[1, 2], [3, 4]], is_open=True),
        ExplainedImages([ExplainedImage(DOT, DOT, EVIL, EVIL, EVIL, is_right=False)]),
        Charts([chart_of(build_lines([ChartLine(EVIL, [1], [2], style_of(0), [EVIL])], x_title="x", y_title="y"))]),
        Points(
            chart_of(build_scatter([Scatter(EVIL, [1], [2], style_of(0), numbers=[0])], x_title="", y_title="")),
            Sprite(DOT, 1, 1),
            [EVIL],
            Numbers(EVIL, [EVIL], [[EVIL]]),
        ),
    ],
    ids=lambda block: block.kind,
)
def test_render_page__hostile_texts__stay_text(block, read_page):
    html = without_script(render_page(page_of(block)))
    page = read_page(html)
    assert "49000" not in html
    plain_page = read_page(without_script(render_page(Page("t", [], [Section("one", "t", [])], "t"))))
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    expected = [attributes for tag, attributes in plain_page.tags if tag == "script"]
    kinds = {attributes.get("class") or attributes.get("id") for attributes in scripts if attributes.get("type")}
    assert kinds <= {"dark-colours", "drawn-figure", "texts"}
    assert len([attributes for attributes in scripts if not attributes.get("type")]) == len(
        [attributes for attributes in expected if not attributes.get("type")]
    ) + int(isinstance(block, Charts | Points))
    assert not [attributes for tag, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert {attributes["src"] for tag, attributes in page.tags if "src" in attributes} <= {DOT}
    assert page.headings == [(1, EVIL), (2, EVIL), (3, EVIL)]


@pytest.mark.parametrize(
    "figure",
    [
        build_lines([ChartLine("<b>", [1, 2], [0.5, float("nan")], style_of(0), ["<i>"] * 2)], x_title="", y_title=""),
        build_intervals([("<b>", style_of(1), [(0, 50.0, 40.0, 60.0)])], ["<i>"], x_title=""),
        build_scatter([Scatter("<b>", [1], [2], style_of(2), ["<i>"], names=["<u>"])], x_title="", y_title=""),
        build_heat([[1, 0], [2, 3]], ["<b>", "<i>"]),
    ],
)
def test_charts__markup_in_names__is_escaped_for_plotly(figure):
    text = json.dumps(figure, allow_nan=False)
    assert "&lt;" in text
    left = re.sub(r"<extra></extra>|<extra>%\{fullData.name\}</extra>", "", text)
    assert "<" not in left


def test_plain__markup__is_what_plotly_shows_as_text():
    assert plain("a < b & c") == "a &lt; b &amp; c"


def test_render_page__without_charts__has_no_script_of_plotly():
    html = render_page(page_of(Numbers("a", ["b"], [["c"]])))
    assert len(html) < 60_000
    assert "plotly.js v" not in html


def test_report__page__asks_nobody_and_is_small(report):
    html = report[0]
    assert html.count(get_plotlyjs()) == 1
    own = without_script(html)
    assert len(own.encode()) < 3_000_000
    assert "default-src 'none'" in own
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", own)
    assert not re.findall(r"@import|url\((?!data:)", own)
    assert "http" not in re.sub(r"http-equiv", "", own)


def test_report__page__has_one_title_ordered_headings_and_named_parts(page):
    ranks = [rank for rank, _ in page.headings]
    assert ranks.count(1) == 1
    assert ranks[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(ranks))
    names = [text for _, text in page.headings]
    assert names[1:] == [
        "What was asked",
        "Results",
        "Learning curves",
        "Other metrics",
        "Confusions",
        "Reliability",
        "Pretexts and the task",
        "rotation (guessing: 25.0 %)",
        "How images are arranged",
        "What the model looks at",
        "Cost",
    ]
    by_tag = {}
    for tag, attributes in page.tags:
        by_tag.setdefault(tag, []).append(attributes)
    assert all(attributes.get("alt") for attributes in by_tag["img"])
    assert all(attributes.get("scope") in ("row", "col") for attributes in by_tag["th"])
    assert len(by_tag["caption"]) == len(by_tag["table"])
    charts = [attributes for attributes in by_tag["div"] if attributes.get("class") == "chart"]
    assert len(charts) > 8
    assert all(len(attributes["aria-label"]) > 30 and attributes["role"] for attributes in charts)
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in by_tag["a"]]
    assert all(link.startswith("#") and link[1:] in places for link in links)
    assert links[0] == "#content"


def test_report__tables__have_as_many_cells_as_headers(page):
    for caption, (header, *lines) in page.tables.items():
        assert lines, caption
        assert {len(line) for line in lines} == {len(header)}, caption
