"""What an exported file says of its task: it comes back as it was, also from a file of the format before."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from auxo.data import DataConfig, decode_image
from auxo.errors import CheckpointError, ConfigError
from auxo.export import Description
from auxo.export.snippets import onnx_snippet
from auxo.registry.outside import load_outside
from auxo.tasks import AbstractTask, Classification

PIXELS = Path(__file__).parents[2] / "outside" / "pixels.py"
TASK = Classification(("one", "two"), 3, 8, 9, class_counts=(5, 6))
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
NAME = "classification"


@pytest.fixture
def own():
    """The description of a network for a task in a file."""
    kind = load_outside(f"{PIXELS}:PixelClasses", AbstractTask)
    return Description(kind(("ground", "square"), 3, 16, 16), MEAN, STD, "pixels.py:PixelClasses")


def write_former(description):
    """The JSON that auxo wrote before a task had a name: format 1, with labels and class counts beside the input."""
    found = json.loads(description.to_json())
    del found["task"]
    return {**found, "format": 1, "class_counts": list(description.task.class_counts)}


def test_to_json__classes__come_back():
    description = Description(TASK, MEAN, STD, NAME)
    found = json.loads(description.to_json())
    assert (found["format"], found["labels"]) == (2, ["one", "two"])
    assert found["task"] == {"name": "classification", "fields": TASK.to_record()}
    assert Description.from_json(description.to_json(), origin="x") == description


def test_from_json__format_before__is_a_classification():
    description = Description(TASK, MEAN, STD, NAME)
    assert Description.from_json(json.dumps(write_former(description)), origin="x") == description


def test_from_json__task_outside_auxo__is_read_from_its_file_where_that_is_allowed(own):
    text = own.to_json()
    assert str(PIXELS.parent) not in text
    with pytest.raises(ConfigError, match=r"pixels\.py"):
        Description.from_json(text, origin="x")
    again = Description.from_json(text, origin="x", code=[str(PIXELS)])
    assert (again.task, again.mean, again.std) == (own.task, MEAN, STD)


def test_preprocess__output__is_what_the_task_has(own):
    assert own.preprocess()["output"].startswith(
        "logits, shape (batch, classes, height, width), in the order of the labels"
    )
    assert "in the order of the labels" in Description(TASK, MEAN, STD, NAME).preprocess()["output"]


@pytest.mark.parametrize("fit", ["crop", "letterbox", "squash"])
def test_fit__image_of_another_shape__is_prepared_alike_everywhere(fit):
    """By the file that predicts, by the sets of a run, and by the lines that a model card has."""
    described = Description(Classification(("one", "two"), 3, 24, 40), MEAN, STD, NAME, was_resized=True, fit=fit)
    described = Description.from_json(described.to_json(), origin="x")
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(file, "JPEG")
    asked = DataConfig(train="x", image_size=24, image_width=40, fit=fit).target_size
    pixels = [decode_image(file.getvalue(), where="x", image_size=size) for size in (described.image_size, asked)]
    assert pixels[0].shape == (3, 24, 40)
    assert torch.equal(*pixels)
    names = {"np": np, "Image": Image, "ImageOps": ImageOps, "image": Image.open(file)}
    lines = onnx_snippet(described).partition('Image.open("image.png")\n')[2].partition("pixels =")[0]
    exec(lines, names)
    assert np.array_equal(np.array(names["image"]).transpose(2, 0, 1), pixels[0].numpy())


@pytest.mark.parametrize("change", [{"format": 3}, {"class_counts": ["many"]}, {"labels": None}, {"input": {}}])
def test_from_json__something_else__is_refused_with_its_name(change):
    text = json.dumps({**write_former(Description(TASK, MEAN, STD, NAME)), **change})
    with pytest.raises(CheckpointError, match=r"my\.onnx"):
        Description.from_json(text, origin="my.onnx")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}'])
def test_from_json__no_description__is_refused(text):
    with pytest.raises(CheckpointError, match="a foreign file"):
        Description.from_json(text, origin="x")


def test_from_json__fields_of_another_task__are_refused():
    found = json.loads(Description(TASK, MEAN, STD, NAME).to_json())
    del found["task"]["fields"]["class_names"]
    with pytest.raises(CheckpointError, match="the fields of the task Classification in x"):
        Description.from_json(json.dumps(found), origin="x")
