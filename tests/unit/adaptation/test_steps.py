"""Adaptations by gradient steps, against plain renderings and at their limits."""

import copy
from itertools import chain

import pytest
import torch
from torch import nn

from auxo.adaptation.batch_norm import BatchNormAdaptation
from auxo.adaptation.rotation import RotationAdaptation
from auxo.adaptation.shot import ShotAdaptation
from auxo.adaptation.tent import TentAdaptation
from auxo.data import TrainSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError, NonFiniteError

from ...reference.adaptation_plain import learn_turns, maximise_information, minimise_entropy, mix_batch_norm
from .conftest import SHAPES, SIDE, Small
from .test_batch_norm import Frozen

SOURCE = oriented_shapes(20, size=SIDE, seed=5)
STEPS = {"epochs": 3, "lr": 0.05}


@pytest.fixture
def plain(make_setting, inputs_of):
    """A plain copy of the network with the statistics that are mixed first, and the images as inputs."""
    method, setting = Small().eval(), make_setting()
    images = inputs_of(setting, SHAPES)
    with torch.no_grad():
        _, statistics = mix_batch_norm(method.backbone, images, 0.5)
        norms = [layer for layer in method.backbone if isinstance(layer, nn.BatchNorm2d)]
        for layer, (mean, variance) in zip(norms, statistics, strict=True):
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
    return method, images


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach(), other, rtol=1e-3, atol=1e-4)


def test_tent__all_images_in_a_step__scales_and_shifts_of_the_plain_rendering(make_setting, plain):
    setting, (method, images) = make_setting(), plain
    before = copy.deepcopy(setting.reader.method.state_dict())
    facts = TentAdaptation(**STEPS).adapt(setting)
    expected = minimise_entropy(method.backbone, method.semantic, images, 3, 0.05)
    own = setting.reader.method.backbone
    assert_same([each for place in (1, 4) for each in (own[place].weight, own[place].bias)], expected)
    assert facts["steps"] == 3
    assert facts["last_loss"] < facts["first_loss"]
    moved = {name for name, tensor in setting.reader.method.state_dict().items() if not tensor.equal(before[name])}
    kinds = ("weight", "bias", "running_mean", "running_var")
    assert moved == {f"backbone.{place}.{kind}" for place in (1, 4) for kind in kinds}


def test_tent__no_layer_with_scales_that_can_be_trained__is_refused(make_setting):
    with pytest.raises(ConfigError, match="scales and shifts that can be trained"):
        TentAdaptation().require(make_setting(Small(norm=Frozen)))
    with pytest.raises(ConfigError, match="a network with batch norm"):
        TentAdaptation().require(make_setting(Small(norm=lambda count: nn.GroupNorm(2, count))))


def test_shot__all_images_in_a_step__backbone_of_the_plain_rendering(make_setting, plain, inputs_of):
    setting, (method, images) = make_setting(source_split=TrainSplit(SOURCE)), plain
    head = copy.deepcopy(setting.reader.method.semantic.state_dict())
    ShotAdaptation(**STEPS, source_weight=0.7).adapt(setting)
    labelled = inputs_of(setting, SOURCE), SOURCE.columns["label"].values
    expected = maximise_information(method.backbone, method.semantic, images, labelled, 3, 0.05, 0.7)
    assert_same([*setting.reader.method.backbone.parameters()], expected)
    assert all(tensor.equal(head[name]) for name, tensor in setting.reader.method.semantic.state_dict().items())


def test_shot__no_source_images__is_refused_unless_they_have_no_weight(make_setting):
    with pytest.raises(ConfigError, match=r"the run's training images .* got none: .*--source-weight 0"):
        ShotAdaptation().require(make_setting())
    ShotAdaptation(source_weight=0.0).require(make_setting())
    assert ShotAdaptation().needs_source
    assert not ShotAdaptation(source_weight=0.0).needs_source


@pytest.mark.parametrize("kind", [ShotAdaptation, BatchNormAdaptation])
def test_find_doubts__predictions_of_one_class__is_a_doubt_and_changes_nothing(make_setting, kind):
    method = Small()
    with torch.no_grad():
        method.semantic.bias[0] += 50
    setting = make_setting(method, source=SHAPES.subset(torch.arange(120) % 48, "many"))
    before = copy.deepcopy(method.state_dict())
    (doubt,) = kind().find_doubts(setting)
    assert "far from their proportions in training (0.75 of 1" in doubt
    assert all(tensor.equal(before[name]) for name, tensor in method.state_dict().items())


def test_rotation__all_images_in_a_step__backbone_and_head_of_the_plain_rendering(make_setting, plain):
    setting, (method, images) = make_setting(), plain
    semantic = copy.deepcopy(setting.reader.method.semantic.state_dict())
    facts = RotationAdaptation(**STEPS).adapt(setting)
    expected = learn_turns(method.backbone, method.turns, images, 3, 0.05)
    own = setting.reader.method
    assert_same([*own.backbone.parameters(), *own.turns.parameters()], expected)
    assert facts["last_loss"] < facts["first_loss"]
    assert all(tensor.equal(semantic[name]) for name, tensor in own.semantic.state_dict().items())


def test_rotation__no_head_that_tells_turns__is_refused(make_setting):
    with pytest.raises(ConfigError, match="quarter turns of whole images, got none in Small"):
        RotationAdaptation().require(make_setting(Small(has_turns=False)))


def test_steps__network_without_batch_norm__steps_all_the_same(make_setting):
    setting = make_setting(Small(norm=lambda count: nn.GroupNorm(2, count)))
    assert RotationAdaptation().adapt(setting).keys() == {"steps", "first_loss", "last_loss"}


@pytest.mark.parametrize("kind", [TentAdaptation, ShotAdaptation, RotationAdaptation])
def test_steps__parameters_that_training_froze__are_moved_and_stay_frozen(make_setting, kind):
    setting = make_setting(source_split=TrainSplit(SOURCE))
    method = setting.reader.method
    method.backbone.requires_grad_(kind is RotationAdaptation)  # that one moves what training moved
    before = method.backbone[1].weight.clone()
    kind(lr=0.1).adapt(setting)
    assert not method.backbone[1].weight.equal(before)
    assert method.backbone[1].weight.requires_grad == (kind is RotationAdaptation)
    assert not method.training


def test_steps__smaller_steps__see_every_image_once_an_epoch(make_setting):
    setting = make_setting()
    config = TentAdaptation(images_per_step=10, epochs=2)
    batches = [batch.tolist() for batch in config.list_batches(setting)]
    assert [len(batch) for batch in batches[:5]] == [10, 10, 10, 9, 9]
    first, second = ([*chain.from_iterable(batches[start : start + 5])] for start in (0, 5))
    assert sorted(first) == sorted(second) == [*range(48)]
    assert first != second


def test_steps__loss_that_is_not_finite__is_refused(make_setting):
    with pytest.raises(NonFiniteError, match=r"a finite loss on .*lower --lr"):
        ShotAdaptation(lr=1e30, source_weight=0.0).adapt(make_setting())
