import pytest
import torch

from auxo.layers.cell_weights import count_cells, independence_weights
from auxo.losses.invariance import discrepancy, find_dependence
from auxo.losses.kernels.rbf import RBF


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def measure(rows, values, weights=None, *, sigma=1.0, num_values=2, **options) -> float:
    weights = torch.ones(len(rows), dtype=rows.dtype) if weights is None else weights
    return float(discrepancy(RBF(sigma=sigma).compare(rows), values, weights, num_values=num_values, **options))


def test_discrepancy__features_of_the_class_alone__weights_take_out_the_shortcut() -> None:
    plain, weighted = [], []
    for seed in range(10):
        generator = draws(seed)
        classes = (torch.rand(200, generator=generator) < 0.5).long()
        values = torch.where(torch.rand(200, generator=generator) < 0.9, classes, 1 - classes)
        rows = 2.0 * classes[:, None] - 1 + torch.randn(200, 5, generator=generator, dtype=torch.float64)
        weights = independence_weights(count_cells(classes, values, shape=(2, 2)))[classes, values]
        plain.append(measure(rows, values, sigma=3.0))
        weighted.append(measure(rows, values, weights, sigma=3.0))
    assert sum(plain) > 3 * sum(weighted)


def test_discrepancy__gradient__is_that_of_finite_differences() -> None:
    rows = torch.randn(6, 2, generator=draws(), dtype=torch.float64, requires_grad=True)
    values, weights = torch.arange(6) % 3, torch.rand(6, generator=draws(1), dtype=torch.float64)
    for options in ({}, {"estimator": "unbiased"}, {"contrast": "rest"}):

        def loss(rows, options=options):
            return discrepancy(RBF(sigma=2.0).compare(rows), values, weights, num_values=3, **options)

        assert torch.autograd.gradcheck(loss, rows, fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda rows: find_dependence(RBF(sigma=2.0).compare(rows), values, weights, num_values=3), rows, fast_mode=True
    )


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_discrepancy__batch_without_a_second_sample__is_0_with_gradient_0(estimator: str) -> None:
    for values in (torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)):
        rows = torch.randn(5, 3, generator=draws(), requires_grad=True)
        found = discrepancy(RBF().compare(rows), values, torch.ones(5), num_values=2, estimator=estimator)
        found.backward()
        assert float(found.detach()) == 0
        assert torch.equal(rows.grad, torch.zeros(5, 3))


def test_discrepancy__value_missing_of_three__is_that_of_the_other_two() -> None:
    rows = torch.randn(8, 3, generator=draws(), dtype=torch.float64)
    values = torch.tensor([0, 2] * 4)
    assert measure(rows, values, num_values=3) == pytest.approx(measure(rows, values // 2), abs=1e-14)


def test_find_dependence__two_values__is_2_q2_times_the_discrepancy() -> None:
    rows = torch.randn(20, 3, generator=draws(), dtype=torch.float64)
    values, weights = (torch.arange(20) % 3 == 0).long(), torch.rand(20, generator=draws(1), dtype=torch.float64)
    share = float(weights[values == 1].sum() / weights.sum())
    found = find_dependence(RBF(sigma=1.0).compare(rows), values, weights, num_values=2)
    assert float(found) == pytest.approx(2 * (share * (1 - share)) ** 2 * measure(rows, values, weights), rel=1e-10)
    nothing = find_dependence(RBF().compare(rows), values, torch.zeros(20).double(), num_values=2)
    assert float(nothing) == 0
