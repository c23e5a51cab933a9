"""The labelling network: labels within the class, modes, first weights, and what is measured and shown."""

import math

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.layers.sub_classes import SubClasses
from auxo.pretexts.labelling import LabellingNetwork, exhibit_labels, measure_labels
from auxo.runs.networks import Networks
from auxo.tasks import Classification

NAMES = ("arrow", "l", "t")
COUNTS = SubClasses([2, 3, 1], num_classes=3)
LABELS = torch.tensor([0, 1, 2, 1, 0, 2])
IMAGES = torch.randn(6, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def make(*, backbone="resnet8", **options):
    networks = Networks(BackboneConfig(name=backbone), Classification(NAMES, 3, 28, 28), seed=0)
    return LabellingNetwork(networks, COUNTS, hidden=8, **options)


def test_labels__of_any_network__sum_to_one_within_the_class_and_are_attached():
    network = make()
    labels = network(IMAGES, LABELS)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(6))
    assert not labels[~COUNTS.mask(LABELS)].any()
    labels.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_labels__with_a_leak__some_outside_the_class():
    labels = make(leak=0.5)(IMAGES, LABELS)
    assert labels[~COUNTS.mask(LABELS)].min() > 0


def test_label__in_train_mode__depends_on_the_batch_and_in_eval_mode_does_not():
    network = make()
    for _ in range(3):
        network(IMAGES, LABELS)  # running statistics other than the first
    for mode, depends in (("train", True), ("eval", False)):
        whole = network.label(IMAGES, LABELS, mode=mode)
        part = network.label(IMAGES[:3], LABELS[:3], mode=mode)
        assert not whole.requires_grad
        assert torch.allclose(whole[:3], part, atol=1e-5) is not depends
        assert all(module.training for module in network.modules())
    assert not network.eval().label(IMAGES, LABELS, mode="train").requires_grad
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(("normalises", "tells"), [(False, False), (True, True)])
def test_labels__of_features_that_hardly_differ__tell_images_apart_only_if_normalised(normalises, tells):
    network = make(backbone="lenet5", normalises=normalises)
    inner = [module for module in network.backbone.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        inner.weight.mul_(0.05)
        inner.bias.fill_(1.0)  # no feature is cut off
        inside = network(IMAGES, torch.ones(6, dtype=torch.long))[:, 2:5]
    assert (float(inside.std(0).mean()) > 0.02) is tells


def test_first_weights__of_another_name__are_others():
    one, same, other = make(), make(), make(name="second")
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in one.state_dict().items())
    assert not torch.equal(one.head.outer.weight, other.head.outer.weight)
    assert set(one.state_dict()) == {f"backbone.{n}" for n in one.backbone.state_dict()} | {
        f"head.{n}" for n in one.head.state_dict()
    }


def test_measures__of_sure_and_uniform_labels__closed_forms():
    sure = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    classes = torch.tensor([0, 0])
    found = measure_labels(sure, classes, num_classes=3, join=lambda tensor: tensor)
    assert [float(value) for value in found.values()] == pytest.approx([0, math.log(2), 2])
    found = measure_labels(COUNTS.uniform(classes), classes, num_classes=3, join=lambda tensor: tensor)
    assert [float(value) for value in found.values()] == pytest.approx([math.log(2), 0, 2])
    assert [*found] == ["label_entropy", "label_information", "labels_used"]


def test_exhibits__of_sure_labels__images_in_rows_by_sub_class_and_their_numbers(read):
    given = torch.tensor([1, 4, 5, 2, 1, 5])
    greys = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 28, 28).clone()

    def give(batch):
        return torch.nn.functional.one_hot(given[batch.indices], COUNTS.total).float()

    text, grid, table = exhibit_labels(read(greys, LABELS), give, sub_classes=COUNTS, class_names=NAMES)
    assert [*table.rows] == [("arrow", 0, 2, ""), ("l", 1, 0, 1), ("t", 2, "", "")]
    assert grid.images[:, 0, 0, 0].tolist() == [0, 4, 3, 1, 2, 5]
    assert list(grid.captions) == ["arrow / 1", "arrow / 1", "l / 0", "l / 2", "t / 0", "t / 0"]
    assert "entropy of 0.00 nats (1.10 where it says nothing) and tells 0.23 nats" in text.text
