"""Intervals of measures: of proportions in closed form, of anything else by the bootstrap over images."""

from collections.abc import Callable, Sequence
from math import isfinite, nan, sqrt
from statistics import NormalDist
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from auxo.errors import ConfigError
from auxo.random import named_generator

_AT_ONCE = 100  # resamples of weighted images, whose weights take memory


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
        (https://doi.org/10.2307/2276774).

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
    return _score_interval(successes / total, float(total), confidence)


def clustered_interval(
    shares: Float[Tensor, " clusters"],
    *,
    trials_per_cluster: int | Int[Tensor, " clusters"],
    confidence: float = 0.95,
) -> Interval:
    """Return an interval of the share of successes in clusters of trials that go together.

    Wilson's interval with an effective number of trials in place of their number: ``p (1 - p) / v``, where ``p`` is
    the share of all trials and ``v`` the estimated variance of that ratio over independent clusters, and never fewer
    than clusters of one size would be that say as much, ``(sum m)^2 / sum m^2`` of sizes ``m``, nor more than the
    trials. A cluster whose trials always agree counts as one trial; so does every cluster where all shares are equal,
    so that there is no variance to estimate: that interval is too wide.

    Args:
        shares: shape ``(clusters,)``; successes over trials of each cluster, in [0, 1]; at least one.
        trials_per_cluster: the same for every cluster, or one for each, >= 1.
        confidence: probability with which such intervals hold the true share, in (0, 1).

    Returns:
        Fractions in [0, 1].

    Raises:
        ConfigError: there is no cluster, or a number is out of its range.

    Source: Franco, Little, Louis & Slud, Comparative Study of Confidence Intervals for Proportions in Complex Sample
        Surveys, Journal of Survey Statistics and Methodology 7, 2019 (https://doi.org/10.1093/jssam/smy019), who
        recommend effective sample sizes; the bounds on them are ours. Variance of a ratio: Cochran, Sampling
        Techniques, 3rd edition, 1977, section 9A.

    Example:
        >>> import torch
        >>> low, high = clustered_interval(torch.tensor([1.0] * 8 + [0.0] * 2), trials_per_cluster=5)
        >>> round(low, 4), round(high, 4)  # as of 8 successes in 10 trials
        (0.4902, 0.9433)
    """
    sizes = torch.as_tensor(trials_per_cluster).double().expand(len(shares))
    if len(shares) == 0 or bool((sizes < 1).any()):
        got = f"{len(shares)} of {trials_per_cluster}"
        raise ConfigError("at least one cluster of at least one trial", got, "count clusters and trials anew")
    if not bool(((shares >= 0) & (shares <= 1)).all()):
        raise ConfigError("shares of successes in [0, 1]", str(shares.tolist()[:3]), "divide successes by trials")
    _check_confidence(confidence)
    count, total = len(shares), float(sizes.sum())
    mean = float((sizes * shares.double()).sum()) / total
    squares = float((sizes * (shares.double() - mean)).square().sum()) / total**2
    variance = squares * count / (count - 1) if count > 1 else 0.0
    fewest = total**2 / float(sizes.square().sum())
    trials = mean * (1 - mean) / variance if variance > 0 else fewest
    return _score_interval(mean, min(max(trials, fewest), total), confidence)


def clustered_proportion(is_success: Bool[Tensor, " n"], clusters: Int[Tensor, " n"] | None) -> Interval:
    """Return an interval of 95 % of the share of successes: Wilson's, or of trials in clusters that go together.

    Args:
        is_success: shape ``(n,)``; of each trial; n >= 1.
        clusters: shape ``(n,)``; number of each trial's cluster; ``None`` where all are independent.
    """
    if clusters is None:
        return wilson_interval(int(is_success.sum()), len(is_success))
    _, numbers, sizes = clusters.unique(return_inverse=True, return_counts=True)
    hits = numbers[is_success].bincount(minlength=len(sizes))
    return clustered_interval(hits / sizes, trials_per_cluster=sizes)


def auroc_interval(auroc: float, positives: int, negatives: int, confidence: float = 0.95) -> Interval:
    """Return an interval of the area under the ROC curve, by its standard error where scores are exponential.

    With ``A`` the area, ``Q1 = A / (2 - A)`` and ``Q2 = 2 A^2 / (1 + A)``, the variance is
    ``(A (1 - A) + (n1 - 1) (Q1 - A^2) + (n0 - 1) (Q2 - A^2)) / (n1 n0)``. The ends are cut off at 0 and 1; at an area
    of 0 or 1 the interval has no width.

    Source: Hanley & McNeil, The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve,
        Radiology 143, 1982 (https://doi.org/10.1148/radiology.143.1.7063747).

    Args:
        auroc: the area, in [0, 1].
        positives: images of the positive class, >= 1.
        negatives: images of the other, >= 1.
        confidence: in (0, 1).
    """
    if not 0 <= auroc <= 1 or positives < 1 or negatives < 1:
        got = f"{auroc} of {positives} and {negatives}"
        raise ConfigError("an area in [0, 1] of at least one image of each class", got, "count the images anew")
    _check_confidence(confidence)
    first, second = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (positives - 1) * (first - auroc**2) + (negatives - 1) * (second - auroc**2)
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * sqrt(max(0.0, variance) / (positives * negatives))
    return Interval(max(0.0, auroc - half), min(1.0, auroc + half))


def bootstrap_interval(
    measure: Callable[[Int[Tensor, " n"]], float],
    count: int,
    *,
    clusters: Int[Tensor, " n"] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of any measure of a set.

    Images are drawn with replacement as often as there are images; with clusters, whole clusters are drawn as often as
    there are clusters, for images that are not independent, such as the frames of one video.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; clusters: Field & Welsh,
        Bootstrapping clustered data, JRSS B 69, 2007 (https://doi.org/10.1111/j.1467-9868.2007.00593.x).

    Args:
        measure: of the images at some positions, with repeats.
        count: images of the set, >= 1.
        clusters: shape ``(count,)``; the number of each image's cluster; ``None`` for independent images.
        confidence: in (0, 1).
        resamples: how many sets are drawn, >= 2; those whose measure is not a number are left out.
        seed: of the draws.

    Cost: ``resamples`` calls of ``measure``.
    """
    if count < 1 or resamples < 2 or (clusters is not None and len(clusters) != count):
        got = f"{count} images, {resamples} resamples" + ("" if clusters is None else f", {len(clusters)} clusters")
        raise ConfigError("an image or more, two resamples or more, and a cluster for each image", got, "pair them")
    _check_confidence(confidence)
    members = None if clusters is None else _members_of(clusters)
    generator = named_generator(seed, "bootstrap")
    size = count if members is None else len(members)
    values = []
    for _ in range(resamples):
        drawn = torch.randint(size, (size,), generator=generator)
        value = measure(drawn if members is None else torch.cat([members[int(k)] for k in drawn]))
        if isfinite(value):
            values.append(value)
    return _take_percentiles(torch.tensor(values, dtype=torch.float64), confidence)


def combine_intervals(
    values: Sequence[float], intervals: Sequence[Interval], coefficients: Sequence[float]
) -> Interval:
    """Return an interval of a weighted sum of independent values from an interval of each.

    With values ``x``, intervals ``[l, u]`` and coefficients ``c`` its lower end lies below ``sum c x`` by the root of
    ``sum c^2 (x - l)^2``, where a negative coefficient takes ``u`` for ``l``; its upper end likewise. Of Wilson's
    intervals of two proportions and the coefficients 1 and -1 it is Newcombe's of their difference (his method 10).

    Args:
        values: at least one.
        intervals: one of each value, all of one confidence, which is the result's.
        coefficients: one of each value.

    Source: Newcombe, Interval Estimation for the Difference between Independent Proportions, Statistics in Medicine 17,
        1998 (https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I); of any sum: Zou, Huang
        & Zhang, A Note on Confidence Interval Estimation for a Linear Function of Binomial Proportions, Computational
        Statistics & Data Analysis 53, 2009 (https://doi.org/10.1016/j.csda.2008.09.033).

    Example:
        >>> pair = wilson_interval(56, 70), wilson_interval(48, 80)
        >>> low, high = combine_intervals([56 / 70, 48 / 80], pair, [1.0, -1.0])
        >>> round(low, 4), round(high, 4)
        (0.0524, 0.3339)
    """
    below = above = total = 0.0
    for value, ends, coefficient in zip(values, intervals, coefficients, strict=True):
        down, up = value - ends.low, ends.high - value
        if coefficient < 0:
            down, up = up, down
        total += coefficient * value
        below += (coefficient * down) ** 2
        above += (coefficient * up) ** 2
    return Interval(total - sqrt(below), total + sqrt(above))


def bootstrap_weighted(
    measure: Callable[[Float[Tensor, "resamples n"]], Float[Tensor, " resamples"]],
    weights: Float[Tensor, " n"],
    *,
    cells: Int[Tensor, " n"],
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a measure of weighted images, drawn anew within their cells.

    Every cell keeps its number of images, so that weights that are equal within a cell keep its share.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 (several samples) and 13.

    Args:
        measure: of the weights of all images, several sets of weights at once.
        weights: shape ``(n,)``; >= 0.
        cells: shape ``(n,)``; number of each image's cell.
        confidence: in (0, 1).
        resamples: how many sets are drawn, >= 2; those whose measure is not a number are left out.
        seed: of the draws.
    """
    _check_confidence(confidence)
    generator = named_generator(seed, "bootstrap", "cells")
    found, members = [], _members_of(cells)
    for first in range(0, resamples, _AT_ONCE):
        times = torch.zeros(min(_AT_ONCE, resamples - first), len(weights), dtype=torch.float64)
        for places in members:
            drawn = torch.randint(len(places), (len(times), len(places)), generator=generator)
            own = torch.zeros(len(times), len(places), dtype=torch.float64)
            times[:, places] = own.scatter_add_(1, drawn, torch.ones_like(own))
        found.append(measure(times * weights.double()))
    values = torch.cat(found)
    return _take_percentiles(values[values.isfinite()], confidence)


def bootstrap_sums(
    measure: Callable[[Float[Tensor, "resamples k"]], Float[Tensor, "resamples measures"]],
    sums: Float[Tensor, "n k"],
    *,
    clusters: Int[Tensor, " n"] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Interval]:
    """Return percentile bootstrap intervals of several measures that follow from sums over the images of a set.

    All measures share the draws. Images, or whole clusters of them, are drawn as in :func:`bootstrap_interval`.

    Source: as of :func:`bootstrap_interval`.

    Args:
        measure: of sums over many sets at once: a row for each set.
        sums: shape ``(n, k)``; what each image adds; n >= 1.
        clusters: shape ``(n,)``; the number of each image's cluster; ``None`` for independent images.
        confidence: in (0, 1).
        resamples: how many sets are drawn, >= 2; those whose measure is not a number are left out of its interval.
        seed: of the draws.

    Returns:
        An interval of each measure.

    Cost: a product of a matrix ``(resamples, n)`` with the sums, a hundred resamples at a time.

    Example:
        >>> bootstrap_sums(lambda rows: rows[:, :1] / rows[:, 1:], torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        [Interval(low=0.0, high=1.0)]
    """
    _check_confidence(confidence)
    wide = sums.double()
    if clusters is not None:
        _, numbers = clusters.unique(return_inverse=True)
        wide = torch.zeros(int(numbers.max()) + 1, wide.shape[1], dtype=torch.float64).index_add_(0, numbers, wide)
    generator = named_generator(seed, "bootstrap", "sums")
    count, found = len(wide), []
    for first in range(0, resamples, _AT_ONCE):
        drawn = torch.randint(count, (min(_AT_ONCE, resamples - first), count), generator=generator)
        times = torch.zeros(drawn.shape, dtype=torch.float64).scatter_add_(
            1, drawn, torch.ones(drawn.shape, dtype=torch.float64)
        )
        found.append(measure(times @ wide))
    return [_take_percentiles(column[column.isfinite()], confidence) for column in torch.cat(found).unbind(1)]


def _members_of(clusters: Int[Tensor, " n"]) -> list[Int[Tensor, " members"]]:
    """Return the positions of each cluster's images."""
    _, numbers, counts = clusters.unique(return_inverse=True, return_counts=True)
    return list(numbers.argsort(stable=True).split(counts.tolist()))


def _take_percentiles(values: Float[Tensor, " resamples"], confidence: float) -> Interval:
    """Return the ends of the middle part of some values; not numbers of none."""
    if not len(values):
        return Interval(nan, nan)
    ends = values.quantile(torch.tensor([0.5 - confidence / 2, 0.5 + confidence / 2], dtype=torch.float64))
    return Interval(float(ends[0]), float(ends[1]))


def _score_interval(mean: float, trials: float, confidence: float) -> Interval:
    """Return Wilson's interval of a proportion in so many independent trials, which need not be a whole number."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = (mean + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * sqrt(mean * (1 - mean) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    # Rounding can leave an end at 1e-17 or 1 + 1e-16 where the exact one is 0 or 1.
    low = 0.0 if mean == 0 else max(0.0, middle - half)
    return Interval(low, 1.0 if mean == 1 else min(1.0, middle + half))


def _check_confidence(confidence: float) -> None:
    """Refuse what is no probability."""
    if not 0 < confidence < 1:
        raise ConfigError("a confidence in (0, 1)", str(confidence), "give for instance 0.95")
