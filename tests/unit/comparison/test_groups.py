"""Seeds and groups of images that are both drawn: against analysis of variance, scipy and Monte Carlo."""

import numpy as np
import pytest
from scipy import stats

from auxo.comparison import GroupedDeltas, bootstrap_groups, estimate_groups

RANDOM = np.random.default_rng(0)


def balanced(values):
    """Differences by seed and group, all groups of as many images."""
    count = values.shape[-1]
    return GroupedDeltas(values, np.full(count, 1 / count), np.zeros(count, dtype=int))


def test_estimate_groups__seeds_that_agree__is_the_t_test_of_the_groups_means():
    means = RANDOM.normal(1, 2, size=7)
    found = estimate_groups(balanced(np.tile(means, (5, 1))))
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.freedoms == pytest.approx(6)
    assert found.interval(0.95) == pytest.approx((expected.low, expected.high))


def test_estimate_groups__groups_that_agree__is_the_t_test_of_the_seeds_means():
    means = RANDOM.normal(1, 2, size=5)
    found = estimate_groups(balanced(np.tile(means[:, None], (1, 12))))
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.interval(0.95) == pytest.approx((expected.low, expected.high))


def test_estimate_groups__balanced__is_the_mean_squares_of_analysis_of_variance():
    seeds, groups = 4, 9
    values = RANDOM.normal(size=(seeds, 1)) + RANDOM.normal(size=(1, groups)) + RANDOM.normal(size=(seeds, groups))
    grand = values.mean()
    of_seeds = groups * ((values.mean(1) - grand) ** 2).sum() / (seeds - 1)
    of_groups = seeds * ((values.mean(0) - grand) ** 2).sum() / (groups - 1)
    rest = ((values - values.mean(1)[:, None] - values.mean(0) + grand) ** 2).sum() / ((seeds - 1) * (groups - 1))
    found = estimate_groups(balanced(values))
    assert found.means == pytest.approx(grand)
    assert found.errors**2 == pytest.approx((of_seeds + of_groups - rest) / (seeds * groups))


def test_estimate_groups__draws_of_both__variance_is_right_on_average():
    draws, seeds, sizes = 20_000, 5, np.array([30, 50, 20, 60, 40, 25, 75, 50, 45, 35, 80, 90])
    weights = sizes / sizes.sum()
    random = np.random.default_rng(1)
    parts = (random.normal(size=(draws, *shape)) for shape in ((seeds, 1), (1, len(sizes)), (seeds, len(sizes))))
    found = estimate_groups(GroupedDeltas(sum(parts), weights, np.zeros(len(sizes), dtype=int)))
    assert (found.errors**2).mean() == pytest.approx(found.means.var(), rel=0.05)


def test_estimate_groups__sets_beside_each_other__weigh_alike_and_whole_ones_are_fixed():
    grouped, whole = RANDOM.normal(size=(5, 6)) + RANDOM.normal(size=6), RANDOM.normal(size=(5, 1))
    both = GroupedDeltas(np.hstack([grouped, whole]), np.array([*[1 / 12] * 6, 1 / 2]), np.array([0] * 6 + [1]))
    found = estimate_groups(both)
    of_seeds = (grouped.mean(1) + whole[:, 0]) / 2
    assert found.means == pytest.approx(of_seeds.mean())
    left = grouped - grouped.mean(0) - grouped.mean(1)[:, None] + grouped.mean()
    groups_part, rest_part = grouped.mean(0).var(ddof=1) / 6, (left**2).sum() / (4 * 5) / (5 * 6)
    assert found.errors**2 == pytest.approx(of_seeds.var(ddof=1) / 5 + (groups_part - rest_part) / 4)


def test_estimate_groups__two_groups__no_error_is_known():
    found = estimate_groups(balanced(RANDOM.normal(size=(5, 2))))
    assert np.isfinite(found.means)
    assert np.isnan(found.errors)


def test_bootstrap_groups__many_seeds_and_groups__as_wide_as_the_t_interval():
    values = RANDOM.normal(size=(40, 1)) + RANDOM.normal(size=(1, 50)) + 0.1 * RANDOM.normal(size=(40, 50))
    found, expected = bootstrap_groups(balanced(values)), estimate_groups(balanced(values)).interval(0.95)
    assert found == pytest.approx(expected, abs=0.06)
    assert found == bootstrap_groups(balanced(values))


def test_bootstrap_groups__groups_of_other_sizes__each_draw_is_the_mean_of_its_images():
    values, sizes = RANDOM.normal(size=(6, 10)), np.arange(1, 11)
    found = bootstrap_groups(GroupedDeltas(values, sizes / sizes.sum(), np.zeros(10, dtype=int)))
    random = np.random.default_rng(3)
    means = []
    for _ in range(4000):
        rows, columns = random.integers(6, size=6), random.integers(10, size=10)
        means.append(np.average(values[rows][:, columns].mean(0), weights=sizes[columns]))
    assert found == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.05)


def test_bootstrap_groups__under_ten_groups__none():
    assert bootstrap_groups(balanced(RANDOM.normal(size=(5, 9)))) is None
