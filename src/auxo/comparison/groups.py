"""Differences where images come in groups: writers, photographs, patients, each seen under every seed."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from auxo.comparison.decisions import Estimate
from auxo.tasks import Interval

FEWEST_FOR_BOOTSTRAP = 10
_FEWEST = 3
_RESAMPLES = 9999


class GroupedDeltas(NamedTuple):
    """Differences by seed and group of images.

    Args:
        values: shape ``(*any, seeds, groups)``.
        weights: shape ``(groups,)``; share of each group in the difference, together 1: its images among its set's.
        sets: shape ``(groups,)``; number of the test set that the group is of, from 0 without gaps. A set of one group
            is one whose images are not grouped: it is taken as it is.
    """

    values: Float[np.ndarray, "*any seeds groups"]
    weights: Float[np.ndarray, " groups"]
    sets: Int[np.ndarray, " groups"]

    @property
    def smallest(self) -> int:
        """Groups of the set that has the fewest of those that are grouped; 0 where none is."""
        return int(min((count for count in np.bincount(self.sets) if count > 1), default=0))


def estimate_groups(deltas: GroupedDeltas) -> Estimate:
    """Return the mean difference with the standard error of seeds and groups that were both drawn.

    The variance of means of groups, weighted, plus that of means of seeds, less that of what is left of both, which is
    in either: unbiased where seeds, groups and the rest add up. Degrees of freedom are Satterthwaite's. Of two groups
    no error is known, nor of fewer than two seeds.

    Args:
        deltas: of at least two seeds.

    Source: two-way clustering, Cameron, Gelbach & Miller, Robust Inference With Multiway Clustering, Journal of
        Business & Economic Statistics 29, 2011 (https://doi.org/10.1198/jbes.2010.07136), with the small-sample factors
        ``n / (n - 1)`` of each sum; Satterthwaite, Biometrics Bulletin 2, 1946 (https://doi.org/10.2307/3002019).

    Example:
        >>> rows = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
        >>> found = estimate_groups(GroupedDeltas(rows, np.full(3, 1 / 3), np.zeros(3, dtype=int)))
        >>> [round(float(each), 3) for each in found]
        [2.5, 0.764, 2.882]
    """
    values, weights, sets = deltas
    num_seeds = values.shape[-2]
    of_seeds, of_groups = (values * weights).sum(-1), values.mean(-2)
    means = of_seeds.mean(-1)
    seeds_part = of_seeds.var(-1, ddof=1) / num_seeds
    groups_part, groups_squares, rest_part, rest_squares = (np.zeros(means.shape) for _ in range(4))
    for number in range(int(sets.max()) + 1):
        own = sets == number
        count, share = int(own.sum()), weights[own] / weights[own].sum()
        if count == 1:
            continue
        factor = count / (count - 1)
        centre = (of_groups[..., own] * share).sum(-1, keepdims=True)
        part = factor * ((weights[own] * (of_groups[..., own] - centre)) ** 2).sum(-1)
        rows = values[..., own]
        left = rows - of_groups[..., None, own] - (rows * share).sum(-1, keepdims=True) + centre[..., None]
        rest = factor / (num_seeds * (num_seeds - 1)) * ((weights[own] * left) ** 2).sum((-1, -2))
        groups_part, groups_squares = groups_part + part, groups_squares + part**2 / (count - 1)
        rest_part, rest_squares = rest_part + rest, rest_squares + rest**2 / ((count - 1) * (num_seeds - 1))
    # The difference of variances may be below either, which no sum of them can be.
    variance = np.maximum(seeds_part + groups_part - rest_part, np.maximum(seeds_part, groups_part))
    squares = seeds_part**2 / (num_seeds - 1) + groups_squares + rest_squares
    with np.errstate(invalid="ignore"):
        freedoms = np.where(squares > 0, variance**2 / squares, num_seeds - 1.0)
    errors = np.sqrt(variance) if deltas.smallest >= _FEWEST else np.full(means.shape, np.nan)
    return Estimate(means, errors, freedoms)


def bootstrap_groups(deltas: GroupedDeltas, *, seed: int = 0) -> Interval | None:
    """Return the 95 % percentile interval of seeds and groups that are both drawn again, or ``None`` under ten groups.

    Seeds are drawn with replacement, and groups within their set, independently; the difference of each draw is that of
    its images. Of few seeds it is too narrow.

    Args:
        deltas: of at least two seeds, without further axes.
        seed: of the draws; 9,999 of them.

    Source: Owen, The Pigeonhole Bootstrap, Annals of Applied Statistics 1, 2007 (https://doi.org/10.1214/07-AOAS122).
    """
    if deltas.smallest < FEWEST_FOR_BOOTSTRAP:
        return None
    values, weights, sets = deltas
    generator = np.random.default_rng(seed)
    num_seeds = len(values)
    drawn_seeds = generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=_RESAMPLES) / num_seeds
    by_group = drawn_seeds @ values
    means = np.zeros(_RESAMPLES)
    for number in range(int(sets.max()) + 1):
        own = sets == number
        count = int(own.sum())
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES) * weights[own]
        means += weights[own].sum() * (drawn * by_group[:, own]).sum(-1) / drawn.sum(-1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))
