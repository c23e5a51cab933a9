"""Runs that are damaged, foreign or unfinished: one line that says so; nothing half-written."""

import pytest
from safetensors.torch import save
from torch import zeros

CASES = []


def case(says):
    """Register a function that prepares the bad run and returns the words of the command."""

    def add(prepare):
        CASES.append(pytest.param(prepare, says, id=prepare.__name__))
        return prepare

    return add


def damage(path, at=-50):
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 255
    path.write_bytes(bytes(content))


def newest(run):
    return sorted((run / "checkpoints").glob("train-0*.safetensors"))[-1]


@case(r"unchanged numbers in .*train-0.*, got other bytes than were written: delete it")
def checkpoint_damaged(place):
    damage(newest(place.run))
    return ["train", "--resume", place.run]


@case(r"a whole safetensors file at .*train-0.*, got a damaged one")
def checkpoint_cut_short(place):
    path = newest(place.run)
    path.write_bytes(path.read_bytes()[:1000])
    return ["train", "--resume", place.run]


@case(r"a checkpoint of this run at .*, got one of a run with another config")
def checkpoint_of_another_config(place):
    path = place.run / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    return ["train", "--resume", place.run]


@case(r"a record in line 1 of .*records.jsonl")
def records_damaged(place):
    path = place.run / "records.jsonl"
    path.write_text("{" + path.read_text())
    return ["train", "--resume", place.run]


@case(r"unchanged numbers in .*model.safetensors, got other bytes")
def model_damaged(place):
    damage(place.run / "model.safetensors")
    return ["evaluate", place.run]


@case(r"a whole safetensors file at .*model.safetensors, got a damaged one")
def model_empty(place):
    (place.run / "model.safetensors").write_bytes(b"")
    return ["evaluate", place.run]


@case(r"a file written by auxo at .*model.safetensors, got a foreign safetensors file")
def model_foreign(place):
    (place.run / "model.safetensors").write_bytes(save({"weight": zeros(3)}))
    return ["predict", place.run, place.shapes]


@case(r"a trained model at .*model.safetensors, got another file of auxo's")
def model_is_a_checkpoint(place):
    (place.run / "model.safetensors").write_bytes(newest(place.run).read_bytes())
    return ["predict", place.run, place.shapes]


@case(r"the weights of this method and backbone in .*model.safetensors, got others")
def model_of_another_backbone(place):
    path = place.run / "config.json"
    path.write_text(path.read_text().replace('"lenet5"', '"resnet20"'))
    return ["evaluate", place.run]


@case(r"a finished run in .*, got no model.safetensors: auxo train --resume")
def evaluate_unfinished_run(place):
    (place.run / "model.safetensors").unlink()
    return ["evaluate", place.run]


@case(r"values of 'label' that train has .*, got 'zebra' at .*zebra")
def evaluate_unknown_class(place):
    (place.pictures / "tee").rename(place.pictures / "zebra")
    return ["evaluate", place.run, "--data", place.pictures]


@case(r"batch-size in \[1, 65536\], got 0")
def evaluate_batch_size_zero(place):
    return ["evaluate", place.run, "--batch-size", "0"]


@case(r"to write nowhere/rows.jsonl, got no folder nowhere: make it")
def evaluate_out_in_missing_folder(place):
    return ["evaluate", place.run, "--out", "nowhere/rows.jsonl"]


@case(r"a finished run in .*, got no model.safetensors")
def predict_unfinished_run(place):
    (place.run / "model.safetensors").unlink()
    return ["predict", place.run, place.shapes]


@case(r"an image, a folder, .*, got 'gone.png', which is not there")
def predict_missing_picture(place):
    return ["predict", place.run, "gone.png"]


@case(r"images \(.*\) in .*empty or below, got none")
def predict_folder_without_pictures(place):
    (place.root / "empty").mkdir()
    return ["predict", place.run, place.root / "empty"]


@case(r"a whole image, got a damaged one in .*bad.png")
def predict_damaged_picture(place):
    picture = next(place.shapes.rglob("*.png")).read_bytes()
    return ["predict", place.run, place.shapes, place.write("bad.png", picture[:300])]


@case(r"batch-size in \[1, 65536\], got 0")
def predict_batch_size_zero(place):
    return ["predict", place.run, place.shapes, "--batch-size", "0"]


@case(r"to write nowhere/x.csv, got no folder nowhere: make it")
def predict_out_in_missing_folder(place):
    return ["predict", place.run, place.shapes, "--out", "nowhere/x.csv"]


@pytest.mark.parametrize(("prepare", "says"), CASES)
def test_command__bad_run__is_refused_in_one_line_and_nothing_is_written(assert_refused, place, prepare, says):
    assert_refused(*prepare(place), says=says)
