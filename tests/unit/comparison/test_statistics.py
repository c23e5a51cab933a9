"""Intervals and p-values against scipy's other functions, second renderings and worked examples."""

import numpy as np
import pytest
from scipy import stats

from auxo.comparison import bootstrap_mean, paired_difference, paired_t

DELTAS = np.array([0.4, 1.1, -0.3, 0.9, 2.2])


def test_paired_t__five_pairs__as_scipys_test_of_pairs():
    values = np.array([90.0, 91.2, 88.7, 90.4, 92.9])
    interval, p = paired_t(values - (values - DELTAS))
    found = stats.ttest_rel(values, values - DELTAS)
    expected = found.confidence_interval(0.95)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert p == pytest.approx(found.pvalue, abs=1e-12)


def test_paired_t__two_pairs__as_by_hand():
    interval, p = paired_t(np.array([1.0, 3.0]))
    half = 12.7062047364 * np.sqrt(2) / np.sqrt(2)  # the 0.975 quantile of t with one degree of freedom
    assert interval == pytest.approx((2 - half, 2 + half), abs=1e-8)
    assert p == pytest.approx(1 - 2 / np.pi * np.arctan(2.0), abs=1e-12)  # that distribution is Cauchy's


@pytest.mark.parametrize("value", [0.0, -1.5])
def test_paired_t__equal_differences__a_point_and_no_p_value(value):
    interval, p = paired_t(np.full(4, value))
    assert interval == (value, value)
    assert p is None


def compare_values(values, others):
    pairs = (dict(enumerate(each)) for each in (values, others))
    return paired_difference(*pairs, method="a", baseline="b", split="test", measure="m")


def test_paired_difference__small_measures__differ_as_large_ones_do():
    values, others = np.array([3.0, 5.0, 4.0]), np.array([1.0, 1.5, 2.5])
    small, large = (compare_values((scale * values).tolist(), (scale * others).tolist()) for scale in (1e-10, 1.0))
    assert small.p == pytest.approx(large.p)
    assert small.t == pytest.approx([1e-10 * end for end in large.t])
    assert small.bootstrap.low < small.mean < small.bootstrap.high


def test_paired_difference__equal_but_for_rounding__a_point_and_no_p_value():
    values, others = [0.4, 70.1, 90.7], [0.3, 70.0, 90.6]
    assert len({value - other for value, other in zip(values, others, strict=True)}) > 1
    found = compare_values(values, others)
    assert found.p is None
    assert found.t.low == found.t.high == pytest.approx(0.1)


def bca(deltas, *, resamples, seed):
    """Efron's BCa interval of a mean: z0 from the share of resamples below, a from the jackknife."""
    generator = np.random.default_rng(seed)
    n = len(deltas)
    means = deltas[generator.integers(n, size=(resamples, n))].mean(1)
    share = ((means < deltas.mean()).mean() + (means <= deltas.mean()).mean()) / 2
    z0 = stats.norm.ppf(share)
    without = np.array([np.delete(deltas, i).mean() for i in range(n)])
    gaps = without.mean() - without
    a = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    levels = [stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in stats.norm.ppf([0.025, 0.975])]
    return np.quantile(means, levels)


@pytest.mark.parametrize("seed", [0, 1, 3])  # percentiles are 0.1 to 0.4 away
def test_bootstrap_mean__skewed_differences__as_a_second_rendering(seed):
    deltas = np.random.default_rng(seed).exponential(size=12)
    assert bootstrap_mean(deltas) == pytest.approx(bca(deltas, resamples=200_000, seed=1), abs=0.08)


def test_bootstrap_mean__called_twice__the_same_numbers_inside_the_differences():
    first, second = bootstrap_mean(DELTAS), bootstrap_mean(DELTAS)
    assert first == second
    assert DELTAS.min() <= first.low < DELTAS.mean() < first.high <= DELTAS.max()


@pytest.mark.parametrize("deltas", [[0.7] * 5, [0.0, 0.0], [-3.0] * 3])
def test_bootstrap_mean__equal_differences__that_value(deltas):
    assert bootstrap_mean(np.array(deltas)) == (pytest.approx(deltas[0]), pytest.approx(deltas[0]))


@pytest.mark.parametrize("deltas", [[0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 2.0]])
def test_bootstrap_mean__few_different_values__finite_and_in_order(deltas):
    low, high = bootstrap_mean(np.array(deltas))
    assert min(deltas) <= low <= high <= max(deltas)


def test_paired_difference__other_seeds__only_those_that_both_have():
    made = paired_difference(
        {0: 90.0, 2: 91.0, 5: 80.0},
        {0: 89.0, 1: 10.0, 2: 88.0},
        method="a",
        baseline="b",
        split="test",
        measure="accuracy",
    )
    assert made is not None
    assert (made.seeds, made.mean) == ((0, 2), 2.0)
    assert made.t == paired_t(np.array([1.0, 3.0]))[0]


def test_paired_difference__one_seed_or_none__no_interval_or_nothing():
    made = paired_difference({3: 90.0}, {3: 89.0}, method="a", baseline="b", split="test", measure="accuracy")
    assert made is not None
    assert (made.mean, made.bootstrap, made.t, made.p) == (1.0, None, None, None)
    assert paired_difference({3: 90.0}, {4: 89.0}, method="a", baseline="b", split="test", measure="accuracy") is None
