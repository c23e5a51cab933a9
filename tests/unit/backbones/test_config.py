import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError, ShapeError
from auxo.registry import entries
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
DRAWN = tuple(name for name in OWN if name not in ("resnet50_cifar", "vgg16"))  # drawn as resnet50; of 32 pixels


def task(side: int = 28, channels: int = 3) -> Classification:
    return Classification(class_names=("a", "b"), channels=channels, height=side, width=side)


def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
    return BackboneConfig(name=name).build(task(), seed=seed).state_dict()


def test_entries__backbones__lists_every_name_with_its_source() -> None:
    found = entries("backbones")
    assert sorted(found) == sorted([*OWN, "hf", "timm"])
    assert all(
        ("http" in entry.source or entry.source.startswith("Ours")) and entry.summary.endswith(".")
        for entry in found.values()
    )


@pytest.mark.parametrize("name", DRAWN)
def test_build__same_seed__equal_weights_whatever_was_drawn_before(name: str) -> None:
    first = weights(name, seed=3)
    torch.rand(7)
    second = weights(name, seed=3)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", DRAWN)
def test_build__other_seed__other_weights_in_every_layer(name: str) -> None:
    first, second = weights(name, seed=0), weights(name, seed=1)
    drawn = [key for key in first if first[key].ndim > 1]
    assert drawn
    assert not any(torch.equal(first[key], second[key]) for key in drawn)


def test_build__global_generator__is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    BackboneConfig(name="resnet8").build(task(), seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_build__image_size__does_not_change_the_weights() -> None:
    small = BackboneConfig(name="resnet8").build(task(8), seed=0).state_dict()
    large = BackboneConfig(name="resnet8").build(task(40), seed=0).state_dict()
    assert all(torch.equal(small[key], large[key]) for key in small)


@pytest.mark.parametrize("name", ["lenet", "lenet5:small", "tim:resnet18"])
def test_build__unknown_name__gives_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        BackboneConfig(name=name).build(task(), seed=0)


def test_config__architecture_that_no_run_recorded__is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone.architecture as a run records it"):
        BackboneConfig(name="hf:a/b", architecture="{").recorded()


def test_recorded__own_backbone__notes_nothing() -> None:
    config = BackboneConfig(name="resnet8")
    assert config.recorded() is config
    assert BackboneConfig(name="resnet8", architecture='{"hf:a/b": {}}').recorded() == config


def test_config__pretrained_without_published_weights__names_those_that_have_some() -> None:
    with pytest.raises(ConfigError, match=r"published weights.*'resnet20'.*one of efficientnet_lite0, hf:\*, timm:\*"):
        BackboneConfig(name="resnet20", pretrained=True)


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        ("lenet5", 27, 28),
        ("lenet5", 64, 64),
        ("resnet20", 7, 32),
        ("densenet40_12", 32, 4),
        ("resnet18_cifar", 7, 8),
        ("resnet50", 8, 7),
        ("preact_resnet18", 8, 7),
        ("wrn_40_2", 7, 7),
    ],
)
def test_build__size_that_does_not_work__says_what_was_expected(name: str, height: int, width: int) -> None:
    with pytest.raises(ShapeError, match=f"got {height}x{width}"):
        BackboneConfig(name=name).build(Classification(("a",), channels=1, height=height, width=width), seed=0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet19", "did you mean resnet18"),
        ("microsoft/resnet-50", "did you mean hf:microsoft/resnet-50?"),
        ("timm/resnet18.a1_in1k", "did you mean timm:resnet18.a1_in1k?"),
        ("https://huggingface.co/microsoft/resnet-50", "did you mean hf:microsoft/resnet-50?"),
        ("net.py", "net.py:Name"),
    ],
)
@pytest.mark.parametrize("pretrained", [False, True])
def test_build__name_of_none__says_what_it_may_mean(name: str, says: str, pretrained: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        BackboneConfig(name=name, pretrained=pretrained).build(task(), seed=0)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(28, 28, "resnet20"), (63, 200, "resnet20"), (64, 64, "resnet18")]
)
def test_build__auto__is_the_network_for_the_shorter_side_and_has_its_weights(height, width, expected) -> None:
    images = Classification(("a", "b"), channels=3, height=height, width=width)
    found = BackboneConfig(name="auto").build(images, seed=3).state_dict()
    own = BackboneConfig(name=expected).build(images, seed=3).state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in found.items())


def test_config__auto_with_published_weights__is_the_network_that_brings_them_along() -> None:
    assert BackboneConfig(name="auto", pretrained=True).name == "efficientnet_lite0"
