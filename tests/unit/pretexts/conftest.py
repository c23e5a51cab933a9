"""A small backbone, pretexts behind it and two views of six images."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.interfaces import PretextConfig
from auxo.options import find_member
from auxo.pretexts import Pair
from auxo.tasks import Classification

COUNT, SIDE = 6, 8


@pytest.fixture
def build():
    """Return a function from options to a backbone and its pretext, in float64."""

    def build(seed=0, name="simclr", **options):
        backbone = BackboneConfig(name="resnet8").build(Classification(("a", "b"), 1, SIDE, SIDE), seed=seed)
        config = find_member(PretextConfig, name)(**{"hidden": 8, "outputs": 4, **options})
        return backbone.double(), config.build(backbone, seed=seed).double()

    return build


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return Pair(*(torch.randn(COUNT, 1, SIDE, SIDE, generator=generator, dtype=torch.float64) for _ in range(2)))
