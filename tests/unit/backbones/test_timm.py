import importlib.util
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


def test_build__timm_without_a_model__says_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match="timm:resnet18"):
        BackboneConfig(name="timm").build(TASK, seed=0)


@pytest.mark.skipif(has_timm, reason="timm is installed")
def test_build__timm_missing__gives_the_install_hint() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'auxo\[timm\]'.*torchvision built for torch"):
        BackboneConfig(name="timm:resnet18").build(TASK, seed=0)


@needs_timm
@pytest.mark.parametrize("name", ["timm:resnet18", "timm:mobilenetv3_small_050"])
def test_build__timm_model__gives_features_maps_and_gradients(name: str) -> None:
    backbone = BackboneConfig(name=name).build(TASK, seed=0).eval()
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
def test_build__unknown_timm_model__is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="a model of timm"):
        BackboneConfig(name="timm:resnet18x").build(TASK, seed=0)


@needs_timm
def test_build__size_that_the_timm_model_refuses__is_a_shape_error() -> None:
    with pytest.raises(ShapeError, match="64x64"):
        BackboneConfig(name="timm:vit_tiny_patch16_224").build(TASK, seed=0)


@needs_timm
def test_first_normalisation__published_weights__is_what_timm_says() -> None:
    import timm

    stated = timm.get_pretrained_cfg("resnet18")
    found = BackboneConfig(name="timm:resnet18", pretrained=True).first_normalisation()
    assert found == (tuple(stated.mean), tuple(stated.std))
    assert BackboneConfig(name="timm:resnet18").first_normalisation() is None
