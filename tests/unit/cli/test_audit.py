"""``auxo audit``: page, records and table of columns that a run was trained without, and what is refused."""

import csv
import json
import re

import pytest


def read_records(folder):
    return json.loads((folder / "audit.json").read_text())


@pytest.fixture(scope="module")
def audited(grounds_run):
    """The folder of an audit of two columns, and what the command said."""
    import contextlib
    import io

    from auxo.cli import main

    said = io.StringIO()
    words = ["audit", str(grounds_run), "--columns", "ground,day", "--permutations", "19", "--fewest", "3"]
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    return grounds_run / "audit" / "test", said.getvalue()


def test_audit__two_columns__table_reasons_and_where_the_files_are(audited):
    folder, said = audited
    assert re.search(r"│ ground +│", said)
    assert re.search(r"│ day +│", said)
    assert "corrected for 4 tests (Holm)" in " ".join(said.split())
    assert re.search(r"^day: [a-z ]+: day is a quantity, cut into 4 ranges of like many images; ", said, re.MULTILINE)
    assert said.endswith(
        f"page: {folder / 'audit.html'}\nrecords: {folder / 'audit.json'}\ncells: {folder / 'audit.csv'}\n"
    )


def test_audit__records__hold_all_and_the_cells_agree_with_the_csv(audited):
    folder, _ = audited
    record = read_records(folder)
    assert (record["split"], record["n"], record["measure"]) == ("test", 80, "accuracy")
    ground, day = record["columns"]
    assert (ground["values"], day["is_binned"]) == (["land", "sea"], True)
    assert sum(cell["n"] for cell in ground["cells"]) == 80
    assert [row["strength"] for row in ground["shift"]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    tests = [test for each in (ground, day) for test in (each["predictions"], each["embeddings"]["test"])]
    assert all(test["p"] <= test["p_holm"] <= 1 for test in tests)
    with (folder / "audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ground["cells"]) + len(day["cells"])
    assert float(rows[0]["mean"]) == ground["cells"][0]["mean"]


def test_audit__page__has_a_section_for_every_column_and_asks_nobody(audited):
    html = (audited[0] / "audit.html").read_text(encoding="utf-8")
    assert re.search(r"<h1>Does supervised on lenet5 \(run\) lean on ground and day\?</h1>", html)
    for text in ("By value and class", "By strength", "What the model looks at", "How this is measured"):
        assert text in html
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//", html)


def test_audit__a_set_with_the_column_and_a_folder__are_taken(auxo, grounds_run, grounds_list, tmp_path):
    words = ("--data", grounds_list, "--columns", "ground", "--permutations", "19", "--out", tmp_path / "found")
    answer = auxo("audit", grounds_run, *words)
    assert answer.code == 0, answer.err
    record = read_records(tmp_path / "found")
    assert (record["split"], record["n"]) == ("ood/list", 160)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected further columns of the data, got none: name some, as auxo audit "),
        (("--columns", "grond"), "got the columns path, label, ground, day in "),
        (("--columns", "grond"), "did you mean ground?"),
        (("--columns", "label"), "further columns in data.columns, got label: leave the labels out"),
        (("--columns", "ground,ground"), "each of data.columns once"),
        (("--columns", "ground", "--split", "train"), "got 'train': pass --split with one of val, test"),
        (("--columns", "ground", "--split", "val", "--data", "x.csv"), "one of --split and --data"),
        (("--columns", "ground", "--data", "x.csv"), "'x.csv', which is not there"),
        (("--columns", "ground", "--permutations", "3"), "permutations >= 19, got 3"),
        (("--columns", "ground", "--data.unknown", "ignore"), "--data beside --data.unknown"),
        (("--column", "ground"), "did you mean --columns"),
    ],
)
def test_audit__what_cannot_be__is_refused_in_one_line(auxo, grounds_run, words, message):
    answer = auxo("audit", grounds_run, *words)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_audit__no_run__is_refused_before_anything_is_read(auxo, tmp_path):
    answer = auxo("audit", tmp_path / "none", "--columns", "ground")
    assert answer.code == 2
    assert "expected a run directory" in answer.err
