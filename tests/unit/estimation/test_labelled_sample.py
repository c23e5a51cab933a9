"""Intervals of a few labels, and the file that they are written in."""

import csv

import numpy as np
import pytest
from scipy.stats import binom

from auxo.errors import DataError
from auxo.estimation import LabelledSample, draw_order, exact_interval, read_labelled, sequential_interval

IMAGES = ("a.png", "=b.png", "c.png", "d.png")


@pytest.mark.parametrize(("right", "count"), [(1, 50), (25, 50), (49, 50)])
def test_exact_interval__its_ends__leave_half_of_the_rest_in_each_tail(right, count):
    low, high = exact_interval(right, count, confidence=0.95)
    assert binom.sf(right - 1, count, low) == pytest.approx(0.025)
    assert binom.cdf(right, count, high) == pytest.approx(0.025)


@pytest.mark.parametrize("size", [60, 1797])
@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.97, 0.99])
def test_exact_interval__two_thousand_draws_of_fifty__holds_the_accuracy(size, accuracy):
    right = round(accuracy * size)
    intervals = np.array([exact_interval(found, 50, confidence=0.95) for found in range(51)])
    found = np.random.default_rng(0).hypergeometric(right, size - right, 50, size=2000)
    low, high = intervals[found].T
    assert np.mean((low <= right / size) & (right / size <= high)) >= 0.95 - 0.015


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.975])
def test_sequential_interval__looked_at_after_each_label__holds_the_accuracy_at_all_looks(accuracy):
    size, generator = 40, np.random.default_rng(1)
    right = round(accuracy * size)
    answers = np.array([generator.permutation([1] * right + [0] * (size - right)) for _ in range(1000)])
    holds = np.ones((size + 1, size + 1), dtype=bool)
    for count in range(1, size + 1):
        for found in range(max(0, right - size + count), min(count, right) + 1):
            low, high = sequential_interval(found, count, size, confidence=0.95)
            holds[count, found] = low <= right / size <= high
    looks = holds[np.arange(1, size + 1), answers.cumsum(1)]
    assert looks.all(1).mean() >= 0.95 - 0.02
    assert not looks.all()


def test_sequential_interval__all_labelled__is_the_accuracy():
    assert sequential_interval(9, 12, 12, confidence=0.99) == (0.75, 0.75)


def test_draw_order__of_one_seed__each_image_once_and_always_the_same():
    order = draw_order(100, seed=3)
    assert sorted(order) == [*range(100)]
    assert order == draw_order(100, seed=3)
    assert order != draw_order(100, seed=4)
    assert order != sorted(order)


def fill(path, labels):
    """Write labels into a file as a person does."""
    rows = [*csv.reader(path.read_text().splitlines())]
    for row, label in zip(rows[1:], labels, strict=False):
        row[rows[0].index("label")] = label
    path.write_text("".join(",".join(row) + "\n" for row in rows))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(LabelledSample((), ()).extend(IMAGES[:3]).to_csv())
    return path


def test_read_labelled__whole__as_planned_and_labels_in_order(file):
    fill(file, ["cat", "dog", "cat"])
    sample = read_labelled(file, IMAGES)
    assert sample.labels == ("cat", "dog", "cat")
    assert sample.images == IMAGES[:3]
    assert sample.is_as_planned


def test_read_labelled__not_all_are_labelled__not_as_planned(file):
    fill(file, ["cat", "dog"])
    assert not read_labelled(file, IMAGES).is_as_planned


def test_extend__after_a_look__labels_stay_and_it_is_not_as_planned(file):
    fill(file, ["cat", "dog", "cat"])
    file.write_text(read_labelled(file, IMAGES).extend(IMAGES).to_csv())
    fill(file, ["cat", "dog", "cat", "dog"])
    sample = read_labelled(file, IMAGES)
    assert sample.labels == ("cat", "dog", "cat", "dog")
    assert not sample.is_as_planned


@pytest.mark.parametrize(
    ("labels", "order", "says"),
    [
        (["cat", "", "dog"], IMAGES, "label from the top"),
        (["cat"], ("c.png", *IMAGES[:2]), r"'c.png' in line 2 of .*labels.csv, got 'a.png'"),
        (["cat"], IMAGES[:2], "no more images"),
    ],
)
def test_read_labelled__a_choice_or_other_images__refused(file, labels, order, says):
    fill(file, labels)
    with pytest.raises(DataError, match=says):
        read_labelled(file, order)


def test_read_labelled__another_table__refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("path,label\na.png,cat\n")
    with pytest.raises(DataError, match="with the columns number, image, label, planned"):
        read_labelled(path, IMAGES)
