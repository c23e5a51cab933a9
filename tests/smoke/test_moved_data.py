"""A run whose images are at another place now is gone on with and judged there, and only with the images it had."""

import json
import shutil

import pytest
import torch

from auxo.data.fake import oriented_shapes
from auxo.runs.records import read_records


def read_results(run):
    """Return what a run ended with."""
    return [row for row in read_records(run / "records.jsonl") if row["kind"] in ("result", "end")]


@pytest.fixture
def moved(auxo, place, write_picture):
    """A run of two epochs with a set from elsewhere, and both sets at another place afterwards."""
    elsewhere = place.root / "elsewhere"
    more = oriented_shapes(8, size=28, seed=9)
    for number, (image, label) in enumerate(zip(more.images, more.columns["label"].values.tolist(), strict=True)):
        write_picture(elsewhere / more.vocabulary["label"][label] / f"{number}.png", image)
    words = place.train("--data.ood", elsewhere, "--epochs", "2", data=place.pictures)
    assert auxo(*words).code == 0
    (place.root / "disk").mkdir()
    shutil.move(place.root / "pictures", place.root / "disk" / "training")
    shutil.move(elsewhere, place.root / "disk" / "others")
    return place


def name_places(place):
    """Return the words that say where the sets are now."""
    disk = place.root / "disk"
    return (
        "--moved",
        f"{place.root / 'pictures'}={disk / 'training'}",
        "--moved",
        f"{place.root / 'elsewhere'}={disk / 'others'}",
    )


def test_evaluate__images_moved__names_the_option_then_finds_and_remembers_them(auxo, assert_refused, moved):
    config = (moved.out / "config.json").read_bytes()
    assert_refused(
        "evaluate", moved.out, says=rf"which is not there: pass --moved {moved.root / 'pictures'}=NEW with its new"
    )
    assert auxo("evaluate", moved.out, *name_places(moved)).code == 0
    rows = [json.loads(line) for line in (moved.out / "evaluation.jsonl").read_text().splitlines()]
    measured = [(row["split"], row["head"], row["measures"]) for row in rows]
    ended = [row for row in read_results(moved.out) if row["kind"] == "result"]
    assert measured == [(row["split"], row["head"], row["measures"]) for row in ended]
    assert "ood/elsewhere" in {row["split"] for row in rows}  # called as in the records
    assert auxo("evaluate", moved.out).code == 0  # remembered
    assert (moved.out / "config.json").read_bytes() == config


def test_resume__images_moved__ends_with_the_same_bytes_and_rows(auxo, moved):
    before = (moved.out / "model.safetensors").read_bytes()
    results = read_results(moved.out)
    (moved.out / "model.safetensors").unlink()
    config = (moved.out / "config.json").read_bytes()
    checkpoints = sorted((moved.out / "checkpoints").glob("*.safetensors"))
    for path in checkpoints:
        if path.name.endswith("-final.safetensors") or path is checkpoints[-2]:
            path.unlink()
    assert auxo("train", "--resume", moved.out, *name_places(moved)).code == 0
    assert (moved.out / "model.safetensors").read_bytes() == before
    assert (moved.out / "config.json").read_bytes() == config
    measures = [
        [row["measures"] for row in rows if row["kind"] == "result"] for rows in (results, read_results(moved.out))
    ]
    assert measures[0] == measures[1]


@pytest.mark.parametrize("command", ["evaluate", "resume"])
def test_moved__other_images_there__are_refused_by_the_name_of_the_set(assert_refused, moved, write_picture, command):
    first = sorted((moved.root / "disk" / "training").rglob("*.png"))[0]
    write_picture(first, torch.zeros(3, 28, 28, dtype=torch.uint8))
    words = ("evaluate", moved.out) if command == "evaluate" else ("train", "--resume", moved.out)
    assert_refused(*words, *name_places(moved), says=r"the (train|val|test) images and targets that .* got others")
    assert not (moved.out / "moved.json").exists()


def test_moved__another_set_from_elsewhere__is_refused_by_its_name(assert_refused, moved, write_picture):
    write_picture(moved.root / "disk" / "others" / "tee" / "more.png", torch.zeros(3, 28, 28, dtype=torch.uint8))
    says = r"the ood/elsewhere images and targets that .*model\.safetensors was judged on, got others: name the place"
    assert_refused("evaluate", moved.out, *name_places(moved), says=says)
    for path in (moved.out / "model.safetensors", *(moved.out / "checkpoints").glob("*-final.safetensors")):
        path.unlink()
    says = r"the ood/elsewhere images and targets that .*train-\d+\.safetensors was judged on, got others"
    assert_refused("train", "--resume", moved.out, *name_places(moved), says=says)


@pytest.mark.parametrize(
    "command", ["report", "verify", *(pytest.param(name, marks=pytest.mark.slow) for name in ("explain", "estimate"))]
)
def test_moved__every_command_that_reads_the_images__finds_them(auxo, moved, command):
    more = (moved.root / "disk" / "others",) if command == "estimate" else ()
    said = auxo(command, moved.out, *more, *name_places(moved))
    assert said.code == 0, said.err
    assert (moved.out / "moved.json").exists() == (command != "verify")  # which only reads


def test_train__moved_without_resume__is_refused(assert_refused, place):
    assert_refused("train", "supervised", "--moved", "a=b", says="a file or folder after --moved a=, got nothing at")
    assert_refused("train", "supervised", "--moved", f"a={place.root}", says="--resume RUN beside --moved")
