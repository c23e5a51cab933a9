"""Options of pretexts on two views: what they build, from which random numbers, and what they refuse."""

import math

import pytest
import torch
from torch import nn

from auxo.errors import ConfigError
from auxo.interfaces import PretextConfig
from auxo.options import find_member

NAMES = ("simclr", "byol", "barlow_twins", "vicreg")
OWNERS = {
    "temperature": "simclr",
    "momentum": "byol",
    "off_diagonal_weight": "barlow_twins",
    "invariance_weight": "vicreg",
    "variance_weight": "vicreg",
    "covariance_weight": "vicreg",
}
WRONG = [
    ("hidden", 0),
    ("outputs", 1),
    ("num_layers", 1),
    ("temperature", 0.0),
    ("temperature", math.inf),
    ("temperature", math.nan),
    ("momentum", 1.1),
    ("momentum", -0.1),
    ("off_diagonal_weight", -1.0),
    ("invariance_weight", math.inf),
    ("variance_weight", -1.0),
    ("covariance_weight", math.nan),
]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_option__out_of_range__is_refused_in_one_line(option, value):
    kind = find_member(PretextConfig, OWNERS.get(option, "simclr"))
    with pytest.raises(ConfigError, match=rf"expected {option.replace('_', '-')} ") as refused:
        kind(**{option: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_build__any_pretext__projector_has_the_widths_and_no_biases(build, name):
    _, pretext = build(name=name, hidden=8, outputs=4, num_layers=4)
    kinds = [type(layer) for layer in pretext.projector]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 3 + [nn.Linear]
    linear = [layer for layer in pretext.projector if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(64, 8), (8, 8), (8, 8), (8, 4)]
    assert all(layer.bias is None for layer in linear)


def test_build__equal_seeds__all_pretexts_start_from_one_projector_and_byol_predicts_from_another(build):
    first = build(name="simclr", hidden=4)[1].projector[0].weight
    for name in NAMES[1:]:
        assert torch.equal(build(name=name, hidden=4)[1].projector[0].weight, first)
    _, byol = build(name="byol", outputs=64)
    assert byol.predictor[0].weight.shape == byol.projector[0].weight.shape
    assert not torch.equal(byol.predictor[0].weight, byol.projector[0].weight)
