"""Sub-classes: masks, labels spread within a class, what labels say, ranks and clusters."""

import math

import pytest
import torch

from auxo.errors import ConfigError, DataError
from auxo.layers.sub_classes import (
    SubClasses,
    center_by_class,
    describe_labels,
    mean_by_class,
    mean_label_entropy_loss,
    negative_entropy,
)

COUNTS = SubClasses([2, 3, 4], num_classes=3)
LABELS = torch.tensor([0, 1, 2, 1])


def test_mask__of_each_class__its_own_block():
    assert COUNTS.mask(LABELS).int().tolist() == [
        [1, 1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_spread__any_logits__sums_to_one_in_the_block_and_is_zero_outside(size):
    logits = (size * torch.randn(4, 9, generator=torch.Generator().manual_seed(0))).requires_grad_()
    labels = COUNTS.spread(logits, LABELS)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(4))
    assert not labels[~COUNTS.mask(LABELS)].any()
    labels.square().sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[~COUNTS.mask(LABELS)].any()


def test_spread__leak_of_the_release__its_own_formula_and_most_of_the_mass_outside():
    logits = torch.zeros(1, 9, dtype=torch.float64)
    logits[0, 8] = 25.0
    labels = COUNTS.spread(logits, torch.tensor([0]), leak=1e-8)
    weights = torch.where(COUNTS.mask(torch.tensor([0])), 1.0, 1e-8) * logits.exp()
    torch.testing.assert_close(labels, weights / weights.sum())
    assert labels[0, 8] > 0.99
    assert COUNTS.spread(logits, torch.tensor([0]))[0, 8] == 0


def test_uniform__of_each_class__equal_in_the_block():
    (found,) = COUNTS.uniform(torch.tensor([1])).tolist()
    assert found == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0])


def test_place__class_and_place_within__number_of_the_sub_class():
    assert COUNTS.place(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 3])).tolist() == [1, 2, 8]


def test_negative_entropy__from_uniform_to_sure__minus_log_to_zero_with_finite_slopes():
    rows = torch.tensor([[0.25] * 4, [1.0, 0.0, 0.0, 0.0]], requires_grad=True)
    found = negative_entropy(rows)
    torch.testing.assert_close(found, torch.tensor([-math.log(4), 0.0]))
    found.sum().backward()
    assert torch.isfinite(rows.grad).all()


def test_describe_labels__sure_and_balanced__information_of_the_logarithm():
    two = SubClasses([2], num_classes=2)
    classes, within = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    sure = torch.nn.functional.one_hot(two.place(classes, within), 4).float()
    told = describe_labels(sure, classes, num_classes=2, join=lambda tensor: tensor)
    assert [float(value) for value in told] == pytest.approx([0.0, math.log(2), 2.0], abs=1e-6)
    told = describe_labels(two.uniform(classes), classes, num_classes=2, join=lambda tensor: tensor)
    assert [float(value) for value in told] == pytest.approx([math.log(2), 0.0, 2.0], abs=1e-6)
    same = torch.nn.functional.one_hot(two.place(classes, torch.zeros(4, dtype=torch.int64)), 4).float()
    told = describe_labels(same, classes, num_classes=2, join=lambda tensor: tensor)
    assert [float(value) for value in told] == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)


def test_mean_by_class__a_class_without_images__zeros_and_no_division_by_zero():
    means, counts = mean_by_class(COUNTS.uniform(LABELS[:2]), LABELS[:2], num_classes=3, join=lambda tensor: tensor)
    assert counts.tolist() == [1, 1, 0]
    assert not means[2].any()


def test_rank__values_of_one_class_each__their_order_within_it():
    column = torch.tensor([7, 3, 9, 4, 7])
    found = SubClasses([2], num_classes=3).rank(column, torch.tensor([0, 0, 1, 2, 0]), column="fine")
    assert found.tolist() == [1, 0, 0, 0, 1]


def test_rank__a_value_of_two_classes_or_too_many__refused_by_name():
    with pytest.raises(DataError, match="column background whose values lie within one class"):
        COUNTS.rank(torch.tensor([1, 1, 2, 2]), LABELS, column="background")
    with pytest.raises(DataError, match="2 values of fine in class 1 of 1 sub-classes"):
        SubClasses([1], num_classes=3).rank(torch.tensor([0, 1, 2, 3]), LABELS, column="fine")


def test_cluster__two_heaps_in_each_class__found():
    generator = torch.Generator().manual_seed(0)
    classes, heaps = torch.arange(40) % 2, torch.arange(40) // 2 % 2
    features = 10.0 * heaps.unsqueeze(1) + torch.randn(40, 3, generator=generator)
    found = SubClasses([2], num_classes=2).cluster(features, classes, seed=1)
    for number in (0, 1):
        own = classes == number
        assert len(set(zip(found[own].tolist(), heaps[own].tolist(), strict=True))) == 2
    with pytest.raises(DataError, match="1 images in class 0 of 2 sub-classes"):
        SubClasses([2], num_classes=2).cluster(features[:1], classes[:1], seed=1)


@pytest.mark.parametrize("counts", [[2, 3], [0], []])
def test_sub_classes__that_do_not_fit__refused(counts):
    with pytest.raises(ConfigError, match="one number of sub-classes for all, or one for each of 3 classes"):
        SubClasses(counts, num_classes=3)


@pytest.mark.parametrize("over", ["batch", "class"])
def test_mean_label_entropy_loss__sure_or_uniform_labels_of_equal_use__its_lowest_value(over):
    labels = torch.tensor([0, 0, 1, 1])
    counts = SubClasses([2], num_classes=2)
    lowest = {"batch": -math.log(4), "class": -math.log(2)}[over]
    options = {"num_classes": 2, "join": lambda tensor: tensor, "over": over}
    sure = torch.eye(4)
    for probabilities in (sure, counts.uniform(labels)):
        assert float(mean_label_entropy_loss(probabilities, labels, **options)) == pytest.approx(lowest)
    one_each = torch.eye(4)[[0, 0, 2, 2]]
    assert float(mean_label_entropy_loss(one_each, labels, **options)) == pytest.approx(lowest + math.log(2))


def test_draw__many_images__every_place_of_a_class_as_often():
    labels = torch.tensor([0, 1, 2]).repeat_interleave(3000)
    within = COUNTS.draw(labels, generator=torch.Generator().manual_seed(0))
    for number, count in enumerate(COUNTS.counts):
        shares = within[labels == number].bincount(minlength=count) / 3000
        torch.testing.assert_close(shares, torch.full((count,), 1 / count), atol=0.04, rtol=0)


def test_shuffle__values_of_each_class__as_many_of_each_on_other_images():
    labels = torch.arange(300) % 3
    values = torch.arange(300)
    mixed = COUNTS.shuffle(values, labels, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixed % 3, labels)
    assert torch.equal(mixed.sort().values, values)
    assert (mixed == values).float().mean() < 0.1


def test_center_by_class__values_of_two_classes__less_the_mean_of_their_own():
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 7.0]])
    found = center_by_class(values, torch.tensor([0, 0, 2]), num_classes=3, join=lambda tensor: tensor)
    assert found.tolist() == [[-1.0, -2.0], [1.0, 2.0], [0.0, 0.0]]
