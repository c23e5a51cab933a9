"""What differences between methods allow to be said: tests of many contrasts at once, corrected for their number."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import chdtri, nctdtrinc, stdtr, stdtrit

from auxo.tasks import Interval, holm_along

LEVEL = 0.05
POWER = 0.8
_ROUNDING = 1e-12  # thousands of times what a subtraction in float64 loses


class Estimate(NamedTuple):
    """Means of differences with their standard errors, in any number of families of contrasts.

    Args:
        means: shape ``(*families, contrasts)`` as all.
        errors: standard errors; 0 where all differences are equal, NaN where they are not known.
        freedoms: degrees of freedom of the errors, > 0.
    """

    means: Float[np.ndarray, "*shape"]
    errors: Float[np.ndarray, "*shape"]
    freedoms: Float[np.ndarray, "*shape"]

    def interval(self, confidence: float) -> Interval:
        """Return the t interval of a single mean, which the two ends of an error of 0 share.

        Args:
            confidence: in (0, 1).
        """
        half = float(stdtrit(self.freedoms, 0.5 + confidence / 2) * self.errors)
        return Interval(float(self.means) - half, float(self.means) + half)


class Decisions(NamedTuple):
    """What is said of every contrast, all of shape ``(*families, contrasts)``.

    Args:
        p: two-sided, of a difference of 0; NaN where the error is 0 or not known.
        p_corrected: the same for all looks and contrasts of the family; NaN likewise.
        p_within: of a difference as large as the margin or larger; NaN where there is no margin or no error is known.
        p_within_corrected: the same for all looks and contrasts of the family; NaN likewise.
        is_above: whether the difference is seen to be above 0.
        is_below: whether it is seen to be below 0.
        is_within: whether it is seen to be smaller than the margin, on both sides.
    """

    p: Float[np.ndarray, "*shape"]
    p_corrected: Float[np.ndarray, "*shape"]
    p_within: Float[np.ndarray, "*shape"]
    p_within_corrected: Float[np.ndarray, "*shape"]
    is_above: Bool[np.ndarray, "*shape"]
    is_below: Bool[np.ndarray, "*shape"]
    is_within: Bool[np.ndarray, "*shape"]


def estimate_pairs(deltas: Float[np.ndarray, "*shape pairs"], *, size: float = 0.0, overlap: float = 0.0) -> Estimate:
    """Return the mean of differences under several seeds, and its standard error.

    With ``n`` differences of sample standard deviation ``s`` the error is ``s sqrt(1 / n + overlap)`` with ``n - 1``
    degrees of freedom. An overlap is that of Nadeau & Bengio, for seeds that draw training and test images anew from
    one pool: training sets then share images, and differences under two seeds are not independent.

    Args:
        deltas: at least two pairs.
        size: largest of the numbers that they are differences of, against which rounding is judged.
        overlap: test images for each training image, where both are drawn anew from one pool; else 0.

    Source: Nadeau & Bengio, Inference for the Generalization Error, Machine Learning 52, 2003
        (https://doi.org/10.1023/A:1024068626366), the corrected resampled t-test.

    Example:
        >>> found = estimate_pairs(np.array([1.0, 2.0, 3.0]))
        >>> [round(float(each), 3) for each in found]
        [2.0, 0.577, 2.0]
    """
    count = deltas.shape[-1]
    spread = deltas.std(axis=-1, ddof=1)
    # Rounding grows with what was subtracted.
    is_constant = np.ptp(deltas, axis=-1) <= _ROUNDING * np.maximum(size, np.abs(deltas).max(axis=-1))
    errors = np.where(is_constant, 0.0, spread * np.sqrt(1 / count + overlap))
    return Estimate(deltas.mean(axis=-1), errors, np.full(errors.shape, count - 1.0))


def decide(
    estimate: Estimate,
    *,
    margins: Float[np.ndarray, "*#shape"] | float = np.nan,
    looks: Int[np.ndarray, "*#shape"] | int = 1,
) -> Decisions:
    """Return what can be said of the contrasts of each family, any false statement as rare as one in twenty.

    A difference is seen where a two-sided t-test rejects 0. It is seen to be within the margin where both one-sided
    t-tests reject that it is as large as that, which is where its 90 % interval lies within (Schuirmann 1987). Both can
    hold. p-values are multiplied by the looks, then corrected by Holm's method for the contrasts of the family: those
    of differences for themselves, and those of margins for themselves. What cannot be tested counts in them.

    Args:
        estimate: of the contrasts.
        margins: differences that do not matter, > 0; NaN where there is none.
        looks: tables of other seeds that were looked at, this one included, >= 1.

    Source: Schuirmann, A Comparison of the Two One-Sided Tests Procedure and the Power Approach for Assessing the
        Equivalence of Average Bioavailability, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987
        (https://doi.org/10.1007/BF01068419).
    """
    means, errors, freedoms = estimate
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors > 0, np.abs(means) / errors, np.nan)
        p = 2 * stdtr(freedoms, -ratios)
        # The nearer end of the margin decides: the larger of both one-sided p-values is that one's.
        room = np.where(errors > 0, (margins - np.abs(means)) / errors, np.nan)
    p_within = stdtr(freedoms, -room)
    corrected, within = (_correct_for_all(each, looks) for each in (p, p_within))
    is_seen, is_within = corrected <= LEVEL, within <= LEVEL
    return Decisions(p, corrected, p_within, within, is_seen & (means > 0), is_seen & (means < 0), is_within)


def _correct_for_all(
    p_values: Float[np.ndarray, "*shape"], looks: Int[np.ndarray, "*#shape"] | int
) -> Float[np.ndarray, "*shape"]:
    """Return p-values corrected for looks and for all tests along the last axis."""
    is_defined = ~np.isnan(p_values)
    corrected = holm_along(np.where(is_defined, np.minimum(1.0, p_values * looks), 1.0))
    return np.where(is_defined, corrected, np.nan)


class Sensitivity(NamedTuple):
    """The smallest difference that would have been seen.

    Args:
        value: in the unit of the differences.
        low: the same, were the standard deviation as small as its 95 % interval allows.
        high: the same, were it as large.
    """

    value: float
    low: float
    high: float


def smallest_difference(
    errors: Float[np.ndarray, " contrasts"],
    freedoms: Float[np.ndarray, " contrasts"],
    shared: Float[np.ndarray, "contrasts contrasts"],
    *,
    num_tests: int,
) -> Sensitivity | None:
    """Return the smallest difference that a t-test would have seen with a power of 80 %, from a pooled error.

    The test is that of the first step of Holm's method. The error is pooled over the contrasts, weighted by their
    degrees of freedom: it is better known than that of one contrast, but not as well as if they were independent, as
    two contrasts with one baseline share half of their variance.

    Args:
        errors: standard errors; those that are 0 or NaN are left out.
        freedoms: of the errors.
        shared: correlation of the differences of two contrasts, 1 on the diagonal.
        num_tests: tests that are corrected for together, each look of a contrast counted.

    Returns:
        ``None`` where no error is known.

    Source: noncentral t distribution, see Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition,
        1988, chapter 2; the interval of the variance is that of the chi-squared distribution.
    """
    is_known = errors > 0
    if not is_known.any():
        return None
    errors, freedoms, shared = errors[is_known], freedoms[is_known], shared[np.ix_(is_known, is_known)]
    total = freedoms.sum()
    pooled = float(np.sqrt((freedoms * errors**2).sum() / total))
    # Var(s_i^2) is 2 sigma^4 / nu_i, and Cov(s_i^2, s_j^2) is rho^2 times as much.
    freedom = float(total**2 / (shared**2 * np.sqrt(np.outer(freedoms, freedoms))).sum())
    own = float(freedoms.min())
    threshold = stdtrit(own, 1 - LEVEL / num_tests / 2)
    value = float(nctdtrinc(own, 1 - POWER, threshold)) * pooled
    low, high = (float(np.sqrt(freedom / chdtri(freedom, upper))) for upper in (0.025, 0.975))
    return Sensitivity(value, value * low, value * high)
