"""Graphs of networks that answer every pixel: free in height and width where they can be traced so, else fixed."""

from pathlib import Path

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.export import Description, Predictor, capture, predictor_of, takes_any_size
from auxo.export.network import describe_program
from auxo.methods.segmenter import Segmenter
from auxo.runs import Networks
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Segmentation

TASK = Segmentation(("road", "sky", "car"), 3, 24, 32, pixel_counts=(3, 2, 1))


class Placed(nn.Module):
    """A classifier that knows the places of images of one size."""

    def __init__(self, classifier, rows, columns):
        super().__init__()
        self.classifier = classifier
        generator = torch.Generator().manual_seed(0)
        self.places = nn.Parameter(torch.rand(1, 3, rows, columns, generator=generator))

    def forward(self, features):
        return self.classifier(features) + self.places


def build_model(*, is_placed=False):
    method = Segmenter.Config().build(Networks(BackboneConfig(name="conv4"), TASK, seed=0))
    if is_placed:
        rows, columns = method.decoder(method.backbone(torch.zeros(1, 3, 24, 32)).maps).shape[2:]
        method.classifier = Placed(method.classifier, rows, columns)
    pipeline = InputPipeline(torch.full((3,), 0.5), torch.full((3,), 0.25), image_shape=TASK.image_shape)
    return TrainedModel(method.eval(), pipeline, TASK, {}, Path("model"), "segmentation")


@pytest.mark.parametrize("is_placed", [False, True])
def test_capture__segmentation__is_free_where_the_network_is(is_placed):
    model = build_model(is_placed=is_placed)
    program = capture(model)
    assert takes_any_size(program) is not is_placed
    description = describe_program(Description.of(model), program)
    again = Description.from_json(description.to_json(), origin="x")
    assert again == description
    assert again.takes_any_size is not is_placed
    predictor = Predictor(again, Path("x"), lambda pixels: program.module()(pixels.float() / 255))
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(255, (2, 3, 41, 57), generator=generator, dtype=torch.uint8)
    answers = predictor.answers(pixels, where=[Path("a"), Path("b")])  # a fixed one is shown windows of its size
    assert [answer.image.shape for answer in answers] == [(41, 57), (41, 57)]
    if not is_placed:
        runtime = Runtime(RuntimeConfig(), torch.device("cpu"))
        expected = predictor_of(model, runtime).answers(pixels, where=[Path("a"), Path("b")])
        assert [answer.cells for answer in answers] == [answer.cells for answer in expected]


def test_preprocess__images_of_any_size__says_what_becomes_of_their_size():
    steps = [
        Description(TASK, (0.5,) * 3, (0.2,) * 3, "segmentation", was_resized=resized, takes_any_size=True)
        for resized in (False, True)
    ]
    kept, resized = (" ".join(each.preprocess()["steps"]) for each in steps)
    assert "keep its size" in kept
    assert "just covers 32x24 pixels" in resized
