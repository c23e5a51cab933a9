"""Tests of many contrasts at once against scipy's functions, published numbers and formulas by hand."""

import numpy as np
import pytest
from scipy import stats

from auxo.comparison import Estimate, decide, estimate_pairs, smallest_difference

SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Student's data (The Probable Error of a Mean, Biometrika 6, 1908): hours more of sleep by one drug than another."""
DELTAS = np.random.default_rng(0).normal(0.3, 0.4, size=(3, 4, 6))


def one(deltas, **options):
    """What is decided of a single contrast."""
    return decide(Estimate(*(np.atleast_1d(each) for each in estimate_pairs(np.asarray(deltas)))), **options)


def test_estimate_pairs__students_sleep__as_published():
    found = estimate_pairs(SLEEP)
    assert found.means / found.errors == pytest.approx(4.0621, abs=5e-5)
    assert found.freedoms == 9
    assert found.interval(0.95) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert one(SLEEP).p == pytest.approx(0.002833, abs=5e-7)


def test_decide__families_of_contrasts__each_as_scipys_tests():
    found = decide(estimate_pairs(DELTAS), margins=0.5)
    below = stats.ttest_1samp(DELTAS, 0.5, axis=-1, alternative="less").pvalue
    above = stats.ttest_1samp(DELTAS, -0.5, axis=-1, alternative="greater").pvalue
    assert found.p == pytest.approx(stats.ttest_1samp(DELTAS, 0, axis=-1).pvalue)
    assert found.p_within == pytest.approx(np.maximum(below, above))


@pytest.mark.parametrize("margin", [0.2, 0.6, 0.9, 2.0])
def test_decide__margin__is_seen_where_the_interval_of_90_percent_lies_within(margin):
    estimate = estimate_pairs(DELTAS[0])
    ends = [Estimate(*row).interval(0.9) for row in zip(*estimate, strict=True)]
    single = [bool(one(deltas, margins=margin).is_within[0]) for deltas in DELTAS[0]]
    assert single == [-margin < low and high < margin for low, high in ends]


def test_decide__several_contrasts_and_looks__corrected_together():
    found = decide(estimate_pairs(DELTAS), margins=1.0, looks=np.array([1, 2, 1, 3]))
    for p_values, corrected in ((found.p, found.p_corrected), (found.p_within, found.p_within_corrected)):
        for own, made in zip(np.minimum(1, p_values * [1, 2, 1, 3]), corrected, strict=True):
            order = own.argsort()
            expected = [max(min(1, (4 - k) * own[order[k]]) for k in range(rank + 1)) for rank in range(4)]
            assert made[order] == pytest.approx(expected)


def test_decide__nothing_to_test__counts_among_the_tests_and_says_nothing():
    estimate = Estimate(np.array([1.0, 2.0, 2.0]), np.array([0.1, 0.0, np.nan]), np.array([4.0, 4.0, 4.0]))
    found = decide(estimate, margins=np.array([5.0, 5.0, np.nan]))
    assert found.p_corrected[0] == pytest.approx(3 * found.p[0])
    assert np.isnan(found.p[1:]).all()
    assert np.isnan(found.p_within_corrected[1:]).all()
    assert found.is_above.tolist() == [True, False, False]
    assert found.is_within.tolist() == [True, False, False]


def test_decide__better_and_within_the_margin__both_are_said():
    found = one([0.2, 0.3, 0.25, 0.2, 0.3], margins=1.0)
    assert (bool(found.is_above[0]), bool(found.is_below[0]), bool(found.is_within[0])) == (True, False, True)


def test_estimate_pairs__overlap__widens_as_nadeau_and_bengio_say():
    plain, wide = estimate_pairs(SLEEP), estimate_pairs(SLEEP, overlap=1 / 9)
    # Their variance of n differences is (1 / n + n2 / n1) s^2, with n2 test images for n1 training images.
    assert wide.errors == pytest.approx(SLEEP.std(ddof=1) * np.sqrt(1 / 10 + 1 / 9))
    assert (wide.means, wide.freedoms) == (plain.means, plain.freedoms)


def sensitivity(num_pairs, *, num_tests=1, std=1.0, num_contrasts=1, shared=0.0):
    """The smallest difference of contrasts that all have one standard deviation."""
    errors, freedoms = np.full(num_contrasts, std / np.sqrt(num_pairs)), np.full(num_contrasts, num_pairs - 1.0)
    correlation = np.eye(num_contrasts) * (1 - shared) + shared
    return smallest_difference(errors, freedoms, correlation, num_tests=num_tests)


def test_smallest_difference__pairs_for_half_a_deviation__are_the_34_of_the_tables():
    # Cohen's d = .5, two-sided 5 %, power 80 %: 34 pairs, as in G*Power's manual.
    assert sensitivity(34).value < 0.5 < sensitivity(33).value


@pytest.mark.parametrize(("num_pairs", "num_tests"), [(3, 1), (5, 20), (10, 4), (40, 100)])
def test_smallest_difference__at_that_difference__the_test_has_80_percent_power(num_pairs, num_tests):
    found = sensitivity(num_pairs, num_tests=num_tests).value * np.sqrt(num_pairs)
    threshold = stats.t.isf(0.05 / num_tests / 2, num_pairs - 1)
    assert stats.nct.sf(threshold, num_pairs - 1, found) == pytest.approx(0.8, abs=1e-6)


def test_smallest_difference__five_seeds__know_the_deviation_to_a_factor_of_three():
    value, low, high = sensitivity(5)
    assert (low / value, high / value) == pytest.approx((0.599, 2.874), abs=1e-3)


def test_smallest_difference__contrasts_with_a_common_baseline__tell_more_than_one_and_less_than_apart():
    widths = [
        np.log(each.high / each.low)
        for each in (sensitivity(5), sensitivity(5, num_contrasts=4, shared=0.5), sensitivity(5, num_contrasts=4))
    ]
    assert widths[0] > widths[1] > widths[2]
    apart = sensitivity(5, num_contrasts=4)  # 16 degrees of freedom
    assert apart.low / apart.value == pytest.approx(np.sqrt(16 / stats.chi2.ppf(0.975, 16)))


def test_smallest_difference__contrasts_of_other_spread__pooled_by_their_degrees_of_freedom():
    found = smallest_difference(np.array([1.0, 2.0, 0.0, np.nan]), np.full(4, 4.0), np.eye(4), num_tests=1)
    assert found.value == pytest.approx(np.sqrt(2.5) * sensitivity(5, std=np.sqrt(5)).value)
    assert smallest_difference(np.array([0.0]), np.array([4.0]), np.eye(1), num_tests=1) is None
