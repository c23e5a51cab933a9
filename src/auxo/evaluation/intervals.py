"""Intervals for proportions."""

from typing import NamedTuple

from scipy.stats import binomtest

from auxo.errors import ConfigError

__all__ = ["Interval", "wilson_interval"]


class Interval(NamedTuple):
    """Where a value plausibly lies.

    Args:
        low: lower end.
        high: upper end.
    """

    low: float
    high: float


def wilson_interval(successes: int, total: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion.

    With ``p`` the observed proportion, ``n`` the number of trials and ``z`` the normal quantile of the confidence, its
    ends are ``(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)``. It stays inside [0, 1] and is of sensible width
    at proportions of 0 and 1. The trials must be independent.

    Args:
        successes: number of trials that succeeded, in ``0..total``.
        total: number of trials, >= 1.
        confidence: probability with which such intervals hold the true proportion, in (0, 1).

    Returns:
        Fractions in [0, 1].

    Raises:
        ConfigError: a number is out of its range.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927
        (https://doi.org/10.2307/2276774); computed by scipy.

    Example:
        >>> low, high = wilson_interval(8, 10)
        >>> round(low, 4), round(high, 4)
        (0.4902, 0.9433)
    """
    if total < 1 or not 0 <= successes <= total:
        raise ConfigError(
            "0 <= successes <= total with total >= 1", f"{successes} of {total}", "count trials and successes anew"
        )
    if not 0 < confidence < 1:
        raise ConfigError("a confidence in (0, 1)", str(confidence), "give for instance 0.95")
    found = binomtest(successes, total).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high))
