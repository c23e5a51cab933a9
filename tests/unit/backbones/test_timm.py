"""Models of timm with random weights, at sizes of the images' own; run where timm is installed (scripts/check-timm)."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError, ShapeError
from auxo.tasks import Classification

TASK = Classification(("a", "b"), channels=1, height=64, width=64)
has_timm = importlib.util.find_spec("timm") is not None
needs_timm = pytest.mark.skipif(not has_timm, reason="timm is not installed (extra auxo[timm])")


def build(name: str, *, height: int = 64, width: int = 64, pretrained: bool = False):
    task = Classification(("a", "b"), channels=1, height=height, width=width)
    return BackboneConfig(name=name, pretrained=pretrained).build(task, seed=0)


def test_build__timm_without_a_model__says_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match="timm:resnet18"):
        BackboneConfig(name="timm").build(TASK, seed=0)


def test_build__timm_missing__gives_the_install_hint(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # which makes the import fail
    with pytest.raises(ConfigError, match=r"pip install 'auxo\[timm\]'.*torchvision built for torch"):
        BackboneConfig(name="timm:resnet18").build(TASK, seed=0)


@needs_timm
@pytest.mark.parametrize("name", ["timm:resnet18", "timm:mobilenetv3_small_050"])
def test_build__timm_model__gives_features_maps_and_gradients(name: str) -> None:
    backbone = build(name).eval()
    features = backbone(torch.rand(2, 1, 64, 64))
    assert features.pooled.shape == (2, backbone.num_features)
    sides = [value.shape[-1] for value in features.maps.values()]
    assert sides == sorted(sides, reverse=True)
    gradients = torch.autograd.grad(features.pooled.sum(), list(backbone.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@needs_timm
def test_build__timm_model_twice__equal_weights() -> None:
    first = BackboneConfig(name="timm:resnet18").build(TASK, seed=1).state_dict()
    second = BackboneConfig(name="timm:resnet18").build(TASK, seed=1).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@needs_timm
@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("vit_tiny_patch16_224", (4, 6)),
        ("swin_tiny_patch4_window7_224", (2, 3)),
        ("hiera_tiny_224", (2, 3)),
        ("maxvit_rmlp_pico_rw_256", (2, 3)),
        ("convnext_atto", (2, 3)),
    ],
)
def test_build__size_that_a_model_was_not_made_for__is_built_for_it(name: str, last: tuple[int, int]) -> None:
    maps = build(f"timm:{name}", height=64, width=96).eval()(torch.rand(1, 1, 64, 96)).maps
    assert tuple(list(maps.values())[-1].shape[2:]) == last


@needs_timm
def test_build__part_of_a_patch__says_which_sizes_work() -> None:
    with pytest.raises(ShapeError, match=r"multiples of 14x14.*got 64x64: pass --data.image-size 56 or 70"):
        build("timm:vit_small_patch14_dinov2")


@needs_timm
def test_build__size_that_a_network_cannot_fold__names_its_own() -> None:
    with pytest.raises(ShapeError, match=r"got 40x40.*pass --data.image-size 224, which it is made for"):
        build("timm:hiera_tiny_224", height=40, width=40)


@needs_timm
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm:resnet34x", "did you mean timm:resnet34 "),
        ("timm:dinov2", "did you mean timm:vit_"),
        ("timm:timm/resnet18.a1_in1k", "did you mean timm:resnet18 "),
        ("timm:resnet18.a1_in2k", "got 'a1_in2k': did you mean timm:resnet18.a1_in1k"),
        ("timm:qqqqqqq", "auxo list backbones --search"),
        ("dinov2_small", "did you mean timm:vit_small_patch14_dinov2"),
    ],
)
def test_build__name_that_timm_does_not_have__suggests_those_it_may_mean(name: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_timm
def test_pretrained__offline__says_so_and_does_not_suggest_another_name(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="no connection to the hub, and no copy of 'timm/resnet18") as caught:
        BackboneConfig(name="timm:resnet18", pretrained=True).build(
            Classification(("a", "b"), channels=3, height=64, width=64), seed=0
        )
    assert "did you mean" not in str(caught.value)


@needs_timm
def test_pretrained__model_without_weights__says_so() -> None:
    with pytest.raises(ConfigError, match="with published weights, got 'botnet50ts_256', which has none"):
        build("timm:botnet50ts_256", pretrained=True)


@needs_timm
def test_weights__file_of_a_timm_model__with_its_classifier_gives_its_logits(tmp_path: Path) -> None:
    import timm

    whole = timm.create_model("resnet18", num_classes=5, in_chans=1).eval()
    save_file(dict(whole.state_dict()), tmp_path / "model.safetensors")
    config = BackboneConfig(name="timm:resnet18", weights=str(tmp_path / "model.safetensors"))
    backbone = config.build(TASK, seed=0).eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(whole.fc(backbone(images).pooled), whole(images))


@needs_timm
def test_first_normalisation__published_weights__is_what_timm_says() -> None:
    import timm

    stated = timm.get_pretrained_cfg("resnet18")
    found = BackboneConfig(name="timm:resnet18", pretrained=True).first_normalisation()
    assert found == (tuple(stated.mean), tuple(stated.std))
    assert BackboneConfig(name="timm:resnet18").first_normalisation() is None


@needs_timm
def test_search__words__finds_models_with_all_of_them_and_their_sizes() -> None:
    from auxo.backbones.timm import search

    found = search("dino small")
    assert found
    assert all("dino" in model.name and "small" in model.name for model in found)
    sizes = {model.name: (model.pixels, model.is_fixed, model.has_weights) for model in found}
    assert sizes["timm:vit_small_patch14_dinov2.lvd142m"] == (518, True, True)
