"""Orders: which images a pass over a split shows, and one after another in what order."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import ConfigError
from auxo.interfaces import AbstractOrder
from auxo.random import derive_seed, named_generator

_DRAWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Shuffled(AbstractOrder):
    """Every image once in a pass, shuffled anew."""

    def length(self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int) -> int:
        """See :meth:`auxo.interfaces.AbstractOrder.length`."""
        del targets
        return count

    def positions(
        self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int, seed: int, number: int
    ) -> Int[Tensor, " length"]:
        """See :meth:`auxo.interfaces.AbstractOrder.positions`."""
        del targets
        return torch.randperm(count, generator=named_generator(seed, "order", number))


@dataclass(frozen=True)
class Stratified(AbstractOrder):
    """Every image once in a pass, so that every batch has the proportions of the whole.

    However many images of a pass have been shown, each value's number among them is less than one image off its share
    of the whole. In any run of consecutive images, such as a batch, it is therefore less than two off, and less than
    one where all values are equally frequent. Less than one in every run is impossible for most frequencies of three
    or more values.

    Args:
        by: the column.

    Source: a value's next image becomes ready and is due at the times of Baruah et al., Proportionate progress: a
    notion of fairness in resource allocation, Algorithmica 1996; the image that is due first is shown first.
    """

    by: str = "label"

    def length(self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int) -> int:
        """See :meth:`auxo.interfaces.AbstractOrder.length`."""
        _find_column(targets, self.by)
        return count

    def positions(
        self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int, seed: int, number: int
    ) -> Int[Tensor, " length"]:
        """See :meth:`auxo.interfaces.AbstractOrder.positions`."""
        generator = named_generator(seed, "stratified order", number)
        shuffled = torch.randperm(count, generator=generator)
        _, kinds, sizes = _find_column(targets, self.by).unique(return_inverse=True, return_counts=True)
        by_kind = shuffled[kinds[shuffled].argsort(stable=True)]
        ranks = torch.randperm(len(sizes), generator=generator)
        turns = torch.tensor(_take_turns(sizes.tolist(), ranks.tolist()), dtype=torch.int64)
        positions = torch.empty_like(by_kind)
        positions[turns.argsort(stable=True)] = by_kind
        return positions


@dataclass(frozen=True)
class Balanced(AbstractOrder):
    """The cells that one or several columns cut the images into, equally often, rare ones by repeating their images.

    A pass shows as many images as the split has, and every cell that has images equally often to within one. The cells
    come in rounds, each in a new order, so batches are balanced, too. The images of a cell are gone through in shuffled
    order again and again, from one pass to the next: none is shown once more before all others were shown as often.

    Args:
        by: the columns, or the only one; a cell has one value of each.

    Raises:
        ConfigError: no column is named.
    """

    by: str | tuple[str, ...] = ("label",)

    def __post_init__(self) -> None:
        if isinstance(self.by, str):
            object.__setattr__(self, "by", (self.by,))
        if not self.by:
            raise ConfigError("at least one column to balance by", "none", "name one, such as Balanced('label')")

    def length(self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int) -> int:
        """See :meth:`auxo.interfaces.AbstractOrder.length`."""
        for name in self.by:
            _find_column(targets, name)
        return count

    def positions(
        self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int, seed: int, number: int
    ) -> Int[Tensor, " length"]:
        """See :meth:`auxo.interfaces.AbstractOrder.positions`."""
        values = torch.stack([_find_column(targets, name) for name in self.by], dim=1)
        _, cells, sizes = values.unique(dim=0, return_inverse=True, return_counts=True)
        rounds, rest = divmod(count, len(sizes))
        generator = named_generator(seed, "balanced order", number)
        turns = torch.rand(rounds, len(sizes), generator=generator).argsort(1).flatten()
        # The cells of the last round, which is not full, go on in the next pass where they stopped in this one.
        last = (number * rest + torch.randperm(rest, generator=generator)) % len(sizes)
        turns = torch.cat([turns, last])
        shown = []
        for cell, members in enumerate(cells.argsort(stable=True).split(sizes.tolist())):
            start, stop = (each * rounds + -((cell - each * rest) // len(sizes)) for each in (number, number + 1))
            shown.append(members[_repeat_shuffled(len(members), start, stop, seed=derive_seed(seed, "cell", cell))])
        positions = torch.empty(count, dtype=torch.int64)
        positions[turns.argsort(stable=True)] = torch.cat(shown)
        return positions


def _find_column(targets: Mapping[str, Int[Tensor, " n"]], name: str) -> Int[Tensor, " n"]:
    """Return a column, or refuse to go by one that is not there."""
    if name not in targets:
        got = f"{name!r} where " + (f"there are {', '.join(targets)}" if targets else "none is known")
        raise ConfigError("a known column to order images by", got, "name another, or give the data this column")
    return targets[name]


def _take_turns(sizes: list[int], ranks: list[int]) -> list[int]:
    """Return which kind each of ``sum(sizes)`` turns is, so that every beginning has every kind's share.

    Args:
        sizes: turns of each kind, >= 1.
        ranks: of each kind, decide where two are due at the same time.
    """
    count = sum(sizes)
    coming = [(0, kind, 0) for kind in range(len(sizes))]  # (turns after which it is ready, kind, place in its kind)
    ready: list[tuple[int, int, int, int]] = []  # (turns within which it is due, rank, kind, place in its kind)
    turns = []
    for turn in range(count):
        while coming and coming[0][0] <= turn:
            _, kind, place = heapq.heappop(coming)
            due = -(-(place + 1) * count // sizes[kind])
            heapq.heappush(ready, (due, ranks[kind], kind, place))
        _, _, kind, place = heapq.heappop(ready)
        turns.append(kind)
        if place + 1 < sizes[kind]:
            heapq.heappush(coming, ((place + 1) * count // sizes[kind], kind, place + 1))
    return turns


def _repeat_shuffled(size: int, start: int, stop: int, *, seed: int) -> Int[Tensor, " draws"]:
    """Return the draws ``start`` to ``stop - 1`` of endless rounds over ``size`` items, each round shuffled anew."""
    # Several rounds have one generator: a cell of one image among a million would need half a million of them.
    span = size * max(1, _DRAWS_AT_ONCE // size)
    first, last = start // span, -(-stop // span)
    blocks = [
        torch.rand(span // size, size, dtype=torch.float64, generator=named_generator(seed, block)).argsort(1).flatten()
        for block in range(first, last)
    ]
    drawn = torch.cat(blocks) if blocks else torch.empty(0, dtype=torch.int64)
    return drawn[start - first * span : stop - first * span]
