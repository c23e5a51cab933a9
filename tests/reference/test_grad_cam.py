"""Grad-CAM against a rendering in loops and differences."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from auxo.explain import grad_cam
from auxo.interfaces import AbstractBackbone, AbstractMethod, MethodConfig
from auxo.runs import Networks
from auxo.tasks import Classification
from auxo.types import Features

from .grad_cam_by_hand import grad_cam_by_hand


class Backbone(AbstractBackbone):
    """Two convolutions with two named maps, neither of which is the output of a module."""

    num_features = 3

    def __init__(self):
        super().__init__()
        self.convolution1 = nn.Conv2d(3, 4, 3, padding=1)
        self.convolution2 = nn.Conv2d(4, 3, 3, stride=2, padding=1)

    def forward(self, images):
        first = functional.relu(self.convolution1(images))
        second = torch.tanh(self.convolution2(first))
        return Features(second.mean((2, 3)), {"first": first, "second": second})


class Method(AbstractMethod):
    """A linear head on the squares of the pooled features, so that gradients differ from image to image."""

    head_names = ("class",)

    def __init__(self):
        task = Classification(("a", "b"), channels=3, height=6, width=5)
        super().__init__(MethodConfig(), Networks(Backbone(), task, seed=0))
        self.head = nn.Linear(3, 2)

    def optimizers(self):
        return {}

    def update(self, state, batches, runtime):
        return {}

    def head_logits(self, images):
        return {"class": self.head(self.backbone(images).pooled.square())}


@pytest.fixture
def method():
    torch.manual_seed(0)
    method = Method().double().eval()
    with torch.no_grad():
        method.backbone.convolution2.weight.mul_(3)
    return method


@pytest.mark.parametrize("layer", ["first", "second"])
def test_grad_cam__tiny_network__equals_loops_and_differences(method, layer):
    images = torch.randn(4, 3, 6, 5, dtype=torch.float64)
    classes = torch.tensor([0, 1, 1, 0])
    found = grad_cam(method, images, layer=layer, classes=classes)
    state = method.state_dict()
    net = {name.removeprefix("backbone."): value.numpy() for name, value in state.items()}
    for image, label, attention in zip(images.numpy(), classes.tolist(), found.numpy(), strict=True):
        expected = grad_cam_by_hand(image, net, layer, label)
        np.testing.assert_allclose(attention, expected, rtol=1e-6, atol=1e-9)
    assert (found.amax((1, 2)) > 0).sum() >= 2
