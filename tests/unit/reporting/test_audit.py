"""The page of an audit and the report's section on shifts: numbers of the records, names that stay text."""

import pytest
import torch

from auxo.cli.train import read_run_config
from auxo.data import TestSplit, TrainSplit
from auxo.evaluation.audit import AuditConfig
from auxo.explain import ExplainConfig, Subject
from auxo.reporting import (
    Judgement,
    Omission,
    audit_model,
    build_audit_page,
    build_audit_table,
    read_run_record,
    render_page,
)
from auxo.reporting.colours import run_styles
from auxo.reporting.judgement import shift_columns
from auxo.reporting.sections import shift_section
from auxo.runs.model import load_model, splits_of
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.types import Column

EVIL = ("<img src=x onerror=alert(1)>", "{{ 7000 * 7 }}", "<b>bold<")


@pytest.fixture(scope="module")
def subject(finished_run):
    """A model and all images of its run, with a column of names that would be markup and one of the class itself."""
    config = read_run_config(finished_run)
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        model = load_model(config, finished_run, runtime=runtime)
        source = splits_of(config).train.source
        count = len(source)
        marks = Column(torch.arange(count) * 7 % 3, EVIL)
        twins = Column(source.columns["label"].values, tuple(f"of {name}" for name in source.vocabulary["label"]))
        source = source.with_columns({**source.columns, EVIL[0]: marks, "twin": twins})
        yield Subject(model, source, "a run", "test", runtime, 64)


@pytest.fixture(scope="module")
def audit(subject):
    config, show = AuditConfig(permutations=19, fewest=2), ExplainConfig(per_class=1)
    return audit_model(subject, TestSplit(subject.source), [EVIL[0], "twin"], config=config, show=show)


@pytest.fixture(scope="module")
def html(audit):
    return render_page(build_audit_page(audit))


def test_page__tables__are_those_of_the_audit(audit, html, read_page):
    page = read_page(html)
    assert [list(line) for line in build_audit_table(audit).lines] == page.tables["The columns"][1:]
    own = audit.columns[0].audit
    header, *lines = page.tables[f"By class and {EVIL[0]}"]
    assert header == ["class", EVIL[0], "images", "accuracy, %", "compared"]
    expected = [
        [cell.stratum, cell.value, str(cell.n), f"{100 * cell.mean:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]"]
        for cell in own.cells
    ]
    assert [line[:4] for line in lines] == expected


def test_page__hostile_names__stay_text(html, read_page):
    page = read_page(html)
    assert not [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("src") == "x"]
    assert "49000" not in html
    assert "<b>bold<" not in html
    assert any(EVIL[0] in text for _, text in page.headings)


def test_page__a_column_that_the_class_decides__says_so_and_shows_no_test(audit, html, read_page):
    twin = audit.columns[1]
    assert (twin.audit.verdict, twin.audit.predictions) == ("cannot tell", None)
    assert isinstance(twin.curve, Omission)
    texts = " ".join(read_page(html).texts)
    assert "Every class has one value only: the class decides what the column says." in texts
    assert "Left out: expected images on test that can be weighted by 'twin'" in texts
    assert build_audit_table(audit).lines[1][2:] == ("-", "-", "-", "-", "-")


def test_page__saliency__has_the_mean_of_every_value_of_one_class_before_its_examples(audit):
    found = audit.columns[0].saliency
    assert {group.value for group in found.groups} <= set(EVIL)
    right = [group for group in found.groups if group.value == EVIL[1]]
    assert all(len(group.examples) == 1 for group in right)
    for group in found.groups:
        assert group.mean.pixels.shape == group.examples[0].pixels.shape
        assert 0 <= group.mean.attention.min() <= group.mean.attention.max() <= 1


@pytest.fixture
def record_of():
    """A run, a judgement of it that holds nothing but shifts, and its style."""

    def make(folder, shifts):
        record = read_run_record(folder, read_run_config(folder), name="run")
        judgement = Judgement(0, (), {}, "semantic", Omission(""), Omission(""), shifts)
        return record, judgement, run_styles([[record]])

    return make


def test_shift_columns__of_a_report__every_further_column_or_why_not(subject):
    split = TestSplit(subject.source)
    scores = subject.reader.scores(split)["semantic"]
    found = shift_columns(subject.reader, split, scores, head="semantic", train=TrainSplit(subject.source))
    assert list(found) == [EVIL[0], "twin"]
    assert found[EVIL[0]].split == "test"
    assert isinstance(found["twin"], Omission)


def test_shift_section__columns__a_chart_for_every_measure_and_a_reason_for_what_is_left_out(
    subject, finished_run, record_of
):
    split = TestSplit(subject.source)
    scores = subject.reader.scores(split)["semantic"]
    found = shift_columns(subject.reader, split, scores, head="semantic", train=TrainSplit(subject.source))
    run, judgement, styles = record_of(finished_run, found)
    section = shift_section([run], [judgement], styles)
    first, second = section.parts
    charts, table = first.blocks
    assert [chart.title for chart in charts.panels] == [
        "accuracy, %", f"worst value/{EVIL[0]}, %", f"worst group/{EVIL[0]}, %"
    ]  # fmt: skip
    (trace,) = charts.panels[0].figure["data"]
    values = [100 * point.measures["accuracy"].value for point in found[EVIL[0]].points]
    assert list(trace["y"]) == pytest.approx(values, rel=1e-4)
    assert list(trace["error_y"]["array"]) == pytest.approx(
        [100 * (point.measures["accuracy"].high - point.measures["accuracy"].value) for point in found[EVIL[0]].points],
        rel=1e-3,
    )
    assert len(table.lines) == 10
    assert "left out" in second.sentences[0]
    assert shift_section([run], [record_of(finished_run, {})[1]], styles) is None
