"""What every backbone of our own gives: shapes, parameter counts, gradients."""

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import AbstractBackbone
from auxo.tasks import Classification

OWN = (
    "conv4",
    "densenet40_12",
    "efficientnet_lite0",
    "lenet5",
    "preact_resnet18",
    "resnet18",
    "resnet18_cifar",
    "resnet20",
    "resnet32",
    "resnet32_fan_in",
    "resnet50",
    "resnet50_cifar",
    "resnet8",
    "vgg16",
    "wrn_10_1",
    "wrn_28_2",
    "wrn_28_2_fixmatch",
    "wrn_40_2",
)


def build(name: str, *, channels: int = 3, height: int = 32, width: int = 32) -> AbstractBackbone:
    return BackboneConfig(name=name).build(
        Classification(("a", "b"), channels=channels, height=height, width=width), seed=0
    )


def num_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def resnet_parameters(blocks: int) -> int:
    """Count by hand: convolutions without bias, two numbers per channel of batch norm, a head of ten classes."""

    def block(before: int, after: int) -> int:
        return 9 * before * after + 9 * after * after + 4 * after

    stages = sum(
        block(before, after) + (blocks - 1) * block(after, after) for before, after in ((16, 16), (16, 32), (32, 64))
    )
    return 9 * 3 * 16 + 2 * 16 + stages + 64 * 10 + 10


def densenet_parameters() -> int:
    """Count by hand the backbone of 24 initial channels, growth 12, 12 layers a block, no bottleneck or compression."""
    layers = sum(2 * width + 9 * width * 12 for start in (24, 168, 312) for width in range(start, start + 144, 12))
    transitions = sum(2 * width + width * width for width in (168, 312))
    return 9 * 3 * 24 + layers + transitions + 2 * 456


@pytest.mark.parametrize("side", [28, 32])
def test_lenet5__one_channel_and_ten_classes__has_the_known_count(side: int) -> None:
    backbone = build("lenet5", channels=1, height=side, width=side)
    assert num_parameters(backbone, nn.Linear(backbone.num_features, 10)) == 61_706


@pytest.mark.parametrize(
    ("name", "blocks", "count", "published"),
    [("resnet8", 1, 75_290, None), ("resnet20", 3, 269_722, 0.27), ("resnet32", 5, 464_154, 0.46)],
)
def test_resnet__three_channels_and_ten_classes__has_the_published_count(
    name: str, blocks: int, count: int, published: float | None
) -> None:
    backbone = build(name)
    assert num_parameters(backbone, nn.Linear(backbone.num_features, 10)) == count == resnet_parameters(blocks)
    assert published is None or round(count / 1e6, 2) == published


def test_conv4__three_channels__has_the_count_of_its_layers() -> None:
    weights = 25 * 3 * 24 + 25 * 24 * 32 + 9 * 32 * 64 + 9 * 64 * 64
    assert num_parameters(build("conv4")) == 76_664 == weights + 2 * (24 + 32 + 64 + 64)


def test_densenet__three_heads__has_the_count_of_the_released_code() -> None:
    backbone = build("densenet40_12")
    heads = [nn.Linear(backbone.num_features, outputs) for outputs in (10, 10, 4)]
    assert num_parameters(backbone) == 1_054_728 == densenet_parameters()
    assert num_parameters(backbone, *heads) == 1_065_696


@pytest.mark.parametrize(
    "name", ["densenet40_12", "resnet32", "wrn_28_2_fixmatch", "resnet18_cifar", "preact_resnet18"]
)
def test_initialisation__convolutions__have_the_deviation_of_their_fan_out(name: str) -> None:
    for layer in build(name).modules():
        if isinstance(layer, nn.Conv2d):
            expected = (2 / (layer.kernel_size[0] ** 2 * layer.out_channels)) ** 0.5
            tolerance = 4 / (2 * layer.weight.numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=tolerance)
        if isinstance(layer, nn.BatchNorm2d):
            assert torch.equal(layer.weight, torch.ones_like(layer.weight))
            assert not layer.bias.any()


def test_initialisation__resnet32_fan_in__has_the_deviation_of_its_inputs() -> None:
    layers = [layer for layer in build("resnet32_fan_in").modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        expected = (2 / (9 * layer.in_channels)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=4 / (2 * layer.weight.numel()) ** 0.5)
    assert layers[0].weight.std().item() == pytest.approx(0.272, rel=0.15)


MAPS = {
    "conv4": {"stage1": (24, 32), "stage2": (32, 16), "stage3": (64, 8)},
    "lenet5": {"stage1": (6, 14), "stage2": (16, 5)},
    "resnet8": {"stage1": (16, 32), "stage2": (32, 16), "stage3": (64, 8)},
    "resnet20": {"stage1": (16, 32), "stage2": (32, 16), "stage3": (64, 8)},
    "resnet32": {"stage1": (16, 32), "stage2": (32, 16), "stage3": (64, 8)},
    "resnet32_fan_in": {"stage1": (16, 32), "stage2": (32, 16), "stage3": (64, 8)},
    "densenet40_12": {"stage1": (168, 32), "stage2": (312, 16), "stage3": (456, 8)},
    "efficientnet_lite0": {
        "stage1": (16, 16),
        "stage2": (24, 8),
        "stage3": (40, 4),
        "stage4": (112, 2),
        "stage5": (320, 1),
        "last": (1280, 1),
    },
    "wrn_10_1": {"stage1": (16, 32), "stage2": (32, 16), "stage3": (64, 8)},
    "wrn_28_2": {"stage1": (32, 32), "stage2": (64, 16), "stage3": (128, 8)},
    "wrn_28_2_fixmatch": {"stage1": (32, 32), "stage2": (64, 16), "stage3": (128, 8)},
    "wrn_40_2": {"stage1": (32, 32), "stage2": (64, 16), "stage3": (128, 8)},
    "resnet18_cifar": {"stage1": (64, 32), "stage2": (128, 16), "stage3": (256, 8), "stage4": (512, 4)},
    "resnet18": {"stage1": (64, 8), "stage2": (128, 4), "stage3": (256, 2), "stage4": (512, 1)},
    "resnet50": {"stage1": (256, 8), "stage2": (512, 4), "stage3": (1024, 2), "stage4": (2048, 1)},
    "resnet50_cifar": {"stage1": (256, 32), "stage2": (512, 16), "stage3": (1024, 8), "stage4": (2048, 4)},
    "preact_resnet18": {"stage1": (64, 32), "stage2": (128, 16), "stage3": (256, 8), "stage4": (512, 4)},
    "vgg16": {"stage1": (64, 16), "stage2": (128, 8), "stage3": (256, 4), "stage4": (512, 2), "stage5": (512, 1)},
}


@pytest.mark.parametrize("name", OWN)
def test_forward__32_pixels__gives_features_and_maps_coarsest_last(name: str) -> None:
    backbone = build(name).eval()
    with torch.inference_mode():
        features = backbone(torch.rand(2, 3, 32, 32))
    assert features.pooled.shape == (2, backbone.num_features)
    assert list(features.maps) == list(backbone.map_channels) == list(MAPS[name])
    assert backbone.map_channels == {key: channels for key, (channels, _) in MAPS[name].items()}
    assert {key: tuple(value.shape[1:]) for key, value in features.maps.items()} == {
        key: (channels, side, side) for key, (channels, side) in MAPS[name].items()
    }


@pytest.mark.parametrize(
    ("name", "height", "width", "last"),
    [
        ("conv4", 4, 4, (1, 1)),
        ("conv4", 33, 21, (9, 6)),
        ("lenet5", 28, 28, (5, 5)),
        ("lenet5", 28, 32, (5, 5)),
        ("resnet8", 8, 8, (2, 2)),
        ("resnet8", 33, 21, (9, 6)),
        ("densenet40_12", 28, 28, (7, 7)),
        ("densenet40_12", 8, 13, (2, 3)),
        ("wrn_10_1", 28, 28, (7, 7)),
        ("wrn_10_1", 33, 21, (9, 6)),
        ("resnet18_cifar", 8, 8, (1, 1)),
        ("resnet18_cifar", 28, 20, (4, 3)),
        ("preact_resnet18", 9, 16, (2, 2)),
        ("resnet18", 8, 8, (1, 1)),
        ("resnet50", 65, 96, (3, 3)),
        ("vgg16", 65, 96, (2, 3)),
        ("efficientnet_lite0", 8, 8, (1, 1)),
        ("efficientnet_lite0", 65, 96, (3, 3)),
    ],
)
def test_forward__other_sizes__work(name: str, height: int, width: int, last: tuple[int, int]) -> None:
    backbone = build(name, channels=1, height=height, width=width).eval()
    with torch.inference_mode():
        features = backbone(torch.rand(2, 1, height, width))
    assert features.pooled.shape == (2, backbone.num_features)
    assert list(features.maps.values())[-1].shape[2:] == last


@pytest.mark.parametrize("name", ["conv4", "resnet8", "densenet40_12", "wrn_10_1", "resnet50_cifar", "preact_resnet18"])
def test_forward__pooled__is_the_mean_of_the_last_map(name: str) -> None:
    backbone = build(name).double().eval()
    with torch.inference_mode():
        features = backbone(torch.rand(2, 3, 16, 16, dtype=torch.float64))
    torch.testing.assert_close(features.pooled, list(features.maps.values())[-1].flatten(2).mean(2))


SHIFTED = {"efficientnet_lite0"}  # batch norm takes away shifts of the projections before it: they have no gradient


@pytest.mark.parametrize("name", OWN)
def test_backward__pooled__reaches_every_parameter(name: str) -> None:
    backbone = build(name).train(name not in SHIFTED)
    features = backbone(torch.rand(2, 3, 32, 32))
    weights = torch.rand_like(features.pooled)
    gradients = torch.autograd.grad((features.pooled * weights).sum(), list(backbone.parameters()))
    for (key, _), gradient in zip(backbone.named_parameters(), gradients, strict=True):
        assert gradient.isfinite().all(), key
        assert gradient.any(), key


@pytest.mark.parametrize("name", OWN)
def test_forward__channels_last__gives_the_same_numbers(name: str) -> None:
    backbone = build(name).double().eval()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        expected = backbone(images).pooled
        backbone.to(memory_format=torch.channels_last)
        found = backbone(images.contiguous(memory_format=torch.channels_last)).pooled
    torch.testing.assert_close(found, expected)


def test_resnet__shortcut_of_a_new_stage__has_no_parameters_and_pads_with_zeros() -> None:
    block = build("resnet8").stage2[0]
    with torch.no_grad():
        block.norm2.weight.zero_()
        maps = torch.rand(2, 16, 9, 9)
        out = block.eval()(maps)
    assert torch.equal(out[:, 8:24], maps[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_densenet__block__keeps_its_input_as_first_channels() -> None:
    block = build("densenet40_12").block1
    maps = torch.rand(2, 24, 8, 8)
    with torch.no_grad():
        assert torch.equal(block(maps)[:, :24], maps)


@pytest.mark.parametrize("name", ["resnet8", "lenet5", "wrn_10_1", "efficientnet_lite0"])
def test_backward__second_derivative__exists(name: str) -> None:
    backbone = build(name)
    parameters = list(backbone.parameters())
    loss = backbone(torch.rand(2, 3, 32, 32)).pooled.square().sum()
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), parameters, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in second)
