"""``auxo report``: what it writes, prints and refuses."""

import json
import shutil

import pytest

FEW = ("--per-class", 1, "--num-points", 20, "--device", "cpu")


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished_run, tmp_path / "runs" / "one")


def test_report__one_run__is_a_page_in_its_directory(auxo, run):
    answer = auxo("report", run, *FEW)
    assert answer.code == 0, answer.err
    page = run / "report.html"
    assert answer.out.splitlines() == [f"report: {page} ({len(page.read_bytes()) / 1e6:.1f} MB; open it in a browser)"]
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert not list(run.glob(".report*"))


def test_report__several_runs__is_a_page_in_the_folder_that_holds_them(auxo, run, monkeypatch):
    other = shutil.copytree(run, run.parent / "two")
    monkeypatch.chdir(run.parent.parent)
    answer = auxo("report", "runs/one", "runs/two", *FEW)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("report: runs/report.html (")
    text = (run.parent / "report.html").read_text()
    assert ">one</" in text
    assert ">two</" in text
    assert not (other / "report.html").exists()


def test_report__out__is_where_the_page_is_and_the_same_twice(auxo, run, tmp_path):
    pages = [tmp_path / name for name in ("first.html", "second.html")]
    for page in pages:
        assert auxo("report", run, *FEW, "--out", page).code == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert not (run / "report.html").exists()


def test_report__unfinished_run__is_refused_in_one_line(auxo, run):
    path = run / "records.jsonl"
    rows = [line for line in path.read_text().splitlines() if json.loads(line)["kind"] in ("losses", "evaluation")]
    path.write_text("\n".join(rows) + "\n")
    answer = auxo("report", run, *FEW)
    assert answer.code == 2
    assert answer.err == f"auxo: expected a finished run in {run}, got one that is not: auxo train --resume {run}\n"
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (lambda run: [], "expected run directories, got none: name them"),
        (lambda run: [run / "missing"], "expected a run directory at"),
        (lambda run: [run, run / "missing"], "expected a run directory at"),
        (lambda run: [run, f"{run}/"], "expected different run directories, got"),
        (lambda run: [run, "--out", run], "expected a file for --out, got"),
        (lambda run: [run, "--out", run / "no" / "page.html"], "no folder"),
        (lambda run: [run, "--batch-size", 0], "expected --batch-size in [1, 65536], got 0"),
        (lambda run: [run, "--per-class", 0], "expected --per-class in [1, 20], got 0"),
        (lambda run: [run, "--theme", "dark"], "unrecognized options: --theme"),
    ],
)
def test_report__bad_input__is_refused_before_any_work(auxo, run, words, says):
    answer = auxo("report", *words(run))
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert says in answer.err
    assert not list(run.parent.rglob("report.html"))
