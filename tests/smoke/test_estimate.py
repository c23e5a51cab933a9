"""``auxo estimate`` as a user types it, rightly and wrongly."""

import csv
import json
from pathlib import Path

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


def fill_labels(path, label_of):
    """Label the images of a file as a person does."""
    rows = [*csv.DictReader(path.read_text().splitlines())]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "label": label_of(row["image"])} for row in rows)


def test_estimate__labels_of_a_draw__are_the_measure_of_the_predictions(auxo, place):
    answer = auxo("estimate", place.run, place.shapes, "--labels", 12)
    assert answer.code == 0, answer.err
    file = place.run / f"labels-{place.shapes.name}.csv"
    assert f"fill in the column label of {file}" in answer.out
    fill_labels(file, lambda image: Path(image).parent.name)
    answer = auxo("estimate", place.run, place.shapes, "--labels", file)
    assert answer.code == 0, answer.err
    rows = [*csv.DictReader(file.read_text().splitlines())]
    assert auxo("predict", place.run, *(row["image"] for row in rows), "--out", place.root / "told.csv").code == 0
    told = {
        row["path"]: row["prediction"] for row in csv.DictReader((place.root / "told.csv").read_text().splitlines())
    }
    right = sum(told[row["image"]] == row["label"] for row in rows)
    found = json.loads((place.run / "labelled.jsonl").read_text())
    assert (found["right"], found["count"], found["is_as_planned"]) == (right, 12, True)
    assert f"{right} of 12 labelled images" in answer.out
    assert "exact (Clopper-Pearson)" in answer.out


def test_estimate__more_labels_after_a_look__another_interval(auxo, place):
    file = place.root / "mine.csv"
    for number in (4, 6):
        assert auxo("estimate", place.run, place.shapes, "--labels", number, "--out", file).code == 0
        fill_labels(file, lambda image: Path(image).parent.name)
    answer = auxo("estimate", place.run, place.shapes, "--labels", file)
    assert "for any number of labels (prior-posterior ratio)" in answer.out


@pytest.mark.parametrize(
    ("labels", "says"),
    [("0", "--labels of 1 to"), ("99999", "--labels of 1 to"), ("absent.csv", "absent.csv")],
)
def test_estimate__labels_that_cannot_be__one_line(assert_refused, place, labels, says):
    assert_refused("estimate", place.run, place.shapes, "--labels", labels, says=says)


def test_estimate__label_that_is_no_class__one_line(auxo, assert_refused, place):
    file = place.root / "mine.csv"
    assert auxo("estimate", place.run, place.shapes, "--labels", 4, "--out", file).code == 0
    assert_refused("estimate", place.run, place.shapes, "--labels", file, says="labels in .*, got none")
    fill_labels(file, lambda _image: "giraffe")
    assert_refused("estimate", place.run, place.shapes, "--labels", file, says="got 'giraffe': write one of")
