"""The discrepancy of two groups: loops over pairs, limits, gradients, missing groups, its bias."""

import math

import pytest
import torch

from auxo.layers.mmd import median_distance, pairwise_distances, pairwise_squared_mmd, squared_mmd


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_kernel(features, scale):
    return torch.exp(-(pairwise_distances(features) ** 2) / (2 * scale**2))


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
    found = squared_mmd(make_kernel(features, 1.3), first, second, is_unbiased=is_unbiased)
    expected = compute_by_loops(features, first, second, 1.3, is_unbiased=is_unbiased)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_squared_mmd__several_pairs_of_groups__each_as_alone_and_of_any_scale():
    kernel = make_kernel(draw(8, 2), 0.7)
    first = draw(3, 8, seed=2).abs()
    second = draw(3, 8, seed=3).abs()
    together = squared_mmd(kernel, first, second)
    alone = torch.stack([squared_mmd(kernel, 5 * a, b / 3) for a, b in zip(first, second, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_pairwise_squared_mmd__three_groups_of_two_sets__as_two_at_a_time(is_unbiased):
    kernel = make_kernel(draw(9, 2), 0.7)
    groups = draw(2, 3, 9, seed=2).abs() * (torch.arange(9) % 3 == torch.arange(3)[:, None])
    found = pairwise_squared_mmd(kernel, groups, is_unbiased=is_unbiased)
    for k in range(3):
        for j in range(3):
            pair = squared_mmd(kernel, groups[:, k], groups[:, j], is_unbiased=is_unbiased)
            torch.testing.assert_close(found[:, k, j], pair if k != j else torch.zeros(2).double())


def test_squared_mmd__equal_samples_and_far_tight_ones__0_and_2():
    rows = draw(5, 4)
    masks = split_by(torch.tensor([0] * 5 + [1] * 5))
    assert float(squared_mmd(make_kernel(torch.cat([rows, rows]), 1.0), *masks)) < 1e-12
    far = torch.cat([torch.zeros(5, 4), torch.full((5, 4), 1e3)]).double()
    assert float(squared_mmd(make_kernel(far, 1.0), *masks)) == pytest.approx(2)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_squared_mmd__gradient__as_finite_differences(is_unbiased):
    masks = split_by(torch.tensor([0, 1, 0, 1, 1, 0]))

    def measure(features):
        return squared_mmd(make_kernel(features, 1.1), *masks, is_unbiased=is_unbiased)

    assert torch.autograd.gradcheck(measure, draw(6, 2).requires_grad_())


@pytest.mark.parametrize(("count", "is_unbiased"), [(0, False), (0, True), (1, True)])
def test_squared_mmd__a_group_without_what_it_needs__is_0_with_finite_slopes(count, is_unbiased):
    features = draw(4, 2).requires_grad_()
    first = (torch.arange(4) < count).double()
    value = squared_mmd(make_kernel(features, 1.0), first, 1 - first, is_unbiased=is_unbiased)
    (slope,) = torch.autograd.grad(value, features)
    assert float(value.detach()) == 0
    assert not slope.any()


def test_squared_mmd__long_scale__is_the_squared_distance_of_the_means_over_its_square():
    features, weights = draw(12, 3), draw(12, seed=1).abs()
    masks = [weights * mask for mask in split_by(torch.arange(12) % 2)]
    gap = masks[0] @ features / masks[0].sum() - masks[1] @ features / masks[1].sum()
    found = squared_mmd(make_kernel(features, 1e4), *masks)
    assert float(found) == pytest.approx(float((gap**2).sum()) / 1e8, rel=1e-6)


def test_squared_mmd__two_samples_of_one_law__averages_the_bias_of_the_formula_or_0():
    # (sum a^2 + sum b^2) (1 - E k), with E k = (1 + 2 / s^2)^(-dim/2) for standard normal rows.
    scale, dim, masks = 3.0, 10, split_by((torch.arange(64) >= 45).long())
    expected = (1 / 45 + 1 / 19) * (1 - (1 + 2 / scale**2) ** (-dim / 2))
    kernels = [make_kernel(draw(64, dim, seed=seed), scale) for seed in range(100)]
    biased, unbiased = (
        torch.stack([squared_mmd(kernel, *masks, is_unbiased=flag) for kernel in kernels]) for flag in (False, True)
    )
    assert float(biased.mean()) == pytest.approx(expected, rel=0.03)
    assert abs(float(unbiased.mean())) < 0.03 * expected
    assert float(unbiased.min()) < 0


def test_squared_mmd__all_weight_on_one_image__has_no_unbiased_estimate():
    first, second = torch.tensor([1.0, 1e-30, 0, 0]).double(), torch.tensor([0.0, 0, 1, 1]).double()
    kernel = make_kernel(draw(4, 2), 1.0)
    assert float(squared_mmd(kernel, first, second, is_unbiased=True)) == 0
    assert float(squared_mmd(kernel, first, second)) > 0


@pytest.mark.parametrize("norm", [1.0, 2.0])
def test_pairwise_distances__near_rows_far_from_the_origin_and_from_a_third__are_kept(norm):
    rows = torch.tensor([[1e4, 0.0], [1e4, 0.01], [0.0, 0.0]])
    found = pairwise_distances(rows, norm=norm)
    assert found[0].tolist() == pytest.approx([0, 0.01, 1e4], rel=1e-6)
    assert not found.diagonal().any()


def test_median_distance__pairs_of_different_rows__detached_and_never_0():
    distances = pairwise_distances(torch.tensor([[0.0], [1.0], [10.0]], requires_grad=True))
    assert float(median_distance(distances)) == 9
    assert not median_distance(distances).requires_grad
    assert float(median_distance(torch.zeros(4, 4))) == 1
    assert float(median_distance(torch.zeros(1, 1))) == 1
