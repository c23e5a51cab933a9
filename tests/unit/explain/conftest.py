"""Small methods to look at."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.tasks import Classification


@pytest.fixture
def build_method():
    """Build supervised training in evaluation mode on a backbone, for images of three channels."""

    def build(backbone="resnet8", side=32):
        task = Classification(("a", "b", "c"), channels=3, height=side, width=side)
        network = BackboneConfig(name=backbone).build(task, seed=0)
        return Supervised.Config().build(Networks(network, task, seed=0)).eval()

    return build


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
