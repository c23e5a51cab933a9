"""A reader of a method whose task has a target with places, from files outside auxo."""

from pathlib import Path

import pytest
import torch

from auxo.data import InputPipeline
from auxo.evaluation import Reader
from auxo.registry.outside import import_file
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig

OUTSIDE = Path(__file__).parents[2] / "outside"


@pytest.fixture
def pixel_source():
    """Twelve images with masks and a column of sides."""
    return import_file(OUTSIDE / "pixels.py").make_source("pixels", 12, seed=0)


@pytest.fixture
def pixel_reader(pixel_source):
    """An untrained network for them."""
    pixels, net = import_file(OUTSIDE / "pixels.py"), import_file(OUTSIDE / "net.py")
    task = pixels.PixelClasses.from_source(pixel_source)
    torch.manual_seed(0)
    backbone = net.TinyNet(channels=3, height=task.height, width=task.width)
    method = pixels.PixelClassifier.Config().build(Networks(backbone, task, seed=0))
    pipeline = InputPipeline.from_source(pixel_source, place_fill=task.places)
    runtime = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
    return Reader(method=method, pipeline=pipeline, runtime=runtime, batch_size=5)
