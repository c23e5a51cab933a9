"""Several encoders as one network."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError
from auxo.pretexts.fusions import EncoderSet, RenormalisedBackbone
from auxo.tasks import Classification

TASK = Classification(("a", "b"), channels=3, height=16, width=16)


@pytest.fixture
def networks():
    return {name: BackboneConfig(name="resnet8").build(TASK, seed=0, stream=name) for name in ("one", "two")}


def test_encoder_set__pooled__features_side_by_side_and_maps_with_names(networks):
    both, images = EncoderSet(networks), torch.randn(4, 3, 16, 16)
    found = both(images)
    expected = torch.cat([network(images).pooled for network in networks.values()], 1)
    assert torch.equal(found.pooled, expected)
    assert (both.num_features, both.widths, both.totals) == (128, ((64,), (64,)), [64, 64])
    assert list(found.maps) == list(both.map_channels)
    assert torch.equal(found.maps["two_stage3"], networks["two"](images).maps["stage3"])
    assert both.map_size("two_stage3", height=16, width=16) == (16, 16)


def test_encoder_set__levels__are_means_over_the_pixels_of_maps(networks):
    both, images = EncoderSet(networks, levels=("stage1", "pooled")), torch.randn(4, 3, 16, 16)
    one = networks["one"](images)
    expected = torch.cat([one.maps["stage1"].mean((2, 3)), one.pooled], 1)
    assert both.widths == ((16, 64), (16, 64))
    assert torch.equal(both(images).pooled[:, :80], expected)


def test_encoder_set__a_level_that_an_encoder_lacks__is_refused_with_its_name(networks):
    with pytest.raises(ConfigError, match=r"levels of the encoder one among stage1, .*pooled, got 'stage9'"):
        EncoderSet(networks, levels=("stage9",))


def test_encoder_set__put_into_training__stays_in_evaluation_and_frozen(networks):
    both = EncoderSet(networks).train()
    before = {name: tensor.clone() for name, tensor in both.state_dict().items()}
    assert not both(torch.randn(4, 3, 16, 16)).pooled.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in both.state_dict().items())
    assert EncoderSet(networks, is_trained=True).train()(torch.randn(4, 3, 16, 16)).pooled.requires_grad


def test_encoder_set__described__says_its_levels(networks):
    described = [str(EncoderSet(networks, levels=levels)) for levels in (("pooled",), ("stage1",))]
    assert described[0] != described[1]


def test_renormalised_backbone__inputs__are_scaled_and_shifted(networks):
    scale, shift = torch.tensor([2.0, 1.0, 0.5]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    network = networks["one"].eval()
    made, images = RenormalisedBackbone(network, scale=scale, shift=shift), torch.randn(2, 3, 16, 16)
    assert torch.equal(made(images).pooled, network(images * scale + shift).pooled)
