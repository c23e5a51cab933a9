"""Mixed statistics: against a plain rendering, what leaves them as they are, and which layers have them."""

import pytest
import torch
from torch import nn

from auxo.adaptation import UnlabelledImages
from auxo.adaptation._statistics import find_batch_norms
from auxo.adaptation.batch_norm import BatchNormAdaptation
from auxo.data import InMemorySource
from auxo.errors import ConfigError, NonFiniteError

from ...reference.adaptation_plain import mix_batch_norm
from .conftest import SHAPES, SIDE, Small


def read_state(setting):
    """A copy of all that a network knows."""
    return {name: tensor.clone() for name, tensor in setting.reader.method.state_dict().items()}


@pytest.mark.parametrize("mixing", [0.3, 1.0])
def test_batch_norm__images_in_one_batch__statistics_and_outputs_of_the_plain_rendering(
    make_setting, inputs_of, mixing
):
    setting, plain = make_setting(), Small().eval()
    with torch.no_grad():
        expected, statistics = mix_batch_norm(plain.backbone, inputs_of(setting, SHAPES), mixing)
        facts = BatchNormAdaptation(mixing=mixing).adapt(setting)
        found = setting.reader.method.backbone(inputs_of(setting, SHAPES))
    layers = [layer for layer in setting.reader.method.backbone if isinstance(layer, nn.BatchNorm2d)]
    for layer, (mean, variance) in zip(layers, statistics, strict=True):
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.running_var, variance, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert facts == {"images": 48, "layers": 2}


def test_batch_norm__mixing_zero__is_the_source_to_the_bit(make_setting):
    setting = make_setting()
    before = read_state(setting)
    BatchNormAdaptation(mixing=0.0).adapt(setting)
    assert all(torch.equal(before[name], tensor) for name, tensor in read_state(setting).items())


def test_batch_norm__any__moves_statistics_alone(make_setting):
    setting = make_setting()
    before = read_state(setting)
    BatchNormAdaptation().adapt(setting)
    moved = {name for name, tensor in read_state(setting).items() if not torch.equal(before[name], tensor)}
    assert moved == {f"backbone.{place}.running_{part}" for place in (1, 4) for part in ("mean", "var")}
    assert not setting.reader.method.training


@pytest.mark.parametrize("images", [500, 20])
def test_batch_norm__other_order_and_other_labels__changes_nothing(make_setting, permuted, images):
    one, other = make_setting(), make_setting(source=permuted)
    for setting in (one, other):
        BatchNormAdaptation(images=images).adapt(setting)
    for name, tensor in read_state(one).items():
        torch.testing.assert_close(read_state(other)[name], tensor, rtol=1e-6, atol=1e-7)
    if images == 20:  # chosen by content
        parts = [source.images[UnlabelledImages(source).choose(20)] for source in (SHAPES, permuted)]
        assert torch.equal(*parts)


def test_batch_norm__planted_gain_and_offset_of_a_channel__is_undone_where_the_target_counts_alone(make_setting):
    class First(Small):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.BatchNorm2d(3), *self.backbone)

    gain, offset = torch.tensor([0.5, 0.7, 0.9]).view(1, 3, 1, 1), torch.tensor([60.0, 20.0, 5.0]).view(1, 3, 1, 1)
    changed = InMemorySource("new", (SHAPES.images * gain + offset).round().to(torch.uint8))
    plain, shifted = make_setting(First()), make_setting(First(), source=changed)
    outputs = {}
    for mixing in (0.0, 1.0):
        for name, setting in (("plain", plain), ("shifted", shifted)):
            BatchNormAdaptation(mixing=mixing).adapt(setting)
            with torch.no_grad():
                pixels = setting.target.fetch(torch.arange(len(SHAPES)))
                outputs[name, mixing] = setting.reader.outputs(setting.reader.inputs(pixels))["semantic"]
    gap = {mixing: (outputs["plain", mixing] - outputs["shifted", mixing]).abs().mean() for mixing in (0.0, 1.0)}
    assert gap[1.0] < 0.1 * gap[0.0]  # what is left is rounding to 256 levels


class Frozen(nn.Module):
    """Batch norm of constants, as torchvision, timm and Hugging Face have it in detectors; with an activation."""

    def __init__(self, num_features):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((num_features,), value))

    def forward(self, values):
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return (values * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).relu()


class Fused(nn.BatchNorm2d):
    """Batch norm with its activation in one layer, as timm has it."""

    def forward(self, values):
        return super().forward(values).relu()


@pytest.mark.parametrize("norm", [Frozen, Fused])
def test_batch_norm__frozen_and_fused_kinds__are_given_what_batch_norm_is(make_setting, norm):
    one, other = make_setting(Small()), make_setting(Small(norm=norm))
    other.reader.method.load_state_dict(one.reader.method.state_dict(), strict=False)
    for setting in (one, other):
        BatchNormAdaptation().adapt(setting)
    found, expected = read_state(other), read_state(one)
    for name in (name for name in expected if "running" in name):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_find_batch_norms__norms_of_timm__are_found():
    layers = pytest.importorskip("timm.layers")
    kinds = (layers.BatchNormAct2d, layers.FrozenBatchNormAct2d, layers.SyncBatchNormAct)
    assert [*find_batch_norms(nn.Sequential(*(kind(4) for kind in kinds)))] == ["0", "1", "2"]


def test_find_batch_norms__instance_norm_and_batch_norm_without_statistics__are_left_out():
    norms = (nn.InstanceNorm2d(4, track_running_stats=True), nn.BatchNorm2d(4, track_running_stats=False))
    assert not find_batch_norms(nn.Sequential(*norms, nn.GroupNorm(2, 4)))


def test_batch_norm__network_without__is_refused_with_what_else_there_is(make_setting):
    method = Small(norm=lambda count: nn.GroupNorm(2, count))
    with pytest.raises(ConfigError, match=r"network with batch norm.* got none in Sequential.* label some of them"):
        BatchNormAdaptation().require(make_setting(method))


def test_batch_norm__elsewhere_only__is_refused(make_setting):
    method = Small(norm=lambda count: nn.GroupNorm(2, count))
    method.other = nn.BatchNorm2d(3)
    with pytest.raises(ConfigError, match="on the way to the head that predicts"):
        BatchNormAdaptation().adapt(make_setting(method))


def test_batch_norm__weights_that_are_nan__names_the_layer_and_the_set(make_setting):
    method = Small()
    with torch.no_grad():
        method.backbone[0].weight[0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"finite inputs of backbone\.1 on "):
        BatchNormAdaptation().adapt(make_setting(method))


def test_batch_norm__few_images__is_a_doubt(make_setting):
    doubt, *_ = BatchNormAdaptation().find_doubts(make_setting())
    assert doubt.startswith("48 images are few to adapt to")
    many = make_setting(source=SHAPES.subset(torch.arange(100) % 48, "many"))
    assert not any("are few" in doubt for doubt in BatchNormAdaptation().find_doubts(many))


def test_unlabelled_images__a_source_with_labels__has_no_way_to_them():
    images = UnlabelledImages(SHAPES)
    assert {name for name in dir(images) if name[0] != "_"} == {"choose", "fetch", "name"}
    assert images.fetch(torch.arange(2)).shape == (2, 3, SIDE, SIDE)
