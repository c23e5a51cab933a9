import pytest
import torch

from auxo.losses.invariance import cell_counts, cell_weights, discrepancy, find_dependence
from auxo.losses.kernels.rbf import RBF


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def measure(rows, values, weights=None, *, sigma=1.0, num_values=2, **options) -> float:
    weights = torch.ones(len(rows), dtype=rows.dtype) if weights is None else weights
    return float(discrepancy(RBF(sigma=sigma).compare(rows), values, weights, num_values=num_values, **options))


def test_discrepancy__one_sides_weights_scaled__stays() -> None:
    rows = torch.randn(20, 3, generator=draws(), dtype=torch.float64)
    values, weights = torch.arange(20) % 2, torch.rand(20, generator=draws(1), dtype=torch.float64)
    scaled = torch.where(values == 1, 7 * weights, weights)
    assert measure(rows, values, weights) == pytest.approx(measure(rows, values, scaled), abs=1e-14)
    assert measure(rows, values, torch.ones(20).double()) == pytest.approx(measure(rows, values), abs=1e-14)


def test_discrepancy__identical_samples_and_far_tight_ones__are_0_and_2() -> None:
    half = torch.randn(8, 2, generator=draws(), dtype=torch.float64)
    values = torch.arange(2).repeat_interleave(8)
    assert measure(torch.cat([half, half]), values) == pytest.approx(0, abs=1e-12)
    tight = torch.cat([torch.zeros(8, 2), torch.full((8, 2), 1e3)]).double()
    assert measure(tight, values) == pytest.approx(2, abs=1e-12)


def test_discrepancy__biased__lies_in_0_to_2() -> None:
    for seed in range(20):
        rows = 3 * torch.randn(12, 2, generator=draws(seed), dtype=torch.float64)
        weights = torch.rand(12, generator=draws(seed + 100), dtype=torch.float64)
        assert 0 <= measure(rows, torch.arange(12) % 2, weights, sigma=0.5) <= 2


def test_discrepancy__two_halves_of_one_law__averages_the_bias_and_unbiased_0() -> None:
    # E = (sum a^2 + sum b^2)(1 - E k), with E k = (1 + 2 / sigma^2)^(-d/2) for standard normal rows.
    sigma, dim, values = 3.0, 10, (torch.arange(64) >= 45).long()
    expected = (1 / 45 + 1 / 19) * (1 - (1 + 2 / sigma**2) ** (-dim / 2))
    biased, unbiased = [], []
    for seed in range(100):
        rows = torch.randn(64, dim, generator=draws(seed), dtype=torch.float64)
        biased.append(measure(rows, values, sigma=sigma))
        unbiased.append(measure(rows, values, sigma=sigma, estimator="unbiased"))
    assert sum(biased) / 100 == pytest.approx(expected, rel=0.03)
    assert abs(sum(unbiased) / 100) < 0.03 * expected
    assert min(unbiased) < 0


def test_discrepancy__long_scale__is_the_squared_difference_of_means_over_sigma_squared() -> None:
    rows = torch.randn(32, 4, generator=draws(), dtype=torch.float64)
    values, weights = torch.arange(32) % 2, torch.rand(32, generator=draws(1), dtype=torch.float64)
    means = [(weights * (values == v)) @ rows / (weights * (values == v)).sum() for v in (0, 1)]
    expected = float((means[0] - means[1]).square().sum()) / 1e4**2
    assert measure(rows, values, weights, sigma=1e4) == pytest.approx(expected, rel=1e-6)


def test_discrepancy__features_of_the_class_alone__weights_take_out_the_shortcut() -> None:
    plain, weighted = [], []
    for seed in range(10):
        generator = draws(seed)
        classes = (torch.rand(200, generator=generator) < 0.5).long()
        values = torch.where(torch.rand(200, generator=generator) < 0.9, classes, 1 - classes)
        rows = 2.0 * classes[:, None] - 1 + torch.randn(200, 5, generator=generator, dtype=torch.float64)
        weights = cell_weights(cell_counts(classes, values, num_classes=2, num_values=2))[classes, values]
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


def test_discrepancy__sample_of_one_row__has_no_unbiased_part() -> None:
    rows = torch.randn(5, 3, generator=draws(), dtype=torch.float64)
    values = torch.tensor([0, 0, 0, 0, 1])
    assert measure(rows, values, estimator="unbiased") == 0
    assert measure(rows, values) > 0


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
