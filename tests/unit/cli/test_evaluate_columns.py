"""``auxo evaluate`` grouped by columns that the run was made without, some of whose values are missing."""

import csv
import json

import pytest

from auxo.cli.evaluate import Options
from auxo.errors import ConfigError


def write_list(folder, path, *, labelled=160):
    """Write a CSV of the images, every fourth without a background; the first so many have a label."""
    files = sorted(folder.rglob("*.png"), key=lambda file: file.name)
    rows = [
        [str(file), file.parent.name if number < labelled else "", "" if number % 4 == 0 else "land"]
        for number, file in enumerate(files)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "background"], *rows])
    return path


def rows_of(path):
    """Return the rows that the command wrote."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(params=["refuse", "ignore"])
def run(request, auxo, shapes_folder, tiny_options, tmp_path):
    """A run without columns under either choice about unknown values."""
    data = ("--data.train", write_list(shapes_folder, tmp_path / "list.csv"), "--data.unknown", request.param)
    answer = auxo("train", "supervised", *data, *tiny_options, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    return tmp_path / "run"


def test_columns__values_missing__keep_every_image_and_make_a_group(auxo, run):
    answer = auxo("evaluate", run, "--columns", "background")
    assert answer.code == 0, answer.err
    rows = [row for row in rows_of(run / "evaluation.jsonl") if row["head_kind"] == "task"]
    assert [row["split"] for row in rows] == ["val", "test"]
    for row in rows:
        parts = row["parts"]["background"]
        assert list(parts) == ["land", "(none)"]
        assert sum(count for count, _ in parts.values()) == row["n"] == 16
    assert auxo("evaluate", run).code == 0
    plain = [row for row in rows_of(run / "evaluation.jsonl") if row["head_kind"] == "task"]
    assert [row["measures"]["accuracy"] for row in plain] == [row["measures"]["accuracy"] for row in rows]


@pytest.mark.parametrize("run", ["refuse"], indirect=True)
def test_data__labels_missing__are_left_out_as_the_error_says(auxo, run, shapes_folder, tmp_path):
    words = ("evaluate", run, "--data", write_list(shapes_folder, tmp_path / "other.csv", labelled=100))
    answer = auxo(*words)
    assert answer.code == 2
    assert answer.err.rstrip().endswith("leave such images out with --data.unknown ignore")
    answer = auxo(*words, "--data.unknown", "ignore", "--columns", "background")
    assert answer.code == 0, answer.err
    assert "left out 60 of 160 images of 'other': 60 without a value of 'label'" in answer.out
    row = rows_of(run / "evaluation.jsonl")[0]
    assert (row["n"], list(row["parts"]["background"])) == (100, ["land", "(none)"])


def test_unknown__of_the_runs_own_sets__is_refused():
    with pytest.raises(ConfigError, match=r"--data beside --data\.unknown, got none"):
        Options(run="run", unknown="ignore")
