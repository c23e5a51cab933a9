"""A report with hostile names, and a browser without a network to open it in."""

import shutil
from typing import Any, NamedTuple

import pytest

from auxo.data.fake import oriented_shapes

NAMES = ("<img src=x onerror=alert(1)>", 'b & "c"', "{{ 7000 * 7 }}", "<b>bold<")
DRAW_ALL = """async () => {
  const end = Date.now() + 30000;
  for (const chart of document.querySelectorAll(".chart")) {
    chart.scrollIntoView({behavior: "instant"});
    while (!chart._fullLayout && Date.now() < end) await new Promise((done) => setTimeout(done, 10));
  }
  return document.querySelectorAll(".chart .main-svg:first-child").length;
}"""


@pytest.fixture(scope="session")
def report_file(tmp_path_factory, write_picture, tiny_options):
    """The page of a run with a gate, on classes whose names would be markup."""
    from auxo.cli import main

    root = tmp_path_factory.mktemp("hostile")
    source = oriented_shapes(160, size=28, seed=0)
    for number, (image, label) in enumerate(zip(source.images, source.columns["label"].values.tolist(), strict=True)):
        write_picture(root / "pictures" / NAMES[label] / f"{number:03d}.png", image)
    run = root / "<i>run"
    training = ["--data.train", str(root / "pictures"), *tiny_options, "--training.log-every", "1", "--out", str(run)]
    for words in (["train", "gssl", *training], ["report", str(run), "--num-points", "16", "--device", "cpu"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
    return run / "report.html"


@pytest.fixture(scope="session")
def audit_file(report_file):
    """The page of an audit of the same run, by a column whose name and values would be markup."""
    import csv

    from auxo.cli import main

    run, column = report_file.parent, NAMES[3]
    files = sorted((run.parent / "pictures").rglob("*.png"))
    rows = [[str(file), file.parent.name, NAMES[number % 3]] for number, file in enumerate(files)]
    with (run.parent / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", column], *rows])
    data = ["--data", str(run.parent / "list.csv"), "--columns", column, "--out", str(run / "audit")]
    with pytest.raises(SystemExit) as stop:
        main(["audit", str(run), *data, "--permutations", "19", "--per-class", "1", "--device", "cpu"])
    assert stop.value.code == 0
    return run / "audit" / "audit.html"


@pytest.fixture(scope="session")
def browser():
    """Chromium, if it and Playwright are here."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox"])  # root may not have one
        yield opened
        opened.close()


class Opened(NamedTuple):
    """An open page, what it complained of, and whom it asked."""

    page: Any
    complaints: list
    requests: list


def opened(browser, report_file, width, scheme):
    """Open the page without a network."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, complaints, requests = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report_file.as_uri())
    return Opened(page, complaints, requests)


@pytest.fixture(scope="session")
def draw_all():
    """Scroll through a page until every chart is drawn, and return how many there are."""
    return lambda page: page.evaluate(DRAW_ALL)


@pytest.fixture(scope="session")
def opened_wide(browser, report_file):
    """The page on a desktop, in light."""
    return opened(browser, report_file, 1440, "light")


@pytest.fixture(scope="session")
def opened_narrow(browser, report_file):
    """The page on a phone, in dark."""
    return opened(browser, report_file, 390, "dark")


def checked(found, report_file):
    """Yield the page, and check that it complains of nothing and asks nobody for anything."""
    yield found.page
    assert found.complaints == []
    assert {url for url in found.requests if not url.startswith(("data:", "blob:"))} == {report_file.as_uri()}


@pytest.fixture
def wide(opened_wide, report_file):
    """The page on a desktop, watched."""
    yield from checked(opened_wide, report_file)


@pytest.fixture
def narrow(opened_narrow, report_file):
    """The page on a phone, watched."""
    yield from checked(opened_narrow, report_file)


@pytest.fixture(params=[(1440, "light"), (390, "dark")], ids=["wide", "narrow"])
def audited(request, browser, audit_file):
    """The page of an audit, watched."""
    yield from checked(opened(browser, audit_file, *request.param), audit_file)
