"""``auxo evaluate --shift`` on a run that was trained without the column: rows, table, what is refused."""

import json

import pytest

from auxo.data.fake import SHAPES


def rows_of(run):
    return [json.loads(line) for line in (run / "shift.jsonl").read_text().splitlines()]


def test_shift__a_column_of_the_data__every_strength_with_intervals_and_a_caption(auxo, grounds_run):
    answer = auxo("evaluate", grounds_run, "--shift", "ground")
    assert answer.code == 0, answer.err
    rows = rows_of(grounds_run)
    assert [row["strength"] for row in rows] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    assert {row["split"] for row in rows} == {"test"}
    assert set(rows[0]["usual"].values()) == {"land", "sea"}
    assert "as on train: " in answer.out
    assert answer.out.endswith(f"results: {grounds_run / 'shift.jsonl'}\n")


def test_shift__sets_strengths_and_pairs_of_ones_own__are_taken(auxo, grounds_run, grounds_list):
    pairs = [f"{name}=sea" for name in SHAPES]
    answer = auxo(
        "evaluate", grounds_run, "--shift", "ground", "--data", grounds_list, "--strengths", "0", "1", "--pairs", *pairs
    )
    assert answer.code == 0, answer.err
    rows = rows_of(grounds_run)
    assert [row["strength"] for row in rows] == [0.0, 1.0]
    assert set(rows[0]["usual"].values()) == {"sea"}
    assert rows[0]["n"] == 160
    assert "ground that is usual in its class (given: " in " ".join(answer.out.split())


def test_shift__a_quantity__is_cut_into_ranges(auxo, grounds_run, grounds_list):
    answer = auxo("evaluate", grounds_run, "--shift", "day", "--data", grounds_list)
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
def test_shift__what_cannot_be__is_refused_in_one_line(auxo, grounds_run, words, message):
    answer = auxo("evaluate", grounds_run, *words)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
