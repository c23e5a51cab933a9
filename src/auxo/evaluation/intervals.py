"""Intervals for proportions."""

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

from jaxtyping import Float
from scipy.stats import binomtest
from torch import Tensor

from auxo.errors import ConfigError

__all__ = ["Interval", "clustered_interval", "wilson_interval"]


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
    _check_confidence(confidence)
    found = binomtest(successes, total).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def clustered_interval(
    shares: Float[Tensor, " clusters"], *, trials_per_cluster: int, confidence: float = 0.95
) -> Interval:
    """Return an interval of the mean of shares of successes, each of a cluster of trials that go together.

    Wilson's interval with an effective number of trials in place of their number: ``p (1 - p) / v``, where ``p`` is
    the mean share and ``v`` the estimated variance of that mean over independent clusters, and never fewer than the
    clusters nor more than the trials. A cluster whose trials always agree counts as one trial; so does every cluster
    where all shares are equal, so that there is no variance to estimate: that interval is too wide.

    Args:
        shares: shape ``(clusters,)``; successes over trials of each cluster, in [0, 1]; at least one.
        trials_per_cluster: the same for every cluster, >= 1.
        confidence: probability with which such intervals hold the true mean, in (0, 1).

    Returns:
        Fractions in [0, 1].

    Raises:
        ConfigError: there is no cluster, or a number is out of its range.

    Source: Franco, Little, Louis & Slud, Comparative Study of Confidence Intervals for Proportions in Complex Sample
        Surveys, Journal of Survey Statistics and Methodology 7, 2019 (https://doi.org/10.1093/jssam/smy019), who
        recommend effective sample sizes; the bounds on them are ours.

    Example:
        >>> import torch
        >>> low, high = clustered_interval(torch.tensor([1.0] * 8 + [0.0] * 2), trials_per_cluster=5)
        >>> round(low, 4), round(high, 4)  # as of 8 successes in 10 trials
        (0.4902, 0.9433)
    """
    if len(shares) == 0 or trials_per_cluster < 1:
        got = f"{len(shares)} of {trials_per_cluster}"
        raise ConfigError("at least one cluster of at least one trial", got, "count clusters and trials anew")
    if not bool(((shares >= 0) & (shares <= 1)).all()):
        raise ConfigError("shares of successes in [0, 1]", str(shares.tolist()[:3]), "divide successes by trials")
    _check_confidence(confidence)
    count, mean = len(shares), float(shares.double().mean())
    variance = float(shares.double().var()) / count if count > 1 else 0.0
    trials = mean * (1 - mean) / variance if variance > 0 else float(count)
    trials = min(max(trials, count), count * trials_per_cluster)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = (mean + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * sqrt(mean * (1 - mean) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def _check_confidence(confidence: float) -> None:
    """Refuse what is no probability."""
    if not 0 < confidence < 1:
        raise ConfigError("a confidence in (0, 1)", str(confidence), "give for instance 0.95")
