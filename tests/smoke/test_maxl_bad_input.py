"""What a user of MAXL gets wrong: one line that says what was expected, what came and what to do."""

import csv
import io
import re

import pytest

# Options, and what the refusal says before anything is written.
OPTIONS = {
    "sub_classes_of_other_classes": ("--method.sub-classes 2 3", r"for each of 4 classes, each >= 1, got 2, 3"),
    "sub_classes_zero": ("--method.sub-classes 0", r"sub-classes >= 1, got 0"),
    "alpha_zero": ("--method.alpha 0", r"--method.alpha > 0, got 0"),
    "alpha_negative": ("--method.alpha -0.1", r"--method.alpha > 0, got -0.1"),
    "meta_split_missing": ("--method.outer meta", r"a meta split for this method, got none: .*meta-fraction"),
    "column_without_its_name": ("--method.labels column", r"column with labels column"),
    "column_with_other_labels": ("--method.column fine", r"column with labels column"),
    "column_that_is_not_there": ("--method.labels column --method.column fine", r"fine"),
    "clusters_without_k_means": ("--method.clusters-of backbone", r"clusters-of with labels k_means"),
    "labels_of_no_earlier_stage": ("--method.labels earlier", r"the generator of an earlier stage for maxl, got none"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options__that_cannot_be__are_refused_before_anything_is_written(assert_refused, place, name):
    words, says = OPTIONS[name]
    options = (*place.tiny_options, "--out", place.out)
    assert_refused("train", "maxl", "--data.train", place.shapes, *options, *words.split(), says=says)


def write_tables(place, make_fine, *, lone=False):
    """Write images with a column ``fine``, and return options that train on half; perhaps with a class of one image."""
    rows = [(path, path.parent.name, make_fine(path.parent.name)) for path in sorted(place.shapes.rglob("*.png"))]
    parts = {"train": rows[::2], "val": rows[1::2]}
    if lone:
        first = next(row for row in parts["train"] if row[1] == "tee")
        parts["train"] = [row for row in parts["train"] if row[1] != "tee" or row is first]
    words = [*place.tiny_options, "--out", place.out]
    for name, part in parts.items():
        text = io.StringIO()
        csv.writer(text).writerows([("path", "label", "fine"), *part])
        words += [f"--data.{name}", place.write(f"{name}.csv", text.getvalue())]
    return words


COLUMN = ("--method.labels", "column", "--method.column", "fine", "--data.columns", "fine")
# Options, the column, whether a class has one image, and what the refusal says, when the images have been looked at.
FOUND_LATER = {
    "column_of_one_value": (COLUMN, lambda _: "all", False, r"column fine whose values lie within one class each"),
    "k_means_of_a_lone_image": (
        ("--method.labels", "k_means"),
        str,
        True,
        r"as many images as sub-classes in every class, got 1 images in class 2 of 5 sub-classes",
    ),
}


@pytest.mark.parametrize("name", FOUND_LATER)
def test_images__that_labels_cannot_be_made_for__are_refused(auxo, place, name):
    words, make_fine, lone, says = FOUND_LATER[name]
    answer = auxo("train", "maxl", *write_tables(place, make_fine, lone=lone), *words)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert re.fullmatch(r"auxo: expected .+, got .+: .+", line), line
    assert re.search(says, line), line


@pytest.mark.parametrize("labels", ["generated", "random", "uniform"])
def test_images__class_of_one__other_labels_are_made_for_it(auxo, place, labels):
    answer = auxo("train", "maxl", *write_tables(place, str, lone=True), "--method.labels", labels)
    assert answer.code == 0, answer.err


def test_precision__bfloat16__trains_and_is_measured(auxo, place):
    words = (*place.tiny_options, "--out", place.out, "--runtime.precision", "bf16", "--device", "cpu")
    answer = auxo("train", "maxl", "--data.train", place.shapes, *words, "--method.hidden", "16")
    assert answer.code == 0, answer.err
    assert (place.out / "model.safetensors").exists()
