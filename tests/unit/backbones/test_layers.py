"""Layers of a backbone, from the image on: the order in which a forward pass reaches them."""

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import group_layers
from auxo.registry import entries
from auxo.tasks import Classification

TASK = Classification(("a", "b"), channels=3, height=32, width=32)
COUNTS = {"lenet5": 4, "conv4": 4, "resnet18": 9, "resnet50": 17, "vgg16": 13, "efficientnet_lite0": 18, "resnet8": 4}


@pytest.mark.parametrize("name", [name for name in entries("backbones") if name not in ("hf", "timm")])
def test_list_layers__own_backbone__has_every_parameter_once_in_the_order_of_a_forward_pass(name):
    backbone = BackboneConfig(name=name).build(TASK, seed=0).eval()
    layers = backbone.list_layers()
    names = [each for members in layers for each in members]
    assert sorted(names) == sorted(key for key, _ in backbone.named_parameters())
    assert COUNTS.get(name, len(layers)) == len(layers) > 3
    number = {each: place for place, members in enumerate(layers) for each in members}
    reached = []
    for path, module in backbone.named_modules():
        own = [f"{path}.{key}" for key, _ in module.named_parameters(recurse=False)]
        if own:
            module.register_forward_hook(lambda *_, own=own: reached.append(number[own[0]]))
    with torch.inference_mode():
        backbone(torch.zeros(1, 3, 32, 32))
    assert reached == sorted(reached)


def test_group_layers__blocks_with_numbers_of_their_own__are_whole_where_one_number_counts():
    block = [nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(2)]
    network = nn.ModuleDict({"embedding": nn.Linear(2, 2), "blocks": nn.ModuleList(block), "norm": nn.LayerNorm(2)})
    assert [members[0] for members in group_layers(network, numbers=1)] == [
        "embedding.weight",
        "blocks.0.0.weight",
        "blocks.1.0.weight",
    ]
    assert group_layers(network, numbers=1)[-1][-2:] == ["norm.weight", "norm.bias"]
    assert len(group_layers(network, numbers=2)) == 5
