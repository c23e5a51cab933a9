"""The focal loss against its formula."""

import math

import pytest
import torch

from auxo.losses import cross_entropy_losses, focal_losses


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_losses__known_probability__is_the_formula(gamma):
    logits = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64).log()
    expected = -(0.7**gamma) * math.log(0.3)
    assert focal_losses(logits, torch.tensor([1]), gamma=gamma).item() == pytest.approx(expected, rel=1e-12)


def test_focal_losses__gamma_0__is_cross_entropy():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0])
    assert torch.equal(focal_losses(logits, labels, gamma=0.0), cross_entropy_losses(logits, labels))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_losses__certain_of_the_answer__has_a_finite_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(focal_losses(logits, torch.tensor([0, 0]), gamma=gamma).sum(), logits)
    assert gradient.isfinite().all()
    assert gradient[0].abs().max() < 1e-6


def test_focal_losses__gradient__is_that_of_finite_differences():
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels = torch.tensor([0, 1, 2, 1])
    assert torch.autograd.gradcheck(lambda z: focal_losses(z, labels, gamma=1.5), logits)
