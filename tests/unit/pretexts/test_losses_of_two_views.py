"""The losses at points where they can be computed by hand."""

import math

import pytest
import torch

from auxo.pretexts.barlow_twins import redundancy_loss
from auxo.pretexts.byol import prediction_losses
from auxo.pretexts.simclr import nt_xent_loss
from auxo.pretexts.vicreg import vicreg_loss

SIGNS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)


def test_nt_xent__two_opposite_images__by_hand():
    first = torch.tensor([[2.0, 0.0], [-3.0, 0.0]], dtype=torch.float64)
    for temperature in (0.5, 1.0):
        # The partner has cosine 1, the two views of the other image -1.
        expected = math.log(1 + 2 * math.exp(-2 / temperature))
        assert nt_xent_loss(first, 5 * first, temperature=temperature).item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("count", [2, 5])
def test_nt_xent__all_embeddings_alike__guessing_among_the_others(count):
    rows = torch.ones(count, 3, dtype=torch.float64)
    assert nt_xent_loss(rows, rows, temperature=0.1).item() == pytest.approx(math.log(2 * count - 1), abs=1e-14)


def test_prediction_losses__same_orthogonal_and_opposite__0_2_4():
    predictions = torch.tensor([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[0.5, 0.0], [0.0, 2.0], [-1.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(prediction_losses(predictions, targets), expected, rtol=0, atol=1e-14)


def test_redundancy__uncorrelated_features__only_the_epsilon_remains():
    loss = redundancy_loss(SIGNS, SIGNS, off_diagonal_weight=1.0)
    assert loss.item() == pytest.approx(2 * (1 - 1 / (1 + 1e-5)) ** 2, rel=1e-9)


def test_redundancy__one_feature_twice__two_correlations_of_one():
    rows = 100 * SIGNS[:, :1].expand(4, 2)  # so that the epsilon is 1e-9 of the variance
    assert redundancy_loss(rows, rows, off_diagonal_weight=0.3).item() == pytest.approx(0.6, abs=1e-7)


def test_redundancy__opposite_views__diagonal_of_minus_one():
    rows = 100 * SIGNS
    assert redundancy_loss(rows, -rows, off_diagonal_weight=1.0).item() == pytest.approx(8.0, abs=1e-7)


def test_redundancy__all_alike__the_number_of_features():
    rows = torch.ones(4, 3, dtype=torch.float64)
    assert redundancy_loss(rows, rows, off_diagonal_weight=1.0).item() == 3.0


@pytest.mark.parametrize(
    ("second", "weights", "expected"),
    [
        (SIGNS + 0.5, (1.0, 0.0, 0.0), 0.25),  # 0.5 squared in every place
        (SIGNS, (0.0, 1.0, 0.0), 0.0),  # standard deviation sqrt(4/3): above the hinge
        (0.3 * SIGNS, (0.0, 1.0, 0.0), 1 - math.sqrt(0.09 * 4 / 3 + 1e-4)),  # one view below it
        (SIGNS[:, [0, 0]], (0.0, 0.0, 1.0), (4 / 3) ** 2),  # two places of two features
    ],
    ids=["invariance", "variance above", "variance below", "covariance"],
)
def test_vicreg__one_term_at_a_time__by_hand(second, weights, expected):
    names = ("invariance_weight", "variance_weight", "covariance_weight")
    loss = vicreg_loss(SIGNS, second, **dict(zip(names, weights, strict=True)))
    assert loss.item() == pytest.approx(expected, abs=1e-14)


LOSSES = {
    "nt_xent": lambda first, second: nt_xent_loss(first, second, temperature=0.5),
    "prediction": lambda first, second: prediction_losses(first, second).mean(),
    "redundancy": lambda first, second: redundancy_loss(first, second, off_diagonal_weight=0.1),
    "vicreg": lambda first, second: vicreg_loss(
        0.3 * first, second, invariance_weight=25.0, variance_weight=25.0, covariance_weight=1.0
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss__both_derivatives__those_of_finite_differences(name):
    generator = torch.Generator().manual_seed(0)
    views = tuple(torch.randn(5, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(LOSSES[name], views)
    assert torch.autograd.gradgradcheck(LOSSES[name], views)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_loss__collapsed_to_zero__has_finite_derivatives(name, dtype):
    views = [torch.zeros(4, 3, dtype=dtype, requires_grad=True) for _ in range(2)]
    loss = LOSSES[name](*views)
    gradients = torch.autograd.grad(loss, views, create_graph=True)
    second = torch.autograd.grad(
        sum(part.sum() for part in gradients), views, allow_unused=True, materialize_grads=True
    )
    assert all(torch.isfinite(part).all() for part in (loss, *gradients, *second))
