"""Grad-CAM and observation on backbones of auxo."""

import copy

import pytest
import torch
from torch.nn import functional

from auxo.errors import ConfigError
from auxo.explain import choose_layer, grad_cam, observe
from auxo.interfaces import AbstractBackbone
from auxo.methods.fixmatch import FixMatch
from auxo.registry import entries
from auxo.runs import Networks
from auxo.types import Features

OWN = [name for name in entries("backbones") if name not in ("hf", "timm")]
CLASSES = torch.tensor([0, 2])


@pytest.mark.parametrize("backbone", OWN)
def test_grad_cam__every_backbone_and_layer__is_the_formula(build_method, images, backbone):
    method = build_method(backbone)
    logits, features = observe(method, images)
    for layer, maps in features.maps.items():
        total = logits.gather(1, CLASSES.view(-1, 1)).sum()
        (gradient,) = torch.autograd.grad(total, maps, retain_graph=True)
        expected = functional.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1)).detach()
        found = grad_cam(method, images, layer=layer, classes=CLASSES)
        assert found.shape == (2, *maps.shape[2:])
        assert not found.requires_grad
        torch.testing.assert_close(found, expected)


def test_grad_cam__pooled_by_the_mean__is_the_class_activation_map(build_method, images):
    method = build_method()
    found = grad_cam(method, images, layer="stage3", classes=CLASSES)
    maps = observe(method, images).features.maps["stage3"]
    weights = method.semantic.weight[CLASSES] / (maps.shape[2] * maps.shape[3])
    torch.testing.assert_close(found, torch.einsum("bk,bkij->bij", weights, maps).clamp(min=0).detach())


def test_grad_cam__done__leaves_weights_gradients_and_hooks_alone(build_method, images):
    method = build_method()
    before = copy.deepcopy(method.state_dict())
    grad_cam(method, images, layer="stage3", classes=CLASSES)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
    assert not any(module._forward_hooks for module in method.modules())
    assert not images.requires_grad


def test_grad_cam__frozen_backbone__gives_the_same(build_method, images):
    method = build_method()
    expected = grad_cam(method, images, layer="stage2", classes=CLASSES)
    method.requires_grad_(False)
    torch.testing.assert_close(grad_cam(method, images, layer="stage2", classes=CLASSES), expected)


def test_grad_cam__copy_that_predicts__is_the_one_looked_at(build_method, images, monkeypatch):
    method = build_method()
    method.average = copy.deepcopy(method.backbone)
    with torch.no_grad():
        method.average.convolution.weight.mul_(-1)
    method.head_logits = lambda inputs: {"semantic": method.semantic(method.average(inputs).pooled)}
    monkeypatch.setattr(type(method), "predicting_backbone", property(lambda self: self.average))
    expected = method.average(images).pooled
    assert torch.equal(observe(method, images).features.pooled, expected)
    found = grad_cam(method, images, layer="stage3", classes=CLASSES)
    monkeypatch.undo()
    del method.head_logits
    assert not torch.equal(found, grad_cam(method, images, layer="stage3", classes=CLASSES))


def test_grad_cam__fixmatch__looks_at_the_averaged_network_that_predicts(build_method, images):
    plain, other = build_method(), build_method()
    method = FixMatch.Config().build(Networks(other.backbone, other.task, seed=0)).eval()
    with torch.no_grad():
        for parameter in (*plain.backbone.parameters(), *plain.semantic.parameters()):
            parameter.add_(0.05)
    method.averaged.backbone.load_state_dict(plain.backbone.state_dict())
    method.averaged.semantic.load_state_dict(plain.semantic.state_dict())
    (logits, features), (expected_logits, expected_features) = observe(method, images), observe(plain, images)
    assert torch.equal(logits, expected_logits)
    assert torch.equal(features.pooled, expected_features.pooled)
    assert not torch.equal(features.pooled, method.backbone(images).pooled)
    found = grad_cam(method, images, layer="stage2", classes=CLASSES)
    torch.testing.assert_close(found, grad_cam(plain, images, layer="stage2", classes=CLASSES))
    assert found.any()


def test_grad_cam__layer_that_is_not_there__names_those_that_are(build_method, images):
    with pytest.raises(ConfigError, match=r"'stage9': pass --layer with stage1 \(32x32\), stage2 \(16x16\), stage3"):
        grad_cam(build_method(), images, layer="stage9", classes=CLASSES)


class Apart(AbstractBackbone):
    """A map that the pooled vector does not depend on."""

    num_features = 3

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return Features(self.inner(images).pooled, {"apart": images.square()})


def test_grad_cam__map_that_decides_nothing__is_refused(build_method, images):
    method = build_method()
    method.backbone = Apart(method.backbone)
    with pytest.raises(ConfigError, match="a layer that the prediction is computed from, got 'apart'"):
        grad_cam(method, images, layer="apart", classes=CLASSES)


def test_grad_cam__prediction_without_gradients__is_refused(build_method, images):
    method = build_method()
    method.predict = torch.no_grad()(method.predict)
    with pytest.raises(ConfigError, match="logits with gradients"):
        grad_cam(method, images, layer="stage3", classes=CLASSES)


def test_observe__prediction_without_a_backbone__is_refused(build_method, images):
    method = build_method()
    method.predict = lambda inputs: inputs.mean((2, 3))
    with pytest.raises(ConfigError, match="by its predicting_backbone"):
        observe(method, images)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [((32, 16, 8), "stage3"), ((16, 8, 4), "stage3"), ((8, 4, 2), "stage2"), ((3, 2, 1), "stage1")],
)
def test_choose_layer__by_default__is_the_last_with_four_pixels(sides, expected):
    maps = {f"stage{number}": torch.zeros(1, 1, side, side + 1) for number, side in enumerate(sides, start=1)}
    assert choose_layer(maps, None) == expected


def test_choose_layer__no_maps__is_refused():
    with pytest.raises(ConfigError, match="a backbone that gives maps"):
        choose_layer({}, None)


@pytest.mark.parametrize(("backbone", "side", "covered"), [("resnet8", 32, 32), ("lenet5", 28, 20), ("lenet5", 32, 20)])
def test_map_size__last_map__is_what_its_cells_are_centred_over(build_method, backbone, side, covered):
    assert build_method(backbone, side).backbone.map_size("stage2", height=side, width=side) == (covered, covered)


@pytest.mark.parametrize(("layer", "cells"), [("stage1", 14), ("stage2", 5)])
@pytest.mark.parametrize("side", [28, 32])
def test_map_size__lenet5__fits_the_centres_of_its_receptive_fields(build_method, side, layer, cells):
    backbone = build_method("lenet5", side).double().backbone
    with torch.no_grad():  # symmetric kernels, so that a field's centre is the centre of its gradient
        for parameter in backbone.parameters():
            parameter.fill_(0.1)
    images = torch.ones(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    maps = backbone(images).maps[layer]
    middle, step = cells // 2, backbone.map_size(layer, height=side, width=side)[0] / cells
    for cell in (middle - 1, middle):
        (field,) = torch.autograd.grad(maps[0, 0, cell, middle], images, retain_graph=True)
        rows = field.abs().sum((0, 1, 3))
        centre = (rows * torch.arange(side)).sum() / rows.sum()
        expected = side / 2 - 0.5 + (cell + 0.5 - cells / 2) * step
        assert abs(centre.item() - expected) <= 1.5  # which of the pixels under the pooling is the largest is free
