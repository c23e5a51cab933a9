"""Grad-CAM of networks whose maps are copies of tokens: where the tokens are, and that their maps are the formula's."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError
from auxo.explain import choose_layer, grad_cam, observe
from auxo.explain.tokens import find_paths
from auxo.interfaces import AbstractBackbone
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.tasks import Classification
from auxo.types import Features

TASK = Classification(("a", "b", "c"), channels=3, height=16, width=24)
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
CLASSES = torch.tensor([0, 2])


def build_method(backbone):
    return Supervised.Config().build(Networks(backbone, TASK, seed=0)).eval()


@pytest.fixture
def build_transformer(tmp_path):
    """Build supervised training on a model of transformers with random weights."""

    def build(kind, **options):
        config = {"model_type": kind, "image_size": 16, "patch_size": 4, **SIZES, **options}
        (tmp_path / "config.json").write_text(json.dumps(config))
        method = build_method(BackboneConfig(name=f"hf:{tmp_path}").build(TASK, seed=0))
        with torch.no_grad():  # the first weights are so small that attention is even
            for parameter in method.backbone.parameters():
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
        return method

    return build


def count_hooks(method):
    return sum(len(module._forward_hooks) for module in method.modules())


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("vit", "stem stage1 stage2"),
        ("vit_mae", "stem stage1 stage2"),
        ("siglip_vision_model", "stem stage1 stage2 stage3"),
    ],
)
def test_find_paths__tokens__lead_to_the_prediction_but_for_those_that_nothing_reads(
    build_transformer, images, kind, expected
):
    method = build_transformer(kind)
    before = count_hooks(method)  # transformers has some of its own
    paths = find_paths(method, images[:1])
    assert count_hooks(method) == before
    assert list(paths) == expected.split()
    assert all(path is not None for path in paths.values())
    assert choose_layer(observe(method, images).features.maps, None, read=paths) == expected.split()[-1]


def test_grad_cam__tokens_of_a_block__is_the_formula_for_those_of_patches(build_transformer, images):
    method = build_transformer("vit")
    block = next(each for each in method.backbone.modules() if type(each).__name__ == "ViTLayer")
    seen = []
    handle = block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits = method.predict(images)
    handle.remove()
    before = count_hooks(method)
    (gradient,) = torch.autograd.grad(logits.gather(1, CLASSES.view(-1, 1)).sum(), seen[0])
    patches, weights = seen[0][:, 1:], gradient[:, 1:].mean(1, keepdim=True)  # the first is the class token
    expected = functional.relu((weights * patches).sum(-1)).view(2, 4, 6).detach()
    found = grad_cam(method, images, layer="stage1", classes=CLASSES)
    assert expected.any()
    torch.testing.assert_close(found, expected)
    assert count_hooks(method) == before


def test_grad_cam__tokens_that_nothing_reads__names_those_that_are_read(build_transformer, images):
    with pytest.raises(ConfigError, match="got 'stage3': pass --layer with one of stem, stage1, stage2"):
        grad_cam(build_transformer("vit"), images, layer="stage3", classes=CLASSES)


class Rows(AbstractBackbone):
    """Two layers on rows, columns and channels, as Swin in timm, the map of the first given as a copy."""

    num_features = 5

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 5)

    def forward(self, images):
        rows = self.first(images[:, :, ::4, ::4].permute(0, 2, 3, 1))
        return Features(self.second(rows.relu()).mean((1, 2)), {"rows": rows.permute(0, 3, 1, 2).clone()})


def test_grad_cam__rows_columns_and_channels__is_the_formula(images):
    torch.manual_seed(0)
    method = build_method(Rows())
    assert find_paths(method, images)["rows"].module is method.backbone.first
    rows = method.backbone.first(images[:, :, ::4, ::4].permute(0, 2, 3, 1))
    logits = method.semantic(method.backbone.second(rows.relu()).mean((1, 2)))
    (gradient,) = torch.autograd.grad(logits.gather(1, CLASSES.view(-1, 1)).sum(), rows)
    expected = functional.relu((gradient.mean((1, 2), keepdim=True) * rows).sum(-1)).detach()
    torch.testing.assert_close(grad_cam(method, images, layer="rows", classes=CLASSES), expected)
