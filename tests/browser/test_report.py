"""The report in a browser: images under the pointer, themes, tables to open, widths, and no harm from names."""

import pytest

NAMES = ("<img src=x onerror=alert(1)>", 'b & "c"', "{{ 7000 * 7 }}", "<b>bold<")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LIGHT, DARK = ("rgb(246, 247, 249)", "#1b1f24"), ("rgb(17, 21, 26)", "#e8ebef")
INK = "document.querySelector('.chart')._fullLayout.font.color"


def until(page, condition):
    """Wait for a condition; the page forbids what Playwright's own way of waiting takes."""
    met = page.evaluate(
        f"""async () => {{
          const end = Date.now() + 20000;
          while (!({condition}) && Date.now() < end) await new Promise((done) => setTimeout(done, 20));
          return {condition};
        }}"""
    )
    assert met, condition


def place_of(page, number):
    """Where a image's point is in the window."""
    return page.evaluate(
        """(number) => {
          const chart = document.querySelector(".points .chart");
          const {left, top} = chart.getBoundingClientRect();
          const {xaxis, yaxis, _size} = chart._fullLayout;
          for (const trace of chart.data) {
            const at = (trace.customdata || []).indexOf(number);
            if (at >= 0) return [left + _size.l + xaxis.l2p(trace.x[at]), top + _size.t + yaxis.l2p(trace.y[at])];
          }
        }""",
        number,
    )


def test_map__pointer_and_keys__show_the_picture(wide):
    page = wide
    chart = page.locator(".points .chart")
    chart.scroll_into_view_if_needed()
    page.wait_for_selector(".points[data-connected]")
    peek = page.locator(".peek")
    assert not peek.is_visible()
    x, y = place_of(page, 5)
    page.mouse.move(x - 40, y - 40)
    page.mouse.move(x, y)
    peek.wait_for(state="visible")
    row = page.locator(".points tbody tr").nth(5)
    assert peek.locator(".what").inner_text().endswith(row.locator("th").evaluate("each => each.textContent"))
    image = peek.locator(".thumb").evaluate("each => getComputedStyle(each).backgroundImage")
    assert image.startswith('url("data:image/webp;base64,')
    placed = peek.locator(".thumb").evaluate("each => getComputedStyle(each).backgroundPosition")
    assert placed == "-96px -96px"  # number 5 of rows of four, 96 pixels each
    box = peek.bounding_box()
    assert box["width"] > 100
    assert box["x"] >= 0
    page.mouse.move(x, y - 400)
    chart.focus()
    page.keyboard.press("ArrowRight")
    peek.wait_for(state="visible")
    assert peek.locator(".what").inner_text()
    page.keyboard.press("Escape")
    assert not peek.is_visible()


def test_theme__button__changes_page_and_charts_and_is_kept(wide):
    def colours():
        return wide.evaluate("getComputedStyle(document.body).backgroundColor"), wide.evaluate(INK)

    wide.wait_for_selector(".chart.js-plotly-plot")
    assert colours() == LIGHT
    wide.get_by_role("button", name="Dark theme").click()
    until(wide, f"{INK} === '{DARK[1]}'")
    assert colours() == DARK
    wide.reload()
    wide.wait_for_selector(".chart.js-plotly-plot")
    assert colours() == DARK
    wide.get_by_role("button", name="Light theme").click()
    until(wide, f"{INK} === '{LIGHT[1]}'")
    assert colours() == LIGHT


@pytest.mark.parametrize("name", ["narrow", "wide"])
def test_page__narrow_and_wide__has_every_chart_and_no_sideways_scroll(request, draw_all, name):
    page = request.getfixturevalue(name)
    assert draw_all(page) == page.locator(".chart").count() > 10
    assert page.evaluate(INK) == (DARK if name == "narrow" else LIGHT)[1]
    assert page.evaluate(OVERFLOW) <= 0
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate(OVERFLOW) <= 0
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = false; })")


def test_details__click__opens_the_table(narrow):
    details = narrow.locator("details").first
    details.evaluate("each => { each.open = false; }")
    table = details.locator("table")
    assert not table.is_visible()
    details.locator("summary").click()
    assert table.is_visible()


def test_page__names_with_markup__are_shown_as_they_are(wide):
    heads = wide.locator("table.heat").first.locator("thead th").all_text_contents()
    assert heads == ["class", *sorted(NAMES)]
    wide.locator(".points .chart").scroll_into_view_if_needed()
    wide.wait_for_selector(".points .legendtext")
    assert wide.locator(".points .legendtext").all_text_contents() == sorted(NAMES)
    assert wide.locator("img[src='x'], main b, main i").count() == 0
    assert "49000" not in wide.locator("body").inner_text()
    assert wide.locator("h2", has_text="Gates").count() == 1


def test_page__printed__is_light_and_open(narrow):
    closed = "document.querySelectorAll('details.confusion:not([open])').length"
    before = narrow.evaluate(closed)
    narrow.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert narrow.evaluate(closed) == 0
    until(narrow, f"{INK} === '{LIGHT[1]}'")
    narrow.evaluate("dispatchEvent(new Event('afterprint'))")
    until(narrow, f"{INK} === '{DARK[1]}'")
    assert narrow.evaluate(closed) == before > 0
