"""Wide, pre-activation and plain residual networks against renderings in functions, and their counts."""

import importlib.util
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.interfaces import AbstractBackbone
from auxo.tasks import Classification

HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None


def build(name: str) -> AbstractBackbone:
    """Return a backbone in float64 and evaluation mode whose batch norms have statistics of their own."""
    backbone = BackboneConfig(name=name).build(Classification(("a", "b"), channels=3, height=32, width=32), seed=0)
    generator = torch.Generator().manual_seed(1)
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, low in ((layer.weight, 0.5), (layer.bias, -0.5), (layer.running_mean, -0.5)):
                values.data.copy_(low + torch.rand(values.shape, generator=generator))
            layer.running_var.copy_(0.5 + torch.rand(layer.running_var.shape, generator=generator))
    return backbone.double().eval()


def num_parameters(name: str, classes: int) -> int:
    backbone = BackboneConfig(name=name).build(Classification(("a", "b"), channels=3, height=32, width=32), seed=0)
    return sum(p.numel() for p in backbone.parameters()) + (backbone.num_features + 1) * classes


class Layers:
    """The convolutions and batch norms of a network, to be used up in the order in which it computes."""

    def __init__(self, backbone: nn.Module) -> None:
        self.state = backbone.state_dict()

    def convolve(self, maps: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return functional.conv2d(maps, weight, stride=stride, padding=weight.shape[-1] // 2)

    def normalise(self, maps: Tensor, name: str) -> Tensor:
        names = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self.state[f"{name}.{key}"].view(-1, 1, 1) for key in names)
        return weight * (maps - mean) / (variance + 1e-5).sqrt() + bias

    def has(self, name: str) -> bool:
        return any(key.startswith(f"{name}.") for key in self.state)


def strides(stages: int, blocks: int) -> Iterator[tuple[str, int]]:
    for stage in range(stages):
        for block in range(blocks):
            yield f"stages.{stage}.{block}", 2 if stage and not block else 1


def pre_activation(backbone: nn.Module, images: Tensor, *, stages: int, blocks: int, slope: float) -> Tensor:
    """Render a network whose blocks normalise and activate first."""
    layers = Layers(backbone)

    def active(maps: Tensor, name: str) -> Tensor:
        maps = layers.normalise(maps, f"{name}.0")
        return torch.where(maps > 0, maps, slope * maps)

    maps = layers.convolve(images, "convolution")
    for name, stride in strides(stages, blocks):
        inner = active(maps, f"{name}.activation1")
        residual = layers.convolve(inner, f"{name}.convolution1", stride)
        residual = layers.convolve(active(residual, f"{name}.activation2"), f"{name}.convolution2")
        maps = residual + (
            layers.convolve(inner, f"{name}.shortcut", stride) if layers.has(f"{name}.shortcut") else maps
        )
    return active(maps, "activation").flatten(2).sum(2) / (maps.shape[2] * maps.shape[3])


def post_activation(backbone: nn.Module, images: Tensor, *, stages: int, blocks: int) -> Tensor:
    """Render a network whose blocks activate the sum."""
    layers = Layers(backbone)
    maps = layers.normalise(layers.convolve(images, "convolution"), "norm").clamp(min=0)
    for name, stride in strides(stages, blocks):
        inner = layers.normalise(layers.convolve(maps, f"{name}.convolution1", stride), f"{name}.norm1").clamp(min=0)
        residual = layers.normalise(layers.convolve(inner, f"{name}.convolution2"), f"{name}.norm2")
        if layers.has(f"{name}.shortcut"):
            maps = layers.normalise(layers.convolve(maps, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
        maps = (residual + maps).clamp(min=0)
    return maps.flatten(2).sum(2) / (maps.shape[2] * maps.shape[3])


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        ("wrn_10_1", 10, 77_850),
        ("wrn_28_2", 10, 1_467_610),
        ("wrn_28_2_fixmatch", 10, 1_467_610),
        ("wrn_40_2", 10, 2_243_546),
        ("resnet18", 1000, 11_689_512),
        ("resnet50", 1000, 25_557_032),
        ("resnet18_cifar", 200, 11_271_432),
        ("resnet18_cifar", 10, 11_173_962),
        ("preact_resnet18", 10, 11_172_170),
    ],
)
def test_build__with_a_linear_head__has_the_known_count(name: str, classes: int, count: int) -> None:
    assert num_parameters(name, classes) == count


@pytest.mark.parametrize(("depth", "widening", "name"), [(10, 1, "wrn_10_1"), (28, 2, "wrn_28_2"), (40, 2, "wrn_40_2")])
def test_wide_resnet__counted_by_hand__is_as_large(depth: int, widening: int, name: str) -> None:
    before, total = 16, 9 * 3 * 16
    for width in (16 * widening, 32 * widening, 64 * widening):
        for block in range((depth - 4) // 6):
            inputs = width if block else before
            total += 9 * inputs * width + 9 * width * width + 2 * inputs + 2 * width
            total += inputs * width if inputs != width else 0
        before = width
    assert num_parameters(name, 10) == total + 2 * before + 10 * before + 10


@pytest.mark.parametrize(
    ("name", "stages", "blocks", "slope"),
    [("wrn_10_1", 3, 1, 0.0), ("wrn_28_2_fixmatch", 3, 4, 0.1), ("preact_resnet18", 4, 2, 0.0)],
)
def test_forward__pre_activation__equals_its_rendering(name: str, stages: int, blocks: int, slope: float) -> None:
    backbone = build(name)
    images = torch.rand(2, 3, 12, 9, dtype=torch.float64)
    with torch.inference_mode():
        expected = pre_activation(backbone, images, stages=stages, blocks=blocks, slope=slope)
        torch.testing.assert_close(backbone(images).pooled, expected)


def test_forward__resnet18__equals_its_rendering() -> None:
    backbone = build("resnet18_cifar")
    images = torch.rand(2, 3, 12, 9, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images).pooled, post_activation(backbone, images, stages=4, blocks=2))


def test_wide_resnet__fixmatch__differs_in_slope_and_momentum_alone() -> None:
    plain, released = (
        BackboneConfig(name=name).build(Classification(("a", "b"), channels=3, height=32, width=32), seed=0)
        for name in ("wrn_28_2", "wrn_28_2_fixmatch")
    )
    momenta = [
        {layer.momentum for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)}
        for backbone in (plain, released)
    ]
    assert momenta == [{0.1}, {0.001}]
    slopes = {layer.negative_slope for layer in released.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.1}
    assert not any(isinstance(layer, nn.LeakyReLU) for layer in plain.modules())
    assert not any(isinstance(layer, nn.ReLU) for layer in released.modules())
    assert plain.state_dict().keys() == released.state_dict().keys()


def test_pre_activation__running_mean__moves_by_the_momentum() -> None:
    backbone = BackboneConfig(name="wrn_28_2_fixmatch").build(
        Classification(("a", "b"), channels=3, height=8, width=8), seed=0
    )
    images = torch.rand(4, 3, 8, 8)
    backbone(images)
    first = backbone.stages[0][0].activation1[0]
    with torch.no_grad():
        mean = backbone.convolution(images).mean((0, 2, 3))
    torch.testing.assert_close(first.running_mean, 0.001 * mean)


def bottlenecks(backbone: nn.Module, images: Tensor) -> Tensor:
    """Render a ResNet-50 with the paper's stem."""
    layers = Layers(backbone)
    maps = layers.normalise(layers.convolve(images, "convolution", 2), "norm").clamp(min=0)
    padded = functional.pad(maps, (1, 1, 1, 1), value=-float("inf"))
    height, width = (-(-side // 2) for side in maps.shape[2:])
    shifted = [padded[:, :, i:, j:][:, :, ::2, ::2][:, :, :height, :width] for i in range(3) for j in range(3)]
    maps = torch.stack(shifted).amax(0)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            name, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
            inner = maps
            for number, step in ((1, 1), (2, stride), (3, 1)):
                inner = layers.normalise(
                    layers.convolve(inner, f"{name}.convolution{number}", step), f"{name}.norm{number}"
                )
                inner = inner.clamp(min=0) if number < 3 else inner
            if layers.has(f"{name}.shortcut"):
                maps = layers.normalise(layers.convolve(maps, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
            maps = (inner + maps).clamp(min=0)
    return maps.flatten(2).sum(2) / (maps.shape[2] * maps.shape[3])


def test_forward__resnet50__equals_its_rendering() -> None:
    backbone = build("resnet50")
    images = torch.rand(2, 3, 34, 45, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images).pooled, bottlenecks(backbone, images))


@pytest.mark.skipif(not HAS_TORCHVISION, reason="torchvision is not installed")
@pytest.mark.parametrize("name", ["resnet18", "resnet18_cifar", "resnet50"])
def test_resnet__torchvisions__gives_the_same_numbers(name: str) -> None:
    from torchvision import models

    theirs = getattr(models, name.removesuffix("_cifar"))()
    theirs.fc = nn.Identity()
    if name.endswith("_cifar"):
        theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    ours = build(name)
    values = iter(ours.state_dict().values())
    theirs.load_state_dict({key: next(values) for key in theirs.state_dict()})
    images = torch.rand(2, 3, 40, 40, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images).pooled, theirs.double().eval()(images))
