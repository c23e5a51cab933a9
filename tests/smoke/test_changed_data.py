"""A run is judged, and gone on with, only while the images that it learns from are those that it began with."""

import json
import shutil

import pytest

from auxo.data import readers
from auxo.data.fake import oriented_shapes
from auxo.runs.records import read_records


def read_jsonl(path):
    """Return the objects of a file, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def add_pictures(folder, write_picture):
    """Add four images that are like none in the folder."""
    more = oriented_shapes(4, size=28, seed=5)
    for image, label in zip(more.images, more.columns["label"].values.tolist(), strict=True):
        write_picture(folder / more.vocabulary["label"][label] / "more.png", image)


@pytest.fixture
def grown(auxo, place, write_picture):
    """A run on images that grew in number afterwards."""
    assert auxo(*place.train(data=place.pictures)).code == 0
    add_pictures(place.pictures, write_picture)
    return place


def test_evaluate__pictures_added_since_the_run__is_refused(assert_refused, grown):
    says = r"the train images and targets that .*model\.safetensors was made with, got others: .*--data"
    assert_refused("evaluate", grown.out, says=says)


def test_evaluate__pictures_added_but_sets_named__judges_them(auxo, grown):
    assert auxo("evaluate", grown.out, "--data", grown.pictures).code == 0


def test_resume__pictures_added_since_the_run_began__is_refused(assert_refused, grown):
    (grown.out / "model.safetensors").unlink()
    says = r"the train images and targets that .*train-00000004\.safetensors was made with, got others: put them back"
    assert_refused("train", "--resume", grown.out, says=says)


def test_resume__images_that_no_longer_fit_in_memory__goes_on(auxo, place, monkeypatch):
    assert auxo(*place.train(data=place.pictures)).code == 0
    (place.out / "model.safetensors").unlink()
    monkeypatch.setattr(readers, "_AUTO_MEMORY_BYTES", 0)
    answer = auxo("train", "--resume", place.out)
    assert answer.code == 0, answer.err
    assert (place.out / "model.safetensors").exists()


def test_evaluate__pictures_added_and_taken_away__gives_the_same_rows(auxo, grown):
    for path in grown.pictures.rglob("more.png"):
        path.unlink()
    assert auxo("evaluate", grown.out).code == 0
    results = [row for row in read_records(grown.out / "records.jsonl") if row["kind"] == "result"]
    again = [row["n"] for row in read_jsonl(grown.out / "evaluation.jsonl")]
    assert again == [row["n"] for row in results]


def test_evaluate__own_test_set_grew__is_judged_as_it_is(auxo, place, write_picture):
    held_out = place.root / "held-out"
    for name in ("arrow", "corner", "tee", "wedge"):
        (held_out / name).mkdir(parents=True)
        for path in sorted((place.pictures / name).iterdir())[:5]:
            shutil.move(path, held_out / name)
    assert auxo(*place.train("--data.test", held_out, data=place.pictures)).code == 0
    add_pictures(held_out, write_picture)
    assert auxo("evaluate", place.out).code == 0
    counts = {row["split"]: row["n"] for row in read_jsonl(place.out / "evaluation.jsonl") if row["head"] == "semantic"}
    assert counts == {"val": 14, "test": 24}
