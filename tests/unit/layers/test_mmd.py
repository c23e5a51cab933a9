"""The discrepancy of two groups: loops over pairs, limits, gradients, missing groups, its bias."""

import math

import pytest
import torch

from auxo.errors import ConfigError
from auxo.layers.mmd import gaussian_kernel, median_length_scale, pairwise_squared_mmd, squared_mmd


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def split_by(groups):
    return (groups == 0).double(), (groups == 1).double()


def compute_by_loops(features, first, second, scale, *, is_unbiased):
    """The definition, pair by pair: weighted means of the kernel within and between the groups."""
    total = 0.0
    for sign, left, right in ((1, first, first), (1, second, second), (-2, first, second)):
        value = weight = 0.0
        for i in range(len(features)):
            for j in range(len(features)):
                if is_unbiased and sign > 0 and i == j:
                    continue
                distance = sum((float(features[i, k]) - float(features[j, k])) ** 2 for k in range(features.shape[1]))
                value += float(left[i] * right[j]) * math.exp(-distance / (2 * scale**2))
                weight += float(left[i] * right[j])
        total += sign * value / weight
    return total


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_squared_mmd__weighted_groups__equals_loops_over_pairs(is_unbiased):
    features, weights = draw(9, 3), draw(9, seed=1).abs() + 0.1
    first, second = (mask * weights for mask in split_by(torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 1])))
    found = squared_mmd(gaussian_kernel(features, length_scale=1.3), first, second, is_unbiased=is_unbiased)
    expected = compute_by_loops(features, first, second, 1.3, is_unbiased=is_unbiased)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_squared_mmd__several_pairs_of_groups__each_as_alone_and_of_any_scale():
    kernel = gaussian_kernel(draw(8, 2), length_scale=0.7)
    first = draw(3, 8, seed=2).abs()
    second = draw(3, 8, seed=3).abs()
    together = squared_mmd(kernel, first, second)
    alone = torch.stack([squared_mmd(kernel, 5 * a, b / 3) for a, b in zip(first, second, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_pairwise_squared_mmd__three_groups_of_two_sets__as_two_at_a_time(is_unbiased):
    kernel = gaussian_kernel(draw(9, 2), length_scale=0.7)
    groups = draw(2, 3, 9, seed=2).abs() * (torch.arange(9) % 3 == torch.arange(3)[:, None])
    found = pairwise_squared_mmd(kernel, groups, is_unbiased=is_unbiased)
    for k in range(3):
        for j in range(3):
            pair = squared_mmd(kernel, groups[:, k], groups[:, j], is_unbiased=is_unbiased)
            torch.testing.assert_close(found[:, k, j], pair if k != j else torch.zeros(2).double())


def test_squared_mmd__equal_samples_and_far_tight_ones__0_and_2():
    rows = draw(5, 4)
    masks = split_by(torch.tensor([0] * 5 + [1] * 5))
    assert float(squared_mmd(gaussian_kernel(torch.cat([rows, rows]), length_scale=1.0), *masks)) < 1e-12
    far = torch.cat([torch.zeros(5, 4), torch.full((5, 4), 1e3)]).double()
    assert float(squared_mmd(gaussian_kernel(far, length_scale=1.0), *masks)) == pytest.approx(2)


def test_squared_mmd__long_scale__is_the_squared_distance_of_the_means_over_its_square():
    features, masks = draw(12, 3), split_by(torch.arange(12) % 2)
    found = squared_mmd(gaussian_kernel(features, length_scale=1e3), *masks) * 1e6
    gap = features[::2].mean(0) - features[1::2].mean(0)
    assert float(found) == pytest.approx(float((gap**2).sum()), rel=1e-4)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_squared_mmd__two_halves_of_one_law__has_the_bias_that_the_formula_says_or_none(is_unbiased):
    masks, values, kernels = split_by(torch.arange(40) % 2), [], []
    for seed in range(300):
        kernel = gaussian_kernel(draw(40, 2, seed=seed), length_scale=1.0)
        values.append(squared_mmd(kernel, *masks, is_unbiased=is_unbiased))
        kernels.append((kernel.sum() - 40) / (40 * 39))
    expected = 0.0 if is_unbiased else 2 / 20 * (1 - float(torch.stack(kernels).mean()))
    error = float(torch.stack(values).std()) / 300**0.5
    assert float(torch.stack(values).mean()) == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_squared_mmd__gradient__as_finite_differences(is_unbiased):
    masks = split_by(torch.tensor([0, 1, 0, 1, 1, 0]))

    def measure(features):
        return squared_mmd(gaussian_kernel(features, length_scale=1.1), *masks, is_unbiased=is_unbiased)

    assert torch.autograd.gradcheck(measure, draw(6, 2).requires_grad_())


@pytest.mark.parametrize(("count", "is_unbiased"), [(0, False), (0, True), (1, True)])
def test_squared_mmd__a_group_without_what_it_needs__is_0_with_finite_slopes(count, is_unbiased):
    features = draw(4, 2).requires_grad_()
    first = (torch.arange(4) < count).double()
    value = squared_mmd(gaussian_kernel(features, length_scale=1.0), first, 1 - first, is_unbiased=is_unbiased)
    (slope,) = torch.autograd.grad(value, features)
    assert float(value.detach()) == 0
    assert not slope.any()


def test_kernel__far_from_the_origin_in_float32__as_in_float64_at_it():
    features = draw(6, 3)
    shifted = (features + 1e3).float()
    exact = gaussian_kernel(shifted.double(), length_scale=1.0)
    torch.testing.assert_close(gaussian_kernel(shifted, length_scale=1.0).double(), exact, atol=1e-4, rtol=0)


def test_kernel__half_precision__is_computed_in_float32():
    assert gaussian_kernel(draw(4, 2).bfloat16(), length_scale=1.0).dtype == torch.float32


def test_kernel__length_scale_of_0__is_refused():
    with pytest.raises(ConfigError, match=r"length scale above 0, got 0\.0"):
        gaussian_kernel(draw(2, 2), length_scale=0.0)


def test_median_length_scale__known_distances__the_middle_one_and_1_of_equal_vectors():
    assert float(median_length_scale(torch.tensor([[0.0], [1.0], [5.0]]))) == pytest.approx(4)
    assert float(median_length_scale(torch.ones(3, 2))) == 1
    assert float(median_length_scale(torch.ones(1, 2))) == 1
