"""Images that belong together: copies of one image, and images of one block, such as the frames of a video."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from auxo.data.config import Unknown
from auxo.data.readers.kept import LEAVE_OUT, KeptImages
from auxo.data.sources import AbstractSource
from auxo.errors import DataError
from auxo.random import named_generator

_NOWHERE = -1  # the part of an image that is in none


def number_copies(source: AbstractSource) -> Int[Tensor, " n"]:
    """Return the number of every image, which its copies share; copies have equal content, whatever they are called.

    Cost: the images are hashed, if that was not done before.
    """
    return _number_values(source.content_hashes())


def number_blocks(source: AbstractSource) -> Int[Tensor, " n"]:
    """Return the number of every image's block; the images of a source without blocks have their own."""
    column = source.columns.get(source.blocks)
    if column is None or not column.names:
        return torch.arange(len(source))
    return column.values  # a column with names has a value for every image


def number_units(source: AbstractSource) -> Int[Tensor, " n"]:
    """Return the number of every image's unit, which no cut divides: images of one block, and copies of one image.

    What is linked by a copy is one unit: two blocks that share an image belong together.
    """
    blocks: Tensor = number_blocks(source).unique(return_inverse=True)[1]
    copies = number_copies(source)
    if int(copies.max()) + 1 == len(source):
        return blocks
    from scipy.sparse import coo_array  # takes a while to import
    from scipy.sparse.csgraph import connected_components

    count = int(blocks.max()) + 1
    size = count + int(copies.max()) + 1
    links = coo_array((np.ones(len(source)), (blocks.numpy(), count + copies.numpy())), shape=(size, size))
    labels = torch.from_numpy(connected_components(links, directed=False)[1].astype(np.int64))
    return labels[blocks]


def settle_copies(source: AbstractSource, targets: Sequence[str], *, unknown: Unknown) -> AbstractSource:
    """Return a source in which copies of one image say the same, with a note on how many copies there are.

    Args:
        source: images with targets.
        targets: names of those that must agree.
        unknown: what to do with an image whose copies disagree: "refuse", or leave all of them out ("ignore").

    Raises:
        DataError: the same image has two different values of a target; the message names both places.
    """
    copies = number_copies(source)
    groups = _list_groups(copies)
    if not groups:
        return source
    is_disputed = torch.zeros(len(source), dtype=torch.bool)
    other: dict[int, tuple[int, str]] = {}
    for group in groups:
        found = source.fetch_targets(group)
        for name in targets:
            values = found[name].reshape(len(group), -1)
            differs = (values != values[0]).any(1).nonzero().flatten()
            if len(differs):
                is_disputed[group] = True
                other[int(group[0])] = int(group[differs[0]]), name
                break

    def refuse(place: int) -> DataError:
        return _refuse_dispute(source, place, *other[place])

    kept = KeptImages(source.name, len(source), unknown=unknown)
    kept.drop(is_disputed, "that have copies with another target", refuse)
    settled = source
    if kept.notes():
        settled = source.subset(kept.places(), source.name)
        groups = _list_groups(copies[kept.places()])
    settled.notes = (*settled.notes, *kept.notes(), *_note_copies(source.name, groups))
    return settled


def join_copies(
    parts: Sequence[Int[Tensor, " _"]], copies: Int[Tensor, " n"], strata: Int[Tensor, " n"], *, seed: int
) -> list[Int[Tensor, " _"]]:
    """Return parts of which no two have copies of one image, and that differ from those given in as little as may be.

    All copies go where most of them are, of equals to the largest part. For each that comes, another image of its
    stratum, one without copies, goes the other way where there is one: sizes and proportions then stay. Where no two
    parts have copies of one image, the parts are those given.

    Args:
        parts: positions of each part, sorted.
        copies: shape ``(n,)``; the number of every image, which its copies share.
        strata: shape ``(n,)``; the stratum of every image.
        seed: decides which images go the other way.
    """
    part_of = torch.full((len(copies),), _NOWHERE)
    for number, part in enumerate(parts):
        part_of[part] = number
    groups = [group for group in _list_groups(copies) if len(set(part_of[group].tolist()) - {_NOWHERE}) > 1]
    if not groups:
        return list(parts)
    spare = _list_spare(part_of, _is_single(copies), strata, seed=seed)
    for group in groups:
        found = [number for number in part_of[group].tolist() if number != _NOWHERE]
        chosen = max(set(found), key=lambda number: (found.count(number), len(parts[number]), -number))
        for place in group.tolist():
            left = int(part_of[place])
            if left in (_NOWHERE, chosen):
                continue
            part_of[place] = chosen
            partners = spare.get((chosen, int(strata[place])))
            if partners:
                part_of[partners.pop()] = left
    return [(part_of == number).nonzero().flatten() for number in range(len(parts))]


def put_copies_last(order: Int[Tensor, " n"], copies: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Return positions in their order, but for copies of an image that stands before them: those come at the end.

    Args:
        order: shape ``(n,)``; positions of all images.
        copies: shape ``(n,)``; the number of every image, which its copies share.

    Example:
        >>> put_copies_last(torch.tensor([2, 0, 1]), torch.tensor([5, 6, 5]))
        tensor([2, 1, 0])
    """
    _, inverse = copies[order].unique(return_inverse=True)
    first = torch.full((len(order),), len(order)).scatter_reduce(0, inverse, torch.arange(len(order)), "amin")
    is_later = first[inverse] != torch.arange(len(order))
    return order[is_later.long().argsort(stable=True)]


def _list_spare(
    part_of: Int[Tensor, " n"], is_single: Bool[Tensor, " n"], strata: Int[Tensor, " n"], *, seed: int
) -> dict[tuple[int, int], list[int]]:
    """Return the images without copies of each part and stratum, in a random order."""
    spare: dict[tuple[int, int], list[int]] = {}
    for place in torch.randperm(len(part_of), generator=named_generator(seed, "copies")).tolist():
        if is_single[place]:
            spare.setdefault((int(part_of[place]), int(strata[place])), []).append(place)
    return spare


def _number_values(values: Sequence[str]) -> Int[Tensor, " n"]:
    """Return the number of every value, counted in the order in which they first come."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(value, len(numbers)) for value in values], dtype=torch.int64)


def _is_single(numbers: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Return which images have a number that no other has."""
    _, inverse, counts = numbers.unique(return_inverse=True, return_counts=True)
    is_single: Tensor = counts[inverse] == 1
    return is_single


def _list_groups(numbers: Int[Tensor, " n"]) -> list[Int[Tensor, " _"]]:
    """Return the positions of each number that several images have, each sorted, by their first ones."""
    places = (~_is_single(numbers)).nonzero().flatten()
    if not len(places):
        return []
    _, inverse, counts = numbers[places].unique(return_inverse=True, return_counts=True)
    groups = places[inverse.argsort(stable=True)].split(counts.tolist())
    return sorted(groups, key=lambda group: int(group[0]))


def _refuse_dispute(source: AbstractSource, place: int, other: int, name: str) -> DataError:
    """Return the error for an image that has two values of a target."""
    got = f"another of {source.describe(place)} than of {source.describe(other)}, which are the same image"
    if name in source.columns:
        names, values = source.columns[name].names, source.columns[name].values
        one, two = (names[int(values[each])] for each in (place, other))
        got = f"'{one}' of {source.describe(place)} and '{two}' of {source.describe(other)}, which are the same image"
    return DataError(f"one {name} of every image", got, f"correct one of them, remove both, or {LEAVE_OUT}")


def _note_copies(name: str, groups: Sequence[Int[Tensor, " _"]]) -> tuple[str, ...]:
    """Return a sentence on the copies of a source, if there are any."""
    if not groups:
        return ()
    copies, images = sum(len(group) - 1 for group in groups), len(groups)
    many = f"{copies} copies" if copies > 1 else "1 copy"
    verb = "stay" if copies > 1 else "stays"
    of = f"{images} images" if images > 1 else "1 image"
    return (f"{many} of {of} of '{name}' {verb} in the split of the image",)
