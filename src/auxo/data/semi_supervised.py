"""Training images of which most lose their target."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.data.columns import hidden_name
from auxo.data.sources import AbstractSource
from auxo.data.splits import Splits, TrainSplit, UnlabelledSplit
from auxo.data.together import number_copies, put_copies_last
from auxo.errors import DataError
from auxo.random import named_generator
from auxo.types import Column


def hide_targets(splits: Splits, num_labelled: int, *, seed: int, keep_hidden: bool = False) -> Splits:
    """Return splits that train on the targets of some of the training images, and on all of the images without any.

    The labelled images are drawn with the same number from every class, to within one, and are among the unlabelled
    ones, as in FixMatch (Sohn et al., NeurIPS 2020, arXiv 2001.07685). Where masks are learned, images that
    show a class which those before do not come first in the draw. A copy of an image that is drawn comes after all that
    are none.

    Args:
        splits: as they are without hidden targets.
        num_labelled: how many images keep their target, >= the number of classes.
        seed: of the draw.
        keep_hidden: keep what is hidden in the unlabelled images under another name, :func:`hidden_name`.

    Raises:
        DataError: fewer are asked for than there are classes, or a class has too few images.
    """
    whole = splits.train.source
    mask, kinds = splits.task_kind.mask_target, splits.task_kind.strata(whole)
    if mask is None:
        chosen = _draw_balanced(whole, kinds, num_labelled, seed)
    else:
        chosen = _draw_covering(whole, mask, num_labelled, seed)
    labelled = whole.subset(chosen, whole.name)
    hidden = [target.name for target in splits.task().targets]  # further columns stay
    source = whole.duplicate_targets({name: hidden_name(name) for name in hidden}) if keep_hidden else whole
    unlabelled = source.without_targets(hidden, f"{whole.name}-unlabelled")
    return replace(splits, train=TrainSplit(labelled), unlabelled=UnlabelledSplit(unlabelled))


def without_images(source: AbstractSource, others: AbstractSource) -> AbstractSource:
    """Return the images of ``source`` whose content and block are not among ``others``, images of the same set."""
    excluded = set(others.content_hashes())
    is_kept = torch.tensor([content not in excluded for content in source.content_hashes()])
    column = source.columns.get(source.blocks)
    if column is not None:
        is_kept &= ~torch.isin(column.values, others.columns[source.blocks].values)
    return source.subset(is_kept.nonzero().flatten(), source.name)


def _draw_covering(source: AbstractSource, mask: str, size: int, seed: int) -> Int[Tensor, " size"]:
    """Draw positions, first of images that show a class which none before them does, then of any; sorted.

    Not the fewest images that show every class: taking the order at random keeps the draw a random one. A smaller draw
    is a part of a larger one.
    """
    _require_enough(source, size)
    shows = source.find_places(mask)
    shuffled = torch.randperm(len(source), generator=named_generator(seed, "covering"))
    order = put_copies_last(shuffled, number_copies(source)).tolist()
    seen = torch.zeros(shows.shape[1], dtype=torch.bool)
    first: list[int] = []
    for position in order:
        if bool((shows[position] & ~seen).any()):
            first.append(position)
            seen |= shows[position]
    taken = set(first)
    return torch.tensor([*first, *(each for each in order if each not in taken)][:size]).sort().values


def _require_enough(source: AbstractSource, size: int) -> None:
    """Refuse to draw more images than there are."""
    if size > len(source):
        got, fix = f"{size} for {len(source)} in '{source.name}'", "ask for fewer with --data.num-labelled (None: all)"
        raise DataError("data.num-labelled of no more than the training images", got, fix)


def _draw_balanced(source: AbstractSource, kinds: Column | None, size: int, seed: int) -> Int[Tensor, " size"]:
    """Draw positions with the same number from every stratum, such as a class, to within one; sorted."""
    numbers, names = kinds or Column(torch.zeros(len(source), dtype=torch.int64), ())
    what = "class" if names else "kind"
    if kinds is None:
        _require_enough(source, size)
    present, strata, counts = numbers.unique(return_inverse=True, return_counts=True)
    num_strata = len(counts)
    if size < num_strata:
        expected = f"data.num-labelled of at least {num_strata}, one image per {what}"
        raise DataError(expected, str(size), "ask for more")
    generator = named_generator(seed, "balanced")
    each, rest = divmod(size, num_strata)
    wanted = torch.full_like(counts, each)
    wanted[torch.randperm(num_strata, generator=generator)[:rest]] += 1
    short = (wanted > counts).nonzero().flatten()
    if len(short):
        stratum = int(short[0])
        member = int((strata == stratum).nonzero()[0])
        name = f"'{names[int(present[stratum])]}'" if names else source.describe(member)
        raise DataError(
            f"at least {int(wanted[stratum])} training images of every {what} for data.num-labelled {size}",
            f"{int(counts[stratum])} {'of' if names else 'like'} {name} in '{source.name}'",
            "ask for fewer with --data.num-labelled (None: all), or give unlabelled images by --data.unlabelled",
        )
    shuffled = put_copies_last(torch.randperm(len(source), generator=generator), number_copies(source))
    ordered = shuffled[strata[shuffled].argsort(stable=True)]
    place_in_class = torch.arange(len(source)) - (counts.cumsum(0) - counts)[strata[ordered]]
    return ordered[place_in_class < wanted[strata[ordered]]].sort().values
