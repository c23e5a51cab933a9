"""Every decoder on every kind of backbone: sizes, gradients, first weights; and what each reads."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.export import Dim

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError, OptionError
from auxo.layers.convolutions import enlarge_maps
from auxo.layers.decoders import (
    DecoderConfig,
    MapShape,
    PixelNetwork,
    keep_last_of_each_size,
    measure_maps,
)
from auxo.layers.decoders.deeplab import DeepLab
from auxo.layers.decoders.linear import Linear
from auxo.layers.decoders.unet import UNet
from auxo.layers.heads import pixel_head
from auxo.options import find_member, list_members
from auxo.tasks import Classification

DECODERS = list_members(DecoderConfig)
PAIRS = [*(("conv4", name) for name in DECODERS), ("resnet18", "unet"), ("efficientnet_lite0", "deeplab")]
SHAPES = {
    "stage1": MapShape(4, 32, 40, 1),
    "stage2": MapShape(6, 16, 20, 2),
    "stage3": MapShape(8, 8, 10, 4),
    "other": MapShape(9, 8, 10, 4),
}


def build_network(backbone, decoder, size=(33, 22), seed=0):
    task = Classification(("a", "b"), 3, *size)
    made = BackboneConfig(name=backbone).build(task, seed=seed)
    part = decoder.build(measure_maps(made, task.image_shape), seed=seed)
    return PixelNetwork(made, part, pixel_head("classifier", part.num_features, 5, seed=seed))


def make_maps(shapes=None, *, scale=1):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(2, shape.channels, shape.height * scale, shape.width * scale, generator=generator)
        for name, shape in (shapes or SHAPES).items()
    }


@pytest.mark.parametrize(("backbone", "decoder"), PAIRS)
def test_network__sizes_that_no_stride_divides__gives_features_of_a_map_and_all_of_the_decoder_learns(
    backbone, decoder
):
    network = build_network(backbone, find_member(DecoderConfig, decoder)())
    images = torch.rand(2, 3, 33, 22)
    features, logits = network(images)
    sizes = {each.shape[2:] for each in network.backbone(images).maps.values()}
    assert features.shape[:2] == (2, network.decoder.num_features)
    assert features.shape[2:] in sizes
    assert logits.shape == (2, 5, *features.shape[2:])
    parameters = [*network.decoder.parameters(), *network.classifier.parameters()]
    gradients = torch.autograd.grad((enlarge_maps(logits, (33, 22)) * torch.rand(2, 5, 33, 22)).sum(), parameters)
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("decoder", DECODERS)
def test_network__another_size_than_it_was_built_for__works(decoder):
    network = build_network("conv4", find_member(DecoderConfig, decoder)(), size=(32, 32)).eval()
    small, large = (network(torch.rand(1, 3, *size)).logits.shape[2:] for size in ((17, 5), (40, 61)))
    assert small[0] < large[0]
    assert small[1] < large[1]


@pytest.mark.parametrize("decoder", DECODERS)
def test_network__one_image__can_be_trained_on(decoder):
    network = build_network("conv4", find_member(DecoderConfig, decoder)(), size=(16, 16)).train()
    assert network(torch.rand(1, 3, 16, 16)).logits.isfinite().all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_network__channels_last__gives_the_same_numbers(decoder):
    network = build_network("conv4", find_member(DecoderConfig, decoder)()).double().eval()
    images = torch.rand(2, 3, 33, 22, dtype=torch.float64)
    with torch.inference_mode():
        expected = network(images).logits
        network.to(memory_format=torch.channels_last)
        found = network(images.contiguous(memory_format=torch.channels_last)).logits
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("decoder", DECODERS)
def test_network__exported_with_a_free_size__answers_alike_at_another(decoder):
    class Whole(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, images):
            return enlarge_maps(self.network(images).logits, (images.shape[2], images.shape[3]))

    network = Whole(build_network("conv4", find_member(DecoderConfig, decoder)())).eval()
    shapes = {"images": {0: Dim("batch"), 2: Dim("height", min=8, max=512), 3: Dim("width", min=8, max=512)}}
    program = torch.export.export(network, (torch.rand(2, 3, 32, 24),), dynamic_shapes=shapes)
    images = torch.rand(3, 3, 41, 57)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), network(images))


@pytest.mark.parametrize("decoder", ["unet", "deeplab"])
def test_build__seed__decides_the_first_weights_alone(decoder):
    config = find_member(DecoderConfig, decoder)()
    first, again, other = (config.build(SHAPES, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_measure_maps__backbone__is_left_as_it_was_and_measured_from_the_finest():
    backbone = BackboneConfig(name="efficientnet_lite0").build(Classification(("a", "b"), 3, 90, 120), seed=0)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    found = measure_maps(backbone.train(), (3, 90, 120))
    assert backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert found["stage2"] == MapShape(24, 23, 30, 4)
    assert [shape.stride for shape in found.values()] == [2, 4, 8, 16, 32, 32]


@pytest.mark.parametrize(("name", "decoder"), [("timm:resnet18", "unet"), ("timm:mobilenetv3_small_050", "deeplab")])
def test_network__backbone_of_timm__gives_logits_of_every_cell(name, decoder):
    pytest.importorskip("timm", exc_type=ImportError)
    network = build_network(name, find_member(DecoderConfig, decoder)(), size=(64, 48)).eval()
    assert network(torch.rand(2, 3, 64, 48)).logits.shape[:2] == (2, 5)


def test_measure_maps__maps_that_do_not_cover_the_image__are_refused():
    backbone = BackboneConfig(name="lenet5").build(Classification(("a", "b"), 3, 28, 28), seed=0)
    with pytest.raises(ConfigError, match="stage2 of LeNet5, over 20x20 of 28x28 pixels"):
        measure_maps(backbone, (3, 28, 28))


def test_keep_last_of_each_size__two_of_one_size__keeps_the_later():
    assert [*keep_last_of_each_size(SHAPES)] == ["stage1", "stage2", "other"]


def test_linear__map__is_the_map_as_it_is():
    maps = make_maps()
    for name, expected in (("", "other"), ("stage2", "stage2")):
        decoder = Linear.Config(map=name).build(SHAPES, seed=0)
        assert decoder(maps) is maps[expected]
        assert decoder.num_features == maps[expected].shape[1]


def test_linear__map_that_is_not_there__is_refused_with_those_that_are():
    with pytest.raises(OptionError, match=r"stage1, stage2, stage3, other.*'stage9'"):
        Linear.Config(map="stage9").build(SHAPES, seed=0)


@pytest.mark.parametrize(("stride", "names"), [(1, ["stage1", "stage2", "other"]), (2, ["stage2", "other"])])
def test_unet__stride__says_which_maps_are_read(stride, names):
    decoder = UNet.Config(stride=stride).build(SHAPES, seed=0)
    maps = {name: value.requires_grad_() for name, value in make_maps().items()}
    features = decoder(maps)
    assert features.shape[2:] == maps[names[0]].shape[2:]
    gradients = torch.autograd.grad(features.sin().sum(), [*maps.values()], allow_unused=True)
    assert [name for name, gradient in zip(maps, gradients, strict=True) if gradient is not None] == names


def test_unet__stride_of_no_map__is_refused():
    with pytest.raises(OptionError, match="<= 4"):
        UNet.Config(stride=8).build(SHAPES, seed=0)


def test_unet__evaluated__is_convolutions_of_enlarged_features_beside_the_map():
    decoder = UNet.Config(width=3, stride=2).build(SHAPES, seed=0).double().eval()
    maps = {name: value.double() for name, value in make_maps().items()}

    def convolve(level, values):
        found = nn.functional.conv2d(values, level[0][0].weight, padding=1)
        return torch.relu(found / (1 + level[0][1].eps) ** 0.5)  # batch norm at its first statistics

    coarse = convolve(decoder.levels[0], maps["other"])
    enlarged = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    expected = convolve(decoder.levels[1], torch.cat([enlarged, maps["stage2"]], 1))
    torch.testing.assert_close(decoder(maps), expected)


@pytest.mark.parametrize(
    ("shapes", "stride", "coarse", "fine"),
    [
        (SHAPES, 16, "other", "stage1"),
        (SHAPES, 2, "stage2", "stage1"),
        (SHAPES, 1, "stage1", None),
        ({f"s{k}": MapShape(4, 64 >> k, 64 >> k, 2**k) for k in range(1, 6)}, 16, "s4", "s2"),
        ({f"s{k}": MapShape(4, 64 >> k, 64 >> k, 2**k) for k in range(5, 7)}, 16, "s5", None),
    ],
)
def test_deeplab__stride__chooses_the_maps(shapes, stride, coarse, fine):
    decoder = DeepLab.Config(stride=stride).build(shapes, seed=0)
    assert (decoder.coarse, decoder.fine) == (coarse, fine)
    assert decoder(make_maps(shapes)).shape[2:] == make_maps(shapes)[fine or coarse].shape[2:]


def test_deeplab__rates__are_scaled_to_the_map():
    shapes = {"only": MapShape(4, 33, 66, 16)}
    for config, shapes_now, expected in (
        (DeepLab.Config(), shapes, [6, 12, 18]),
        (DeepLab.Config(rates=(6, 24)), shapes, [6, 24]),
        (DeepLab.Config(), {"only": shapes["only"]._replace(height=4)}, [1, 2]),
    ):
        decoder = config.build(shapes_now, seed=0)
        assert [branch[0].dilation[0] for branch in decoder.branches[1:]] == expected


def test_deeplab__mean_of_the_image__reaches_every_cell():
    shapes = {"only": MapShape(2, 9, 9, 16)}
    decoder = DeepLab.Config(rates=(1,)).build(shapes, seed=0).eval()
    maps = make_maps(shapes)
    other = {"only": maps["only"].clone()}
    other["only"][:, :, 0, 0] += 5.0
    assert (decoder(maps)[:, :, 8, 8] != decoder(other)[:, :, 8, 8]).any()


def test_deeplab__no_rates__are_refused():
    with pytest.raises(OptionError, match="one rate or more"):
        replace(DeepLab.Config(), rates=()).build(SHAPES, seed=0)
