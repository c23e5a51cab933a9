"""Images in memory, as a method may read them."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline
from auxo.data.splits import TrainSplit
from auxo.evaluation.images import ImageReader
from auxo.methods.supervised import Supervised
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Column


@pytest.fixture
def read():
    """A function from images, uint8, and the class of each to a reader of them."""

    def make(images, labels=None):
        labels = torch.zeros(len(images), dtype=torch.long) if labels is None else labels
        names = tuple("abc"[: int(labels.max()) + 1])
        source = InMemorySource("held", images, columns={"label": Column(labels, names)})
        task = Classification(names, *images.shape[1:])
        method = Supervised.Config().build(Networks(BackboneConfig(name="resnet8"), task, seed=0))
        runtime = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
        pipeline = InputPipeline.from_source(source, augment="none")
        return ImageReader(method, TrainSplit(source), pipeline=pipeline, runtime=runtime, batch_size=10)

    return make
