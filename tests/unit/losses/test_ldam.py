"""LDAM's margins and losses against hand-computed values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxo.losses import cross_entropy_losses, ldam_losses, ldam_margins

LONG_TAIL = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_ldam_margins__long_tailed_cifar10__go_from_0_1581_to_a_half():
    margins = ldam_margins(LONG_TAIL, max_margin=0.5)
    assert margins[0].item() == pytest.approx(0.5 * 0.01**0.25, abs=1e-15)  # 100 times the images
    assert round(margins[0].item(), 4) == 0.1581
    assert margins[-1].item() == 0.5
    assert margins[3].item() == pytest.approx(0.5 * (50 / 1077) ** 0.25, abs=1e-15)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.floats(0.01, 2))
def test_ldam_margins__any_counts__fall_with_the_counts_below_the_largest(counts, max_margin):
    margins = ldam_margins(counts, max_margin=max_margin).tolist()
    assert max(margins) == pytest.approx(max_margin)
    assert min(margins) > 0
    for one, margin in zip(counts, margins, strict=True):
        assert all(margin >= other for n, other in zip(counts, margins, strict=True) if n >= one)


def test_ldam_losses__two_classes__are_the_formula():
    cosines = torch.tensor([[0.2, -0.4], [0.9, 0.1]], dtype=torch.float64)
    margins = torch.tensor([0.1, 0.5], dtype=torch.float64)
    losses = ldam_losses(cosines, torch.tensor([0, 1]), margins=margins, scale=30.0)
    # The true class against the other: log(1 + exp(30 (other - (own - margin)))).
    expected = [math.log1p(math.exp(30 * (-0.4 - 0.1))), 30 * (0.9 + 0.4) + math.log1p(math.exp(-30 * 1.3))]
    assert losses.tolist() == pytest.approx(expected, rel=1e-12)


def test_ldam_losses__no_margin__is_scaled_cross_entropy():
    cosines = torch.rand(6, 4, dtype=torch.float64) * 2 - 1
    labels = torch.arange(6) % 4
    losses = ldam_losses(cosines, labels, margins=torch.zeros(4, dtype=torch.float64), scale=7.0)
    assert torch.equal(losses, cross_entropy_losses(7.0 * cosines, labels))


def test_ldam_losses__gradient__is_that_of_finite_differences():
    cosines = (torch.rand(3, 4, dtype=torch.float64) * 2 - 1).requires_grad_()
    margins = ldam_margins([9, 4, 2, 1], max_margin=0.5)
    labels = torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(lambda z: ldam_losses(z, labels, margins=margins, scale=3.0), cosines)


def test_ldam_losses__half_precision__is_computed_in_float32():
    cosines = torch.tensor([[0.25, -0.5]], dtype=torch.bfloat16)
    margins = torch.tensor([0.1581, 0.5])
    losses = ldam_losses(cosines, torch.tensor([0]), margins=margins, scale=30.0)
    assert torch.equal(losses, ldam_losses(cosines.float(), torch.tensor([0]), margins=margins, scale=30.0))
