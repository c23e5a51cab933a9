"""Which pixels are compared: a few of every label in every image, drawn at random."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from auxo.options import Options, Range
from auxo.random import Draws

_FINE = 2**31  # steps of a random key; a tie is broken by position


@dataclass(frozen=True, kw_only=True)
class PixelSampling(Options):
    """How many pixels are drawn. Few of every label in every image, or frequent labels would be nearly all of them."""

    per_label: Annotated[int, Range(low=1)] = 8
    """At most so many pixels of each label in each image. ContrastiveSeg: 100."""
    min_pixels: Annotated[int, Range(low=1)] = 10
    """A label with fewer pixels in an image, at the resolution of the features, is left out there."""
    max_samples: Annotated[int, Range(low=2)] = 1024
    """Pixels of a joined batch at most: beyond, fewer are drawn of each label. Cost grows with its square."""


class PixelSample(NamedTuple):
    """Some pixels of a batch, by image, then label, then rank. All are int64 of shape ``(samples,)``.

    Args:
        images: position of each one's image in the batch.
        places: ``row * width + column``.
        labels: of each pixel, >= 0.
        ranks: 0, 1, ... within image and label, in random order.
    """

    images: Int[Tensor, " samples"]
    places: Int[Tensor, " samples"]
    labels: Int[Tensor, " samples"]
    ranks: Int[Tensor, " samples"]


def draw_pixels(labels: Int[Tensor, "batch height width"], *, sampling: PixelSampling, draws: Draws) -> PixelSample:
    """Draw pixels uniformly from every label of every image, without replacement.

    Of each label with ``min_pixels`` in an image, ``per_label`` pixels are drawn, or all where there are fewer. Where
    these would be more than ``max_samples`` together, the same smaller number is drawn of each; where even two of each
    are too many, labels of single images are left out at random.

    Source: after Zhang et al. (NeurIPS 2021), of which only the abstract could be read; the caps are those of
    ContrastiveSeg (Wang et al., ICCV 2021), whose draw is half from pixels that its classifier gets wrong.

    Args:
        labels: of all images of the joined batch; any below 0 are never drawn.
        sampling: how many.
        draws: random numbers for each image; all of the joined batch is drawn at once.

    Returns:
        On the device of the labels; empty where no label has pixels enough.

    Cost: a sort of all pixels.

    Example:
        >>> halves = torch.tensor([[[0, 0, 1, 1]] * 8])
        >>> draws = Draws(torch.Generator().manual_seed(0))
        >>> draw_pixels(halves, sampling=PixelSampling(per_label=2), draws=draws).labels
        tensor([0, 0, 1, 1])
    """
    flat = labels.flatten(1).long()
    count, area = flat.shape
    keys = (draws.uniform(count, (area,)) * _FINE).long().to(flat.device)
    known = flat >= 0
    images, places = known.nonzero(as_tuple=True)
    if not len(images):
        return PixelSample(images, places, images, images)
    found = flat[known]
    groups = images * (found.max() + 1) + found  # one number for each label of each image
    order = (groups * _FINE + keys[known]).argsort(stable=True)
    images, places, found, groups = images[order], places[order], found[order], groups[order]
    _, numbers, sizes = groups.unique_consecutive(return_inverse=True, return_counts=True)
    ranks = torch.arange(len(groups), device=flat.device) - (sizes.cumsum(0) - sizes)[numbers]
    offered = torch.where(sizes >= sampling.min_pixels, sizes.clamp_max(sampling.per_label), 0)
    taken = _limit_draws(offered, sampling)
    if taken.sum() > sampling.max_samples:
        first = ranks == 0
        chances = draws.uniform(count, (area,)).to(device=flat.device)[images[first], places[first]]
        taken = torch.where(_choose_groups(taken, chances, limit=sampling.max_samples), taken, 0)
    drawn = ranks < taken[numbers]
    return PixelSample(images[drawn], places[drawn], found[drawn], ranks[drawn])


def _limit_draws(offered: Int[Tensor, " groups"], sampling: PixelSampling) -> Int[Tensor, " groups"]:
    """Return how many pixels are drawn of each group: the most that are allowed together, but two if there are."""
    limits = torch.arange(1, sampling.per_label + 1, device=offered.device)
    totals = offered.unsqueeze(1).clamp_max(limits).sum(0)
    # A pixel alone has no other to be alike where labels are not shared by images, so one of each is no sample.
    largest = (totals <= sampling.max_samples).sum().clamp_min(min(2, sampling.per_label))
    return offered.clamp_max(largest)


def _choose_groups(
    taken: Int[Tensor, " groups"], chances: Float[Tensor, " groups"], *, limit: int
) -> Bool[Tensor, " groups"]:
    """Return which groups stay: at random, as many as have ``limit`` pixels together."""
    order = chances.argsort()
    chosen = torch.empty_like(taken, dtype=torch.bool)
    chosen[order] = taken[order].cumsum(0) <= limit
    return chosen


def shrink_labels(labels: Int[Tensor, "batch _ _"], size: tuple[int, int]) -> Int[Tensor, "batch height width"]:
    """Return the label of the pixel at the upper left of each cell, as torch's ``nearest`` does, without rounding.

    Args:
        labels: of every pixel.
        size: rows and columns of cells.

    Example:
        >>> shrink_labels(torch.arange(16).view(1, 4, 4), (2, 2)).tolist()
        [[[0, 2], [8, 10]]]
    """
    rows, columns = (
        torch.arange(cells, device=labels.device) * pixels // cells
        for cells, pixels in zip(size, labels.shape[1:], strict=True)
    )
    return labels[:, rows[:, None], columns]


def find_largest_group(labels: Int[Tensor, "batch height width"]) -> int:
    """Return the most pixels that a label has in an image; 0 where no pixel has a label.

    Example:
        >>> find_largest_group(torch.tensor([[[0, -1], [1, 1]], [[2, 0], [-1, -1]]]))
        2
    """
    images, _, _ = (labels >= 0).nonzero(as_tuple=True)
    if not len(images):
        return 0
    found = labels[labels >= 0].long()
    return int((images * (found.max() + 1) + found).unique(return_counts=True)[1].max())
