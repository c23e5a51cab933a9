"""Parts of a source: seeded, stratified, and without dividing what belongs together."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from auxo.data.sources import AbstractSource
from auxo.data.together import join_copies, number_blocks, number_copies, number_units
from auxo.errors import DataError
from auxo.random import named_generator
from auxo.tasks import AbstractTask


def stratified_indices(strata: Int[Tensor, " n"], sizes: Sequence[int], *, seed: int) -> list[Int[Tensor, " part"]]:
    """Draw disjoint parts of given sizes, each with the proportions of the whole to within one image.

    Args:
        strata: shape ``(n,)``; int64 number of each image, such as its class, whose proportions are kept.
        sizes: number of images of each part, >= 0; what is left over belongs to no part.
        seed: of the draw.

    Returns:
        One sorted int64 tensor of positions for each size.

    Raises:
        DataError: the parts need more images than there are, or a part is not empty and yet smaller than the number
            of strata.

    Source: the counts are a controlled rounding of the proportional ones (Cox, A constructive procedure for unbiased
    controlled rounding, JASA 1987), found by filling row after row as in Ryser's construction of 0-1 matrices.

    Example:
        >>> part, = stratified_indices(torch.tensor([0, 0, 0, 0, 1, 1]), [3], seed=0)
        >>> torch.tensor([0, 0, 0, 0, 1, 1])[part]
        tensor([0, 0, 1])
    """
    _, classes = strata.unique(return_inverse=True)
    counts = classes.bincount()
    rest = _count_rest(counts, sizes)
    if not len(strata):
        return [torch.empty(0, dtype=torch.int64) for _ in sizes]
    bounds = _round_controlled(torch.tensor([*sizes, rest]), counts).cumsum(0)
    shuffled = torch.randperm(len(strata), generator=named_generator(seed, "stratified"))
    ordered = shuffled[classes[shuffled].argsort(stable=True)]
    place_in_class = torch.arange(len(strata)) - (counts.cumsum(0) - counts)[classes[ordered]]
    part = (place_in_class.unsqueeze(0) >= bounds[:, classes[ordered]]).sum(0)
    return [ordered[part == k].sort().values for k in range(len(sizes))]


def _count_rest(counts: Int[Tensor, " classes"], sizes: Sequence[int]) -> int:
    """Return how many images are in no part, having refused parts that are too large or too small."""
    total = int(counts.sum())
    for size in sizes:
        if size < 0 or 0 < size < len(counts):
            raise DataError(
                f"parts of at least {len(counts)} images, one per class",
                f"a part of {size} out of {total} images",
                "raise the fraction or number asked for",
            )
    rest = total - sum(sizes)
    if rest < 0:
        raise DataError(
            f"parts of at most {total} images together",
            f"{sum(sizes)} asked for ({' + '.join(map(str, sizes))})",
            "give more images, or ask for fewer",
        )
    return rest


def draw_units(
    strata: Int[Tensor, " n"], units: Int[Tensor, " n"], sizes: Sequence[int], *, seed: int
) -> list[Int[Tensor, " part"]]:
    """Draw disjoint parts of about given sizes and the proportions of the whole, none of which divides a unit.

    Large units come first, in a random order among equals. Each goes to one of the parts that still lack all of its
    images, with a probability in proportion to what they lack of these; where it fits nowhere, to the part that it
    exceeds the least. The last units go to parts that have none yet. Sizes and proportions are kept where small units
    fill what large ones leave, and else as well as whole units allow.

    Args:
        strata: shape ``(n,)``; int64 number of each image, such as its class.
        units: shape ``(n,)``; the number of every image's unit.
        sizes: number of images of each part, >= 0; what is left over belongs to no part.
        seed: of the draw.

    Returns:
        One sorted int64 tensor of positions for each size.

    Raises:
        DataError: the parts need more images than there are, or a part is not empty and yet smaller than the number
            of strata.
    """
    _, classes = strata.unique(return_inverse=True)
    totals = classes.bincount()
    wanted = torch.tensor([*sizes, _count_rest(totals, sizes)])
    lacking = _round_controlled(wanted, totals).double().numpy()
    _, numbers = units.unique(return_inverse=True)
    num_units = int(numbers.max()) + 1
    counts = (numbers * len(totals) + classes).bincount(minlength=num_units * len(totals)).view(num_units, -1).double()
    generator = named_generator(seed, "units")
    shuffled = torch.randperm(num_units, generator=generator)
    order = shuffled[counts[shuffled].sum(1).argsort(descending=True, stable=True)]
    luck = torch.rand(num_units, generator=generator, dtype=torch.float64).tolist()
    part_of = torch.zeros(num_units, dtype=torch.int64)
    is_wanted = (wanted > 0).numpy()
    is_empty = is_wanted.copy()
    for done, unit in enumerate(order.tolist()):  # each depends on those before it
        is_open = is_empty if num_units - done <= is_empty.sum() else is_wanted
        own = counts[unit].numpy()
        chosen = _choose_part(own, lacking, is_open, luck[done])
        part_of[unit] = chosen
        lacking[chosen] -= own
        is_empty[chosen] = False
    part = part_of[numbers]
    return [(part == number).nonzero().flatten() for number in range(len(sizes))]


def _choose_part(
    unit: Float[np.ndarray, " classes"],
    lacking: Float[np.ndarray, "parts classes"],
    is_open: Bool[np.ndarray, " parts"],
    luck: float,
) -> int:
    """Return the part that a unit goes to, given what each part lacks of each class, and a number in [0, 1)."""
    exceeds = np.maximum(unit - lacking, 0).sum(1)
    fits = is_open & (exceeds == 0)
    if not fits.any():
        return int(np.where(is_open, exceeds, np.inf).argmin())
    # A unit of several classes goes where they lack the most, each class counted by its part of the unit.
    left = np.maximum(lacking, 0)
    ends = np.where(fits, (left / np.maximum(left.sum(0), 1)) @ unit, 0.0).cumsum()
    return int(np.searchsorted(ends, luck * ends[-1], side="right"))


def _round_controlled(sizes: Int[Tensor, " parts"], counts: Int[Tensor, " classes"]) -> Int[Tensor, "parts classes"]:
    """Round ``sizes * counts / n`` to whole numbers that keep both margins, each moved by at most one."""
    exact = sizes.unsqueeze(1) * counts.unsqueeze(0)
    total = int(counts.sum())
    rounded, fraction = exact // total, exact % total
    missing = counts - rounded.sum(0)
    for k, size in enumerate(sizes.tolist()):
        shortfall = size - int(rounded[k].sum())
        chosen = (missing * total + fraction[k]).argsort(descending=True, stable=True)[:shortfall]
        rounded[k, chosen] += 1
        missing[chosen] -= 1
    return rounded


def cut_source(
    source: AbstractSource, sizes: Sequence[int], names: Sequence[str], *, seed: int, task: type[AbstractTask]
) -> list[AbstractSource]:
    """Cut a source into stratified parts of which no two share a copy of an image, or a block.

    Args:
        source: what to cut.
        sizes: number of images of each part; the rest is left out.
        names: name of each part.
        seed: of the draw.
        task: says what proportions every part keeps.

    Raises:
        DataError: the source is too small for the parts, or has too few images that differ, or blocks.
    """
    parts = cut_positions(source, sizes, seed=seed, task=task)
    return [source.subset(part, name) for part, name in zip(parts, names, strict=True)]


def cut_positions(
    source: AbstractSource, sizes: Sequence[int], *, seed: int, task: type[AbstractTask]
) -> list[Int[Tensor, " part"]]:
    """Return where the parts of :func:`cut_source` are in the source: sorted int64 positions of each.

    Without blocks they are those of :func:`stratified_positions`, but for copies that these divide.
    """
    strata, blocks = _number_strata(source, task), number_blocks(source)
    if len(blocks.unique()) < len(source):
        parts = draw_units(strata, number_units(source), sizes, seed=seed)
    else:
        drawn = stratified_indices(strata, sizes, seed=seed)
        parts = join_copies(drawn, number_copies(source), strata, seed=seed)
    for part, size in zip(parts, sizes, strict=True):
        if size and not len(part):
            units = len(number_units(source).unique())
            what = f"blocks of '{source.blocks}'" if source.blocks else "different images"
            fix = "give more, or give validation and test images by --data.val and --data.test"
            raise DataError(f"enough {what} for every split", f"{units} in '{source.name}'", fix)
    return parts


def stratified_parts(
    source: AbstractSource,
    sizes: Sequence[int],
    names: Sequence[str],
    *,
    seed: int,
    task: type[AbstractTask],
) -> list[AbstractSource]:
    """Draw parts of a source with :func:`stratified_indices`, by whatever the task stratifies by.

    Images are drawn one by one, whatever belongs together; for splits that must not share any, see :func:`cut_source`,
    which takes the same.

    Raises:
        DataError: the source is too small for the parts.
    """
    parts = stratified_positions(source, sizes, seed=seed, task=task)
    return [source.subset(part, name) for part, name in zip(parts, names, strict=True)]


def stratified_positions(
    source: AbstractSource, sizes: Sequence[int], *, seed: int, task: type[AbstractTask]
) -> list[Int[Tensor, " part"]]:
    """Return where the parts of :func:`stratified_parts` are in the source: sorted int64 positions of each."""
    return stratified_indices(_number_strata(source, task), sizes, seed=seed)


def _number_strata(source: AbstractSource, task: type[AbstractTask]) -> Int[Tensor, " n"]:
    """Return the number of the stratum of every image."""
    strata = task.strata(source)
    return torch.zeros(len(source), dtype=torch.int64) if strata is None else strata.values


def subsample(source: AbstractSource, num_images: int | None, *, seed: int, task: type[AbstractTask]) -> AbstractSource:
    """Return a stratified subsample under the same name; ``None`` and the full number return the source itself.

    Every builder of splits calls this on its training images with ``DataConfig.num_train`` (or, where that is
    ``None``, its own number) before it returns them, so that the number is applied exactly once.

    Args:
        source: training images.
        num_images: how many to keep.
        seed: of the draw.
        task: says what proportions are kept.

    Raises:
        DataError: more images are asked for than there are, or fewer than classes.
    """
    if num_images is None or num_images == len(source):
        return source
    if num_images > len(source):
        expected = f"at most {len(source)} training images from '{source.name}'"
        raise DataError(expected, f"data.num-train {num_images}", "ask for fewer, or leave the option out")
    return stratified_parts(source, [num_images], [source.name], seed=seed, task=task)[0]
