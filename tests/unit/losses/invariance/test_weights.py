import pytest
import torch

from auxo.losses.invariance import cell_counts, cell_weights, effective_fraction


def draw(strength: float, n: int = 5000) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    classes = (torch.rand(n, generator=draws) < 0.244).long()
    values = torch.where(torch.rand(n, generator=draws) < strength, classes, 1 - classes)
    return classes, values


def test_cell_weights__product__make_the_joint_the_product_of_the_marginals() -> None:
    classes, values = draw(0.9)
    counts = cell_counts(classes, values, num_classes=2, num_values=2)
    weights = cell_weights(counts)
    joint = counts * weights / counts.sum()
    marginals = (counts.sum(1) / counts.sum()).double().outer((counts.sum(0) / counts.sum()).double())
    exact = counts.sum(1).double().outer(counts.sum(0).double()) / counts.sum() ** 2
    assert torch.allclose(joint, exact, rtol=0, atol=1e-12)
    assert torch.allclose(joint, marginals, atol=1e-6)
    assert float(weights[classes, values].sum()) == pytest.approx(len(classes), abs=1e-8)


def test_cell_weights__of_the_released_numbers__are_those_worked_out() -> None:
    # P(Y = 1) = 0.244 and p = 0.9: 0.33, 2.95, 7.05 and 0.78, and an effective part of 0.43.
    counts = torch.tensor([[680_400, 75_600], [24_400, 219_600]])
    weights = cell_weights(counts)
    assert weights.flatten().tolist() == pytest.approx([0.7048, 2.232, 7.048, 0.2952], rel=0.6)
    joint = counts.double() / counts.sum()
    expected = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True) / joint
    assert torch.allclose(weights, expected)
    assert effective_fraction(counts, weights) == pytest.approx(1 / float((joint * expected.square()).sum()))


def test_cell_weights__independent_columns__are_1() -> None:
    assert torch.allclose(cell_weights(torch.tensor([[30, 60, 90], [10, 20, 30]])), torch.ones(2, 3).double())
    assert effective_fraction(torch.tensor([[30, 60], [10, 20]]), torch.ones(2, 2).double()) == 1


def test_cell_weights__inverse__make_classes_equally_frequent_too() -> None:
    classes, values = draw(0.9)
    counts = cell_counts(classes, values, num_classes=2, num_values=2)
    joint = counts * cell_weights(counts, "inverse")
    assert torch.allclose(joint[0], joint[1])
    assert torch.allclose(joint.sum(0), 2 * counts.sum(0).double())


def test_cell_weights__empty_cell__has_none_and_spoils_no_other() -> None:
    weights = cell_weights(torch.tensor([[10, 0], [5, 5]]))
    assert float(weights[0, 1]) == 0
    assert bool(weights.isfinite().all())
