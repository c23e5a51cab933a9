"""Which images a trained model takes."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig, InputPipeline
from auxo.data.fitting import ImageFit
from auxo.errors import DataError
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runs.model import TrainedModel
from auxo.tasks import Classification


@dataclass(frozen=True)
class AnySize(Classification):
    """Classes of images of any size."""

    is_size_fixed = False


def model_of(kind):
    task = kind(("a", "b"), 3, 16, 16)
    method = Supervised.Config().build(Networks(BackboneConfig(name="densenet40_12"), task, seed=0))
    pipeline = InputPipeline(torch.zeros(3), torch.ones(3), image_shape=task.image_shape)
    return TrainedModel(method, pipeline, task, {}, Path("model"), "classification")


@pytest.mark.parametrize(
    ("height", "width", "was_resized", "expected"),
    [
        (16, 16, False, ImageFit(16, 16)),
        (16, 16, True, ImageFit(16, 16)),
        (12, 16, True, ImageFit(12, 16)),
        (12, 16, False, None),
    ],
)
def test_size_images__input__says_what_images_are_brought_to(height, width, was_resized, expected):
    model = replace(
        model_of(Classification), task=Classification(("a", "b"), 3, height, width), was_resized=was_resized
    )
    config = DataConfig(train="photos", image_size=20, image_width=24)
    assert model.size_images(config).target_size == expected


def test_check_shape__other_size__is_refused_where_the_task_fixes_it():
    with pytest.raises(DataError, match=r"images of 3x16x16 \(channels, height, width\), got 3x20x24 in elsewhere"):
        model_of(Classification).check_shape((3, 20, 24), where="elsewhere")
    model_of(AnySize).check_shape((3, 20, 24), where="elsewhere")


def test_check_shape__other_channels__are_refused_whatever_the_size():
    with pytest.raises(DataError, match="got 1x16x16 in elsewhere"):
        model_of(AnySize).check_shape((1, 16, 16), where="elsewhere")
