"""Orders in which a pass goes through the images of a split, each a function of targets, seed and number of the pass."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import ConfigError
from auxo.random import named_generator

__all__ = ["AbstractOrder", "Balanced", "Shuffled", "Stratified"]

_DRAWS = 1024


class AbstractOrder(ABC):
    """An order of the images of a split. Subclasses are frozen dataclasses of plain values.

    Nothing but the arguments may decide the positions: training then resumes at any step without replaying the ones
    before it, and every number of processes sees the same joined batches.
    """

    @abstractmethod
    def positions(self, targets: Mapping[str, Int[Tensor, " images"]], seed: int, number: int) -> Int[Tensor, " n"]:
        """Return which images a pass shows, in order.

        Args:
            targets: the columns of all images of the split by name, ``label`` always among them; those that are hidden
                are -1 throughout.
            seed: of the order.
            number: of the pass, counted from 0.

        Returns:
            int64 on the CPU, each in ``0..images-1``; as many as :meth:`length` says.

        Raises:
            ConfigError: a column is missing or hidden.
        """

    def length(self, targets: Mapping[str, Int[Tensor, " images"]]) -> int:
        """Return how many images a pass shows, the same in every pass; by default as many as there are.

        Raises:
            ConfigError: a column is missing or hidden.
        """
        return _count(targets)

    def fit_batches(self, size: int) -> "AbstractOrder":
        """Return the order for joined batches of so many images; by default the order itself."""
        del size
        return self


@dataclass(frozen=True)
class Shuffled(AbstractOrder):
    """Every image once in a pass, shuffled anew.

    Example:
        >>> Shuffled().positions({"label": torch.tensor([0, 0, 1, 1])}, seed=0, number=0).sort().values
        tensor([0, 1, 2, 3])
    """

    def positions(self, targets: Mapping[str, Int[Tensor, " images"]], seed: int, number: int) -> Int[Tensor, " n"]:
        """See :meth:`AbstractOrder.positions`."""
        return torch.randperm(_count(targets), generator=named_generator(seed, "order", number))


@dataclass(frozen=True)
class Stratified(AbstractOrder):
    """Every image once in a pass, so that every batch has the proportions of the whole set.

    A batch of B of the N images has, of a kind with n images, B n / N to within one; so has the last of a pass, which
    may have fewer. Which batches have the image more is drawn anew in every pass, as is the order within a batch.

    The images are sorted by kind, shuffled within each, and dealt out like cards, so that two batches differ by one
    image of a kind at most. The last, if it is not full, is taken out before that at equal distances: a systematic
    sample (Madow & Madow, Annals of Mathematical Statistics 15, 1944). That every run of images, wherever it begins,
    has the proportions to within one is impossible for three kinds or more in general.

    Args:
        by: name of a column, or of several, whose combinations are the kinds then.
        batch_size: images of a batch, >= 1; ``None`` leaves it to who makes the batches, see :meth:`fit_batches`.

    Raises:
        ConfigError: no column is named, or a batch has no image.

    Example:
        >>> targets = {"label": torch.tensor([0, 0, 0, 0, 1, 1])}
        >>> positions = Stratified(batch_size=3).positions(targets, seed=0, number=0)
        >>> targets["label"][positions].view(2, 3).sum(1)
        tensor([1, 1])
    """

    by: str | tuple[str, ...] = "label"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        _check_names(self.by, "Stratified")
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError("Stratified(batch_size) >= 1", str(self.batch_size), "give the size of a batch")

    def positions(self, targets: Mapping[str, Int[Tensor, " images"]], seed: int, number: int) -> Int[Tensor, " n"]:
        """See :meth:`AbstractOrder.positions`.

        Raises:
            ConfigError: a column is missing or hidden, or the size of a batch is not known.
        """
        if self.batch_size is None:
            raise ConfigError("a batch size for a stratified order", "none", "give Stratified(batch_size=N)")
        kinds = _number_cells(targets, self.by)
        generator = named_generator(seed, "order", number)
        count, size = len(kinds), min(self.batch_size, len(kinds))
        # Kinds in an order of chance: with a fixed one, two rare ones might never meet in a batch.
        ranks = torch.randperm(int(kinds.max()) + 1, generator=generator) if count else kinds
        shuffled = torch.randperm(count, generator=generator)
        ordered = shuffled[ranks[kinds[shuffled]].argsort(stable=True)]
        num_full, num_last = divmod(count, max(size, 1))
        start = torch.randint(max(count, 1), (1,), generator=generator)
        places = (torch.arange(num_last) * count + start) // max(num_last, 1)
        is_last = torch.zeros(count, dtype=torch.bool)
        is_last[places] = True
        dealt = ordered[~is_last].view(size, num_full).T[torch.randperm(num_full, generator=generator)]
        within = torch.rand(dealt.shape, generator=generator, dtype=torch.float64).argsort(1, stable=True)
        last = ordered[is_last][torch.randperm(num_last, generator=generator)]
        return torch.cat([dealt.gather(1, within).flatten(), last])

    def length(self, targets: Mapping[str, Int[Tensor, " images"]]) -> int:
        """See :meth:`AbstractOrder.length`."""
        _read_columns(targets, self.by)
        return _count(targets)

    def fit_batches(self, size: int) -> "Stratified":
        """Return the order for batches of this size, unless it has one of its own."""
        return self if self.batch_size is not None else replace(self, batch_size=size)


@dataclass(frozen=True)
class Balanced(AbstractOrder):
    """Every group of images equally often, however many images it has.

    The groups take turns, in an order that is drawn once: so any run of images, a batch for one, has as many of each
    group as of any other to within one, also across the end of a pass. Within a group its images are gone through in a
    shuffled order, then in another, and so on over all passes: none is shown again before all others of its group have
    been. A pass therefore leaves images of large groups out and repeats those of small ones.

    Args:
        by: name of a column, or of several, whose combinations are the groups then. Combinations that no image has are
            left out.
        num_images: images of a pass, >= 1; ``None`` means as many as there are.

    Raises:
        ConfigError: no column is named, or a pass has no image.

    Example:
        >>> targets = {"label": torch.tensor([0, 0, 0, 0, 0, 1])}
        >>> positions = Balanced().positions(targets, seed=0, number=0)
        >>> targets["label"][positions].bincount()
        tensor([3, 3])
    """

    by: str | tuple[str, ...] = "label"
    num_images: int | None = None

    def __post_init__(self) -> None:
        _check_names(self.by, "Balanced")
        if self.num_images is not None and self.num_images < 1:
            raise ConfigError("Balanced(num_images) >= 1", str(self.num_images), "ask for one image or more")

    def positions(self, targets: Mapping[str, Int[Tensor, " images"]], seed: int, number: int) -> Int[Tensor, " n"]:
        """See :meth:`AbstractOrder.positions`."""
        groups, length = _number_cells(targets, self.by), self.length(targets)
        if not length:
            return torch.empty(0, dtype=torch.int64)
        counts = groups.bincount()
        members = groups.argsort(stable=True).split(counts.tolist())
        turns = torch.randperm(len(counts), generator=named_generator(seed, "order", "turns"))
        # All passes are one endless series, so that neither turns nor shuffles begin anew with a pass.
        begin, end = number * length, (number + 1) * length
        positions = torch.empty(length, dtype=torch.int64)
        for turn, group in enumerate(turns.tolist()):
            first, stop = (-(-(place - turn) // len(counts)) for place in (begin, end))
            own = _go_through(len(members[group]), first, stop, seed=seed, group=group)
            positions[first * len(counts) + turn - begin :: len(counts)] = members[group][own]
        return positions

    def length(self, targets: Mapping[str, Int[Tensor, " images"]]) -> int:
        """See :meth:`AbstractOrder.length`."""
        _read_columns(targets, self.by)
        count = _count(targets)
        return count if self.num_images is None or not count else self.num_images


def _go_through(count: int, first: int, stop: int, *, seed: int, group: int) -> Int[Tensor, " n"]:
    """Return the draws ``first`` to ``stop - 1`` of an endless series: all of ``count`` in one order, then another.

    A block of many short orders is drawn at once, because a generator of its own for each would be slow.
    """
    orders = max(1, _DRAWS // count)
    size = orders * count
    blocks = []
    for block in range(first // size, -(-stop // size)):
        generator = named_generator(seed, "order", "group", group, block)
        blocks.append(torch.rand(orders, count, generator=generator, dtype=torch.float64).argsort(1, stable=True))
    series = torch.cat([block.flatten() for block in blocks]) if blocks else torch.empty(0, dtype=torch.int64)
    return series[first - first // size * size :][: stop - first]


def _count(targets: Mapping[str, Int[Tensor, " images"]]) -> int:
    """Return the number of images."""
    return len(next(iter(targets.values())))


def _check_names(by: str | tuple[str, ...], order: str) -> None:
    """Refuse an order that names no column."""
    if not by:
        raise ConfigError(f"the name of a column for {order}", repr(by), 'give one, such as "label"')


def _read_columns(targets: Mapping[str, Int[Tensor, " images"]], by: str | tuple[str, ...]) -> Sequence[Tensor]:
    """Return the columns of these names."""
    names = (by,) if isinstance(by, str) else by
    shown = {name: values for name, values in targets.items() if not (values < 0).any()}
    missing = [name for name in names if name not in shown]
    if missing:
        got = "hidden" if missing[0] in targets else "none"
        known = f"use one of {', '.join(shown)}" if shown else "no column is shown here: use another order or split"
        fix = f"{known}, or name it in --data.columns" if got == "none" else known
        raise ConfigError(f"a column {missing[0]!r} to order images by", got, fix)
    return [shown[name] for name in names]


def _number_cells(targets: Mapping[str, Int[Tensor, " images"]], by: str | tuple[str, ...]) -> Int[Tensor, " images"]:
    """Return the number of the combination of values that each image has, of those that occur."""
    first, *others = _read_columns(targets, by)
    cells = first.unique(return_inverse=True)[1]
    for values in others:
        cells = (cells * (int(values.max()) + 1) + values).unique(return_inverse=True)[1] if len(cells) else cells
    return cells
