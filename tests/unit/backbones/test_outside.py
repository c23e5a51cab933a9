"""Backbones of the user's own, from a Python file."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.errors import CheckpointError, ConfigError
from auxo.tasks import Classification

FILE = """
from torch import nn
from auxo.errors import ShapeError
from auxo.interfaces import AbstractBackbone
from auxo.types import Features

class Tiny(AbstractBackbone):
    num_features = 4

    def __init__(self, *, channels, height, width):
        super().__init__()
        self.layer = nn.Conv2d(channels, 4, 3)
        self.size = height, width

    def forward(self, images):
        maps = self.layer(images)
        return Features(maps.mean((2, 3)), {"last": maps})

def of_any_size(channels, **size):
    return Tiny(channels=channels, height=0, width=0)

class Nameless(Tiny):
    num_features = None

class Picky(Tiny):
    def __init__(self, **size):
        raise ShapeError("images of one pixel", "others", "shrink them")

def linear(channels, height, width):
    return nn.Linear(channels, 3)

def without_size():
    return None
"""
TASK = Classification(("a", "b"), channels=3, height=9, width=7)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(FILE)
    return path


def test_build__class_of_a_file__gets_channels_height_and_width(file: Path) -> None:
    backbone = BackboneConfig(name=f"{file}:Tiny").build(TASK, seed=0)
    assert (backbone.num_features, backbone.size) == (4, (9, 7))
    assert backbone(torch.zeros(2, 3, 9, 7)).pooled.shape == (2, 4)


def test_build__function_of_a_file__is_called_alike(file: Path) -> None:
    backbone = BackboneConfig(name=f"{file}:of_any_size").build(TASK, seed=0)
    assert backbone.size == (0, 0)


def test_build__weights__follow_the_seed_alone_and_leave_the_global_generator(file: Path) -> None:
    config = BackboneConfig(name=f"{file}:Tiny")
    first = config.build(TASK, seed=1).layer.weight
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    second = config.build(TASK, seed=1).layer.weight
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, config.build(TASK, seed=2).layer.weight)


def test_build__weights_of_a_file__are_read_unless_others_take_their_place(file: Path, tmp_path: Path) -> None:
    weights = {"weights.backbone.layer.weight": torch.ones(4, 3, 3, 3), "weights.backbone.layer.bias": torch.ones(4)}
    save_file(weights, tmp_path / "first.safetensors")
    config = BackboneConfig(name=f"{file}:Tiny", weights=str(tmp_path / "first.safetensors"))
    assert bool((config.build(TASK, seed=0).layer.weight == 1).all())
    assert not bool((config.build(TASK, seed=0, first_weights=False).layer.weight == 1).any())
    save_file({"other": torch.ones(1)}, tmp_path / "first.safetensors")
    with pytest.raises(CheckpointError, match=r"the weights of .*net\.py:Tiny"):
        config.build(TASK, seed=0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Missing", r"a class or function called Missing in .*net\.py that makes an AbstractBackbone, got none"),
        ("linear", r"called linear in .*net\.py that makes an AbstractBackbone, got one that makes a Linear"),
        ("without_size", r"net\.py to run, got TypeError: without_size\(\) got an unexpected keyword argument"),
        ("Nameless", r"a whole number num_features in the backbone .*net\.py:Nameless, got none"),
    ],
)
def test_build__no_backbone__is_told_in_one_line(file: Path, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        BackboneConfig(name=f"{file}:{name}").build(TASK, seed=0)
    assert "\n" not in str(caught.value)


def test_build__error_of_auxo_from_the_file__passes_as_it_is(file: Path) -> None:
    with pytest.raises(Exception, match=re.escape("expected images of one pixel, got others: shrink them")) as caught:
        BackboneConfig(name=f"{file}:Picky").build(TASK, seed=0)
    assert type(caught.value).__name__ == "ShapeError"


def test_config__file__is_not_run_before_it_is_built(tmp_path: Path) -> None:
    config = BackboneConfig(name=f"{tmp_path}/gone.py:Tiny")
    assert config.recorded() is config
    with pytest.raises(ConfigError, match="a Python file, got no file"):
        config.build(TASK, seed=0)


def test_config__pretrained_with_a_file__is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"a backbone that has published weights"):
        BackboneConfig(name=f"{file}:Tiny", pretrained=True)
