"""``auxo evaluate --shift`` on a run that was trained without the column: rows, table, what is refused."""

import csv
import json

import pytest

from auxo.data.fake import SHAPES


@pytest.fixture(scope="module")
def listed(shapes_folder, tmp_path_factory):
    """A CSV of the images with a ground that mostly goes with the class, and the day of each."""
    files = sorted(shapes_folder.rglob("*.png"), key=lambda file: file.name)
    names = sorted({file.parent.name for file in files})
    rows = []
    for number, file in enumerate(files):
        is_odd = (names.index(file.parent.name) + (number // 4 % 4 == 0)) % 2
        rows.append([str(file), file.parent.name, "land" if is_odd else "sea", number])
    path = tmp_path_factory.mktemp("list") / "list.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "ground", "day"], *rows])
    return path


@pytest.fixture(scope="module")
def run(listed, tiny_options, tmp_path_factory):
    from auxo.cli import main

    out = tmp_path_factory.mktemp("runs") / "run"
    data = ("--data.train", str(listed), "--data.test-fraction", "0.5")
    with pytest.raises(SystemExit) as stop:
        main(["train", "supervised", *data, *tiny_options, "--out", str(out)])
    assert stop.value.code == 0
    return out


def rows_of(run):
    return [json.loads(line) for line in (run / "shift.jsonl").read_text().splitlines()]


def test_shift__a_column_of_the_data__every_strength_with_intervals_and_a_caption(auxo, run):
    answer = auxo("evaluate", run, "--shift", "ground")
    assert answer.code == 0, answer.err
    rows = rows_of(run)
    assert [row["strength"] for row in rows] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    assert {row["split"] for row in rows} == {"test"}
    assert set(rows[0]["usual"].values()) == {"land", "sea"}
    assert "as on train: " in answer.out
    assert answer.out.endswith(f"results: {run / 'shift.jsonl'}\n")


def test_shift__sets_strengths_and_pairs_of_ones_own__are_taken(auxo, run, listed):
    pairs = [f"{name}=sea" for name in SHAPES]
    answer = auxo("evaluate", run, "--shift", "ground", "--data", listed, "--strengths", "0", "1", "--pairs", *pairs)
    assert answer.code == 0, answer.err
    rows = rows_of(run)
    assert [row["strength"] for row in rows] == [0.0, 1.0]
    assert set(rows[0]["usual"].values()) == {"sea"}
    assert rows[0]["n"] == 160
    assert "ground that is usual in its class (given: " in " ".join(answer.out.split())


def test_shift__a_quantity__is_cut_into_ranges(auxo, run, listed):
    answer = auxo("evaluate", run, "--shift", "day", "--data", listed)
    assert answer.code == 0, answer.err
    assert "day is cut into 4 ranges" in " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shift", "grund"), "did you mean ground?"),
        (("--strengths", "0.5"), "--shift beside --strengths and --pairs"),
        (("--shift", "ground", "--probe", "knn"), "--shift without --probe, --corruptions and --attack"),
        (("--shift", "ground", "--pairs", "cat"), "--pairs of a class and its usual value, got 'cat'"),
        (("--shift", "ground", "--strengths", "2"), "strengths in [0, 1], got 2.0"),
        (("--shift", "ground", "--split", "tset"), "a split of val, test"),
    ],
)
def test_shift__what_cannot_be__is_refused_in_one_line(auxo, run, words, message):
    answer = auxo("evaluate", run, *words)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
