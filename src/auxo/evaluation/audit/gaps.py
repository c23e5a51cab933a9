"""Means of the images of a class and a value, and how far they are apart."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auxo.evaluation.audit.findings import LEVEL, CellMean, Gap
from auxo.evaluation.groups import Grouping
from auxo.tasks import Interval, bootstrap_interval, combine_intervals, wilson_interval
from auxo.types import Column


def _measure_interval(values: Float[Tensor, " n"], confidence: float) -> Interval:
    """Return an interval of a mean: Wilson's of values 0 and 1, else the bootstrap's."""
    if bool(((values == 0) | (values == 1)).all()):
        return wilson_interval(int(values.sum()), len(values), confidence)
    return bootstrap_interval(lambda places: float(values[places].mean()), len(values), confidence=confidence)


def measure_cells(
    values: Float[Tensor, " n"], grouping: Grouping, is_compared: Bool[Tensor, " n"]
) -> Iterator[CellMean]:
    """Yield the means of all classes and values that have images.

    Args:
        values: of single images.
        grouping: of the same.
        is_compared: which of them are compared.
    """
    for y, stratum in enumerate(grouping.strata.names):
        for v, value in enumerate(grouping.groups.names):
            mask = (grouping.strata.values == y) & (grouping.groups.values == v)
            if bool(mask.any()):
                own = values[mask]
                interval = _measure_interval(own, 1 - LEVEL)
                yield CellMean(stratum, value, len(own), float(own.mean()), *interval, bool(is_compared[mask].any()))


def split_values(values: Float[Tensor, " n"], groups: Column) -> Iterator[tuple[str, Tensor]]:
    """Yield the values of every group by its name."""
    for number, name in enumerate(groups.names):
        yield name, values[groups.values == number]


def split_cells(
    values: Float[Tensor, " n"], grouping: Grouping, is_compared: Bool[Tensor, " n"]
) -> list[tuple[str, str, Tensor]]:
    """Return the values of every cell that is compared, by its names."""
    made = []
    for y, stratum in enumerate(grouping.strata.names):
        mask = is_compared & (grouping.strata.values == y)
        groups = grouping.groups._replace(values=torch.where(mask, grouping.groups.values, -1))
        made += [(stratum, name, own) for name, own in split_values(values, groups) if len(own)]
    return made


def find_gap(parts: Sequence[tuple[str, str, Tensor]], *, is_more_better: bool) -> Gap | None:
    """Return the largest difference between two parts of one stratum; ``None`` where there are no two.

    Its interval is Newcombe's of proportions, at the confidence that all pairs together have one of 95 % (Bonferroni),
    for the largest of many differences is large by chance alone.

    Args:
        parts: name of the stratum and of the part, and the values of its images.
        is_more_better: which of two means is the better.
    """
    pairs = [pair for pair in itertools.combinations(parts, 2) if pair[0][0] == pair[1][0]]
    if not pairs:
        return None
    confidence = 1 - LEVEL / len(pairs)
    means = {(stratum, name): float(own.mean()) for stratum, name, own in parts}
    first, second = max(pairs, key=lambda pair: abs(means[pair[0][:2]] - means[pair[1][:2]]))
    if means[first[:2]] < means[second[:2]]:
        first, second = second, first
    # Which pair is the largest was read from the data, so its interval has the confidence of all of them.
    ends = [_measure_interval(own, confidence) for *_, own in (first, second)]
    size = means[first[:2]] - means[second[:2]]
    low, high = combine_intervals([means[first[:2]], means[second[:2]]], ends, [1.0, -1.0])
    best, worst = (first[1], second[1]) if is_more_better else (second[1], first[1])
    return Gap(first[0], best, worst, size, low, high, len(pairs))
