"""A report of a finished run, and a reader of pages that shares nothing with what writes them."""

import json
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from auxo.cli.train import read_run_config
from auxo.explain import ExplainConfig
from auxo.methods.supervised import Supervised
from auxo.reporting import Judgement, Omission, RunRecord, build_page, judge, read_run_record, render_page
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.history import Evaluated, RunHistory
from auxo.runs.results import Compute, EvaluationRow
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Measure

SHOW = ExplainConfig(per_class=1, num_points=40)


@dataclass
class ReadPage(HTMLParser):
    """What a page holds: its tables by caption, headings, JSON by name of the element, text, and every tag."""

    tables: dict = field(default_factory=dict)
    headings: list = field(default_factory=list)
    data: dict = field(default_factory=dict)
    tags: list = field(default_factory=list)
    texts: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.open, self.key, self.said = [], None, ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.rows, self.caption = [], ""
        elif tag == "tr":
            self.rows.append([])
        if tag in ("caption", "th", "td", "h1", "h2", "h3", "script", "style", "p", "li", "summary"):
            self.open.append(tag)
            self.said = ""
            self.key = dict(attributes).get("id") or dict(attributes).get("class")

    def handle_data(self, data):
        self.said += data

    def handle_endtag(self, tag):
        text = self.said.strip()
        if self.open[-1:] == [tag]:
            self.open.pop()
            if tag in ("th", "td"):
                self.rows[-1].append(text)
            elif tag == "caption":
                self.caption = text
            elif tag in ("h1", "h2", "h3"):
                self.headings.append((int(tag[1]), text))
            elif tag == "script" and self.key:
                self.data[self.key] = json.loads(text)
            elif tag not in ("script", "style"):
                self.texts.append(text)
        elif tag == "table":
            self.tables[self.caption] = self.rows


@pytest.fixture(scope="session")
def read_page():
    """Read a page."""

    def read(html):
        page = ReadPage()
        page.feed(html)
        return page

    return read


@pytest.fixture(scope="session")
def report_of():
    """The report of run directories as HTML, with what it was made from."""

    def report(*folders, show=SHOW):
        records = [read_run_record(folder, read_run_config(folder), name=folder.name) for folder in folders]
        with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
            judgements = [judge(record, show, runtime=runtime, batch_size=16) for record in records]
        return render_page(build_page(records, judgements)), records, judgements

    return report


@pytest.fixture(scope="session")
def report(report_of, finished_run):
    """The report of the finished run."""
    return report_of(finished_run)


@pytest.fixture(scope="session")
def page(report, read_page):
    """That report, read."""
    return read_page(report[0])


@pytest.fixture(scope="session")
def rows(finished_run):
    """The records of the finished run."""
    return [json.loads(line) for line in (finished_run / "records.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def two_runs(shapes_folder, tiny_options, finished_run, tmp_path_factory):
    """The finished run, and one of another seed."""
    from auxo.cli import main

    out = tmp_path_factory.mktemp("other") / "other"
    words = ["train", "ossl", "--data.train", str(shapes_folder), *tiny_options, "--seed", "1", "--out", str(out)]
    words += ["--training.log-every", "1"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    return finished_run, out


@pytest.fixture(scope="session")
def several(report_of, two_runs):
    """The report of both runs as HTML."""
    return report_of(*two_runs)[0]


@pytest.fixture(scope="session")
def several_rows(two_runs):
    """The records of both runs."""
    return [[json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()] for folder in two_runs]


@pytest.fixture(scope="session")
def make_row():
    """A row of what a head achieved on a set: its primary measure, by name, and any other measures."""

    def make(value, *, split="test", head="semantic", kind="task", primary="accuracy", unit="%", **others):
        interval = others.pop("interval", (None, None))
        chance, parts, notes = (
            others.pop(name, default) for name, default in (("chance", 0.25), ("parts", {}), ("notes", ()))
        )
        measures = {primary: Measure(value, *interval, unit, others.pop("higher_is_better", True)), **others}
        return EvaluationRow(split, head, kind, 50, primary, measures, chance, parts, notes)

    return make


@pytest.fixture(scope="session")
def make_record():
    """A run that nobody made, with these rows, which were measured on validation twice."""

    def make(name, *rows, seed=0, batch_size=8):
        config = ExperimentConfig(stages=(StageConfig(method=Supervised.Config(), batch_size=batch_size),), seed=seed)
        end = {"kind": "end", "selection": None, "global_step": 2, **asdict(Compute(1.0, 16))}
        results = [{"kind": "result", **row.to_record()} for row in rows]
        history = RunHistory(Path(name), (*results, end))
        seen = [Evaluated("train", step, float(step), row) for step in (1, 2) for row in rows if row.split == "val"]
        return RunRecord(name, Path(name), config, "0", history, [], 1, seen, {"train": 0})

    return make


@pytest.fixture(scope="session")
def make_page(read_page):
    """The page on such runs, read; their models are gone."""

    def make(*records):
        gone = Judgement(10, ("a", "b"), {}, "semantic", Omission("the images are gone"), Omission("they are gone"))
        return read_page(render_page(build_page(records, [gone] * len(records))))

    return make
