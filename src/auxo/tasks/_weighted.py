"""Measures of weighted images, whose cells have shares that are known, such as those of another population."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from auxo.tasks._intervals import Interval, bootstrap_weighted, combine_intervals, wilson_interval


class WeightedMean(NamedTuple):
    """A mean with its 95 % interval.

    Args:
        value: the mean.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


def measure_weighted_mean(
    values: Float[Tensor, " n"], weights: Float[Tensor, " n"], *, cells: Int[Tensor, " n"]
) -> WeightedMean:
    """Return the weighted mean of images' values, with its interval where the shares of the cells are known.

    Of values 0 and 1 the interval combines Wilson's intervals of the cells; of others it is the bootstrap within cells.

    Args:
        values: shape ``(n,)``.
        weights: shape ``(n,)``; >= 0, equal within a cell; not all 0.
        cells: shape ``(n,)``; number of each image's cell.

    Example:
        >>> right = torch.tensor([1.0, 1, 1, 0, 0, 0])
        >>> weights, cells = torch.tensor([1.0, 1, 1, 3, 3, 3]), torch.tensor([0, 0, 0, 1, 1, 1])
        >>> measure_weighted_mean(right, weights, cells=cells).value
        0.25
    """
    wide, total = weights.double(), weights.double().sum()
    value = float((wide * values.double()).sum() / total)
    if bool(((values == 0) | (values == 1)).all()):  # the bootstrap of a cell that is all right has no width
        _, numbers, counts = cells.unique(return_inverse=True, return_counts=True)
        shares = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, numbers, wide) / total
        hits = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, numbers, values.double())
        pairs = list(zip(hits.long().tolist(), counts.tolist(), strict=True))
        means = [hit / count for hit, count in pairs]
        interval = combine_intervals(means, [wilson_interval(*pair) for pair in pairs], shares.tolist())
        return WeightedMean(value, max(0.0, interval.low), min(1.0, interval.high))
    interval = bootstrap_weighted(lambda drawn: drawn @ values.double() / drawn.sum(1), weights, cells=cells)
    return WeightedMean(value, *interval)


def weighted_auroc(
    margins: Float[Tensor, " n"], is_positive: Bool[Tensor, " n"], weights: Float[Tensor, "*sets n"]
) -> Float[Tensor, "*sets"]:
    """Return the area under the ROC curve of weighted images: the share of pairs in the right order.

    A pair of a positive and a negative image counts the product of their weights; of equal margins it counts half.

    Args:
        margins: shape ``(n,)``; the larger the more positive.
        is_positive: shape ``(n,)``.
        weights: shape ``(..., n)``; >= 0; leading dimensions stand for several sets of weights.

    Returns:
        Float64; not a number where one class has no weight.

    Cost: sorting the margins once, and a pass over each set of weights.
    """
    _, places = margins.unique(return_inverse=True)
    wide = weights.double()
    levels = int(places.max()) + 1 if len(places) else 0
    by_class = []
    for mask in (is_positive, ~is_positive):
        sums = torch.zeros(*wide.shape[:-1], levels, dtype=torch.float64)
        by_class.append(sums.index_add_(-1, places, wide * mask))
    positive, negative = by_class
    below = negative.cumsum(-1) - negative / 2  # those of the same margin count half
    return (positive * below).sum(-1) / (positive.sum(-1) * negative.sum(-1))


def auroc_of_weighted(
    margins: Float[Tensor, " n"],
    is_positive: Bool[Tensor, " n"],
    weights: Float[Tensor, " n"],
    *,
    cells: Int[Tensor, " n"],
) -> tuple[float, Interval | None]:
    """Return the area of weighted images and its bootstrap interval within cells; none at 0 and 1, nor of one class."""
    value = float(weighted_auroc(margins, is_positive, weights))
    if not 0 < value < 1:  # all pairs in order: every resample has them so, too
        return value, None
    return value, bootstrap_weighted(lambda drawn: weighted_auroc(margins, is_positive, drawn), weights, cells=cells)
