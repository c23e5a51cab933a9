"""Shortcut removal at the command line: a column that is needed to train and not to predict, and what it cannot be."""

import csv
import io
import json
import re
import shutil

import pytest

COLOURED = ("--data.num-train", "64", "--epochs", "2", "--batch-size", "32", "--training.no-tensorboard")
ONE_THREAD = ("--runtime.threads", "1", "--device", "cpu")
TWO_STEP = ("--selection.keep", "two_step", "--selection.test.column", "colour", "--selection.test.permutations", "19")


def write_tables(place, give_place):
    """Write images with a column ``place``, made of class and number, and return options that train on half of them."""
    rows = [(path, path.parent.name, give_place(path.parent.name, n)) for n, path in enumerate(list_images(place))]
    words = [*place.tiny_options, "--out", place.out, "--method.column", "place"]
    for name, part in (("train", rows[::2]), ("val", rows[1::2])):
        text = io.StringIO()
        csv.writer(text).writerows([("path", "label", "place"), *part])
        words += [f"--data.{name}", place.write(f"{name}.csv", text.getvalue())]
    return words


def list_images(place):
    return sorted(place.shapes.rglob("*.png"))


def even(_label, number):
    return "sea" if number // 2 % 2 else "land"


def test_train__column_of_ones_own__predicts_images_without_it(auxo, place):
    answer = auxo("train", "shortcut_removal", *write_tables(place, even), "--data.columns", "place")
    assert answer.code == 0, answer.err
    answer = auxo("predict", place.out, place.shapes, "--out", "found.csv")
    assert answer.code == 0, answer.err
    with (place.root / "found.csv").open(encoding="utf-8") as file:
        assert len([*csv.reader(file)]) == 1 + len(list_images(place))


CASES = {  # further columns, the column, and what the refusal says
    "no column in the data": (
        (),
        even,
        r"images with values of place, which the run learns, got label in .*: .*further column with --data\.columns",
    ),
    "one value": (
        ("--data.columns", "place"),
        lambda _label, _number: "sea",
        r"a column of two values or more, one for each image, got place with only 'sea'",
    ),
    "empty cell": (
        ("--data.columns", "place"),
        lambda label, number: "sea" if label == "tee" else even(label, number),
        r"training images of every class with every place, got none of 'tee' with 'land' among \d+: add some",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_train__column_that_cannot_be_used__is_named_in_one_line(auxo, place, name):
    words, give_place, says = CASES[name]
    answer = auxo("train", "shortcut_removal", *write_tables(place, give_place), *words)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert re.fullmatch(r"auxo: expected .+, got .+: .+", line), line
    assert re.search(says, line), line


OPTIONS = {
    "no_column": ("--method.column label", r"a further column that is not to be used, got 'label'"),
    "alpha": ("--method.invariance.weight -1", r"--method\.invariance\.weight >= 0, got -1"),
    "sigma": ("--method.invariance.kernel.sigma 0", r"sigma > 0, got 0"),
    "clip": ("--method.weighting none --method.clip-weights 3", r"clip-weights with weighting product or inverse"),
    "two_step": ("--selection.keep two_step", r"keep two_step with a column that features are not to tell, got none"),
    "test_column": ("--selection.keep two_step --selection.test.column site", r"got 'site' where there is colour"),
    "test_alone": ("--selection.keep best --selection.test.column colour", r"test with keep two_step, got keep best"),
    "objective": ("--method.invariance.name mdd", r"one of auxo's invariance, got 'mdd': did you mean mmd"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options__that_cannot_be__are_refused_before_anything_is_written(assert_refused, place, name):
    words, says = OPTIONS[name]
    assert_refused("train", "shortcut_removal", *COLOURED, *words.split(), "--out", place.out, says=says)


def test_run__interrupted_and_resumed__ends_with_the_same_bytes(auxo, tmp_path):
    out = tmp_path / "run"
    often = ("--training.checkpoint-every", "1", "--training.keep-checkpoints", "9", "--selection.measure", "nll")
    answer = auxo("train", "shortcut_removal", *COLOURED, *ONE_THREAD, *often, *TWO_STEP, "--out", out)
    assert answer.code == 0, answer.err
    assert "independence p = " in answer.out
    again = tmp_path / "again"
    shutil.copytree(out, again)
    last = sorted((again / "checkpoints").glob("train-*[0-9].safetensors"))[-2:]
    for path in (*last, *(again / "checkpoints").glob("train-final*"), again / "model.safetensors"):
        path.unlink()
    answer = auxo("train", "--resume", again)
    assert answer.code == 0, answer.err
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_selection__two_steps_of_another_method__writes_what_was_tested(auxo, tmp_path):
    out = tmp_path / "run"
    scenario = ("--data.scenario", "coloured_digits")
    answer = auxo("train", "supervised", *scenario, *COLOURED, *ONE_THREAD, *TWO_STEP, "--out", out)
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    (end,) = (row for row in rows if row["kind"] == "end")
    (val,) = (row for row in rows if row["kind"] == "result" and row["split"] == "val")
    assert end["selection"]["measure"] == "weighted_nll/colour"
    assert end["selection"]["p_value"] == val["measures"]["independence/colour"]["value"]
    assert end["selection"]["statistic"] == val["measures"]["discrepancy/colour"]["value"]
