"""``auxo evaluate`` under corruptions and under attack: tables, files, refusals."""

import json
import shutil

import pytest

from auxo.data.corruptions import KINDS


@pytest.fixture
def run_folder(finished_run, tmp_path):
    """A finished run of its own for each test."""
    return shutil.copytree(finished_run, tmp_path / "run")


def rows_of(path):
    """Return the JSON objects of a file, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evaluate__corruptions__writes_every_kind_and_mean_and_nothing_else(auxo, run_folder):
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    answer = auxo("evaluate", run_folder, "--corruptions")
    assert answer.code == 0
    assert f"results: {run_folder / 'corruptions.jsonl'}" in answer.out
    assert all(kind in answer.out for kind in KINDS)
    rows = rows_of(run_folder / "corruptions.jsonl")
    assert len(rows) == 3 * (1 + 75 + 15 + 5 + 1)
    assert rows[0]["split"] == "test"
    assert rows[-1]["split"] == "corruption/mean"
    after = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {run_folder / "corruptions.jsonl"}
    assert {path: after[path] for path in before} == before


def test_evaluate__some_corruptions_twice__gives_the_same_file(auxo, run_folder, tmp_path):
    words = ("--corruptions", "--kinds", "fog", "snow", "--severities", 2, 4, "--split", "val", "--images", 9)
    for name in ("a", "b"):
        assert auxo("evaluate", run_folder, *words, "--out", tmp_path / name).code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    rows = rows_of(tmp_path / "a")
    assert (rows[0]["split"], rows[0]["n"]) == ("val", 9)
    assert {row["split"] for row in rows} >= {"corruption/fog/2", "corruption/snow/4", "corruption/snow/mean"}
    assert len(rows) == 3 * (1 + 4 + 2 + 2 + 1)


def test_evaluate__published_strengths__have_a_file_and_rows_of_their_own(auxo, run_folder):
    words = ("--corruptions", "--kinds", "contrast", "--images", 9, "--corruption-strengths", "cifar10_c")
    answer = auxo("evaluate", run_folder, *words)
    assert answer.code == 0
    assert "own renderings, at the strengths of cifar10_c: numbers do not" in " ".join(answer.out.split())
    rows = rows_of(run_folder / "corruptions-cifar10_c.jsonl")
    assert rows[-1]["split"] == "corruption-cifar10_c/mean"
    assert {row["split"] for row in rows} >= {"test", "corruption-cifar10_c/contrast/5"}
    assert not [row for row in rows if row["split"].startswith("corruption/")]


def test_evaluate__attacks__have_clean_accuracy_beside_and_the_worst_case(auxo, run_folder):
    pytest.importorskip("foolbox", exc_type=ImportError, reason="foolbox is not installed (extra auxo[robust])")
    answer = auxo("evaluate", run_folder, "--attack", "pgd_margin,pgd", "--attack.pgd.steps", 3, "--epsilon", 0.1)
    assert answer.code == 0
    assert "Attacks by foolbox within 0.1 (25.5/255)" in " ".join(answer.out.split())
    rows = rows_of(run_folder / "attacks.jsonl")
    assert [row["split"] for row in rows] == ["test", "test/pgd_margin", "test/pgd", "test/all_attacks"]
    assert {row["head"] for row in rows} == {"semantic"}
    clean, _, pgd, worst = (row["measures"]["accuracy"]["value"] for row in rows)
    assert clean >= pgd >= worst
    assert {row["settings"]["epsilon"] for row in rows} == {0.1}
    assert {(each["name"], each["steps"]) for each in rows[0]["settings"]["attacks"]} == {
        ("pgd", 3),
        ("pgd_margin", 20),
    }


def test_evaluate__again__keeps_earlier_results(auxo, run_folder):
    for count in (4, 5, 6):
        assert auxo("evaluate", run_folder, "--split", "val", "--images", count).code == 0
    names = ("evaluation-1.jsonl", "evaluation-2.jsonl", "evaluation.jsonl")
    assert [rows_of(run_folder / name)[0]["n"] for name in names] == [4, 5, 6]


def test_evaluate__pictures_of_ones_own__are_attacked_too(auxo, run_folder, shapes_folder):
    pytest.importorskip("foolbox", exc_type=ImportError, reason="foolbox is not installed (extra auxo[robust])")
    words = (
        "--data",
        shapes_folder,
        "--images",
        8,
        "--attack",
        "all",
        "--attack.pgd.steps",
        2,
        "--attack.pgd-margin.steps",
        2,
    )
    assert auxo("evaluate", run_folder, *words).code == 0
    rows = rows_of(run_folder / "attacks.jsonl")
    assert len(rows) == 8
    assert {row["split"].split("/")[1] for row in rows} == {shapes_folder.name}
    assert {row["n"] for row in rows} == {8}


def test_evaluate__one_split__is_the_only_one(auxo, run_folder):
    assert auxo("evaluate", run_folder, "--split", "test", "--images", 1000).code == 0
    assert {(row["split"], row["n"]) for row in rows_of(run_folder / "evaluation.jsonl")} == {
        ("test", 16),
        ("test", 64),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--corruptions", "--attack", "pgd"), "expected --corruptions or --attack, got both"),
        (("--attack", "fgsm"), "one of auxo's attacks, got 'fgsm'"),
        (("--attack", "pgd", "--epsilon", 8), "epsilon in (0, 1]"),
        (("--attack", "pgd", "--attack.pgd.steps", 0), "--attack.pgd.steps >= 1, got 0"),
        (
            ("--attack", "noise", "--attack.noise.steps", 3),
            "--attack momentum or pgd or pgd_margin only, got --attack noise",
        ),
        (("--attack", "pgd", "--attack.fmn.steps", 3), "--attack fmn beside --attack.fmn.steps, got --attack pgd"),
        (("--attack.pgd.steps", 3), "--attack pgd beside --attack.pgd.steps, got none"),
        (("--corruptions", "--kinds", "fogg"), "did you mean fog"),
        (("--corruptions", "--severities", 7), "severity from 1 (mild) to 5 (strong)"),
        (("--corruptions", "--kinds"), "a kind and a severity"),
        (("--corruptions", "--images", 2), "parts of at least 4 images, one per class"),
        (("--images", 0), "images >= 1"),
        (("--kinds", "fog"), "expected --corruptions beside --kinds, --severities and --corruption-strengths"),
        (("--attack", "pgd", "--severities", 1), "expected --corruptions beside --kinds, --severities and"),
        (("--corruption-strengths", "cifar10_c"), "expected --corruptions beside --kinds, --severities and"),
        (("--corruptions", "--corruption-strengths", "cifar"), "cifar10_c"),
        (("--epsilon", 0.1), "expected --attack beside --epsilon"),
        (("--split", "tset"), "expected a split of val, test, got 'tset'"),
        (("--split", "test", "--data", "x"), "expected --data or --split, got both"),
        (("--corruptions", "--data", "x", "y"), "one set under --corruptions, got 2"),
    ],
)
def test_evaluate__what_cannot_be_done__is_refused_in_one_line(auxo, run_folder, words, said):
    answer = auxo("evaluate", run_folder, *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not list(run_folder.glob("attacks.jsonl")) + list(run_folder.glob("corruptions.jsonl"))
