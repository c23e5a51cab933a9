"""``auxo estimate`` as a user types it, rightly and wrongly."""

import json

import pytest

from auxo.data.fake import oriented_shapes

FEW = ("--sets", "40", "--images", "20", "--resamples", "100", "--device", "cpu")


def test_estimate__folder_without_labels__table_and_file(auxo, place, write_picture):
    for number, image in enumerate(oriented_shapes(12, size=40, seed=3).images):
        write_picture(place.root / "new" / f"{number}.png", image)
    answer = auxo("estimate", place.run, place.root / "new", *FEW)
    assert answer.code == 0, answer.err
    assert "combined" in answer.out
    assert "note: 16 validation images are few" in answer.out
    assert answer.out.splitlines()[-1] == f"estimates: {place.run / 'estimate.jsonl'}"
    rows = [json.loads(line) for line in (place.run / "estimate.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows].count("set") == 40
    assert sum(row["is_default"] for row in rows if row["kind"] == "estimate") == 1


def test_estimate__twice_and_with_class_folders__keeps_the_first_and_says_that_labels_are_not_used(auxo, place):
    for _ in range(2):
        answer = auxo("estimate", place.run, place.shapes, *FEW)
        assert answer.code == 0, answer.err
    assert "called as classes, which was not used" in answer.out
    first, second = (place.run / name for name in ("estimate-1.jsonl", "estimate.jsonl"))
    assert first.read_text() == second.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "sets of images"),
        (("nowhere",), "nowhere"),
        (("pictures", "--sets", "3"), "sets >= 40"),
        (("pictures", "--images", "0"), "images >= 5"),
        (("pictures", "--batch-size", "0"), r"batch-size in \[1, 65536\]"),
        (("pictures", "--resamples", "1"), "resamples >= 100"),
        (("pictures", "--out", "absent/x.jsonl"), "absent"),
        (("pictures", "--nonsense"), "options of auxo estimate"),
    ],
)
def test_estimate__bad_input__one_line(assert_refused, place, words, says):
    assert place.pictures.name == "pictures"
    assert_refused("estimate", place.run, *words, says=says)


def test_estimate__no_run__one_line(assert_refused, place):
    assert_refused("estimate", "nothing-here", "x", says="a run directory")
