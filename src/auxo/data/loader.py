"""Batches of a source in an order that is a function of seed and number alone, shared out among processes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from auxo.data.fetching import Fetched, Fetcher
from auxo.data.orders import Shuffled
from auxo.data.sources import AbstractSource, ContentHashes, InMemorySource, PlaceMap, hidden_map
from auxo.data.streaming import StreamingSource
from auxo.errors import ConfigError
from auxo.interfaces import AbstractOrder
from auxo.runtime import naming_memory
from auxo.types import Batch

_CHUNK = 256


class Loader:
    """Joined batches, pass after pass over the source; each process gets a contiguous part of every batch.

    What pass ``e`` shows depends on the order, ``seed`` and ``e`` only, so training resumes at any step without
    replaying the ones before it, and every number of processes sees the same joined batches.

    Args:
        source: where the images come from.
        batch_size: images of a joined batch, over all processes; the last of an epoch may have fewer.
        seed: of the order.
        rank: this process's number, in ``0..num_processes-1``.
        num_processes: how many processes share every batch; the parts differ by one image at most.
        drop_last: leave a last batch that is not full out of every epoch.
        workers: processes that decode a streaming source, >= 0; they live as long as the loader.
        pin_memory: put images in page-locked memory, from which copies to a GPU do not block.
        order: what a pass shows; ``None`` means every image once, shuffled anew. An epoch is a pass.
        images: whether batches have images; else theirs are of the shape ``(n, 0, 0, 0)``, and nothing is decoded.
        hidden: targets that neither the order nor the batches are to know, by name, each with the value that batches
            have in place of all of theirs.

    Raises:
        ConfigError: an epoch would have no batch, a batch fewer images than there are processes, or the order goes by
            a column that is hidden or not there.
    """

    def __init__(
        self,
        source: AbstractSource,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
        drop_last: bool = False,
        workers: int = 0,
        pin_memory: bool = False,
        order: AbstractOrder | None = None,
        images: bool = True,
        hidden: Mapping[str, int] | None = None,
    ) -> None:
        self.source = source
        self._hidden = dict(hidden or {})
        # A column without names is hidden in the source itself.
        columns = {
            name: each.values for name, each in source.columns.items() if each.names and name not in self._hidden
        }
        passes = _Passes(order or Shuffled(), columns, len(source), seed)
        self._schedule = _Schedule(passes, passes.length, batch_size, rank, num_processes, drop_last)
        self._schedule.check(source.name)
        self._fetcher: Fetcher | None = None
        if images:
            self._fetcher = Fetcher(source, workers=workers, pin_memory=pin_memory, is_persistent=True)

    @property
    def steps_per_epoch(self) -> int:
        """Number of joined batches in one epoch."""
        return self._schedule.steps_per_epoch

    @property
    def smallest_part(self) -> int:
        """Images that a process has at least of a joined batch."""
        return self._schedule.smallest_part

    def batches(self, numbers: Iterable[int]) -> Iterator[Batch]:
        """Yield this process's part of the joined batches of these numbers.

        Close one iterator before the next is started: they share the workers.

        Args:
            numbers: counted from 0 over all epochs; gone through twice, so no iterator.

        Raises:
            ConfigError: the order gives positions that the source does not have.
            DataError: an image is damaged or of another size, or a worker died.
        """
        parts = self._schedule.parts
        fetch = self._leave_out if self._fetcher is None else self._fetcher.fetch
        fetched = fetch(part.indices for part in parts(numbers))
        for part, found in zip(parts(numbers), fetched, strict=True):
            yield Batch(
                images=found.images,
                targets=self._hide_targets(found.targets),
                indices=part.indices,
                first=part.first,
                total=part.total,
                num_processes=self._schedule.num_processes,
            )

    def _leave_out(self, parts: Iterable[Int[Tensor, " _"]]) -> Iterator[Fetched]:
        """Yield images without pixels, and the targets, for each part in turn."""
        for indices in parts:
            yield Fetched(torch.empty((len(indices), 0, 0, 0), dtype=torch.uint8), self.source.fetch_targets(indices))

    def _hide_targets(self, targets: dict[str, Shaped[Tensor, "n ..."]]) -> dict[str, Shaped[Tensor, "n ..."]]:
        """Return targets of which some say nothing."""
        own = {name: value for name, value in self._hidden.items() if name in targets}
        return {**targets, **{name: torch.full_like(targets[name], value) for name, value in own.items()}}


def ordered_batches(
    source: AbstractSource,
    *,
    batch_size: int,
    rank: int = 0,
    num_processes: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yield one process's contiguous share of all images, once and in order, as batches of its own.

    Shares differ by one image at most and are empty where there are fewer images than processes.

    Args:
        source: where the images come from.
        batch_size: images of a batch of this process; the last may have fewer.
        rank: this process's number.
        num_processes: how many processes share the images.
        workers: see :class:`Loader`; they live as long as the iterator.
        pin_memory: see :class:`Loader`.

    Raises:
        DataError: an image is damaged or of another size, or a worker died.
    """
    share = torch.arange(len(source)).tensor_split(num_processes)[rank]
    parts = share.split(batch_size) if len(share) else ()
    fetcher = Fetcher(source, workers=workers, pin_memory=pin_memory)
    for indices, found in zip(parts, fetcher.fetch(parts), strict=True):
        yield Batch(images=found.images, targets=found.targets, indices=indices)


def in_memory(source: AbstractSource, *, workers: int = 0) -> InMemorySource:
    """Decode every image once and return the result as a source of the same name, known by what it was decoded from.

    Args:
        source: what to decode; one in memory already is returned as it is.
        workers: processes that decode, >= 0.

    Raises:
        DataError: an image is damaged or of another size, or a worker died.
    """
    if isinstance(source, InMemorySource):
        return source
    with naming_memory(
        f"the pixels of the {len(source):,} images of '{source.name}'", fix="pass --data.storage stream"
    ):
        images = torch.empty((len(source), *source.image_shape), dtype=torch.uint8)
    shown = [name for name in source.places if source.vocabulary[name]]
    values: dict[str, Tensor] = {}
    # A subclass may show other images than it has bytes of: it is asked for their hashes itself.
    is_hashed = type(source) is StreamingSource
    hashes: list[str] = []
    parts = torch.arange(len(source)).split(_CHUNK)
    fetcher = Fetcher(source, workers=workers, has_hashes=is_hashed)
    for indices, fetched in zip(parts, fetcher.fetch(parts), strict=True):
        images[indices] = fetched.images
        hashes += fetched.hashes
        for name in shown:
            part = fetched.targets[name]
            if name not in values:
                values[name] = part.new_empty((len(source), *part.shape[1:]))
            values[name][indices] = part
    maps = {
        name: PlaceMap(values[name], source.vocabulary[name], ignore)
        if name in shown
        else hidden_map((len(source), *source.image_shape[1:]), ignore)
        for name, ignore in source.places.items()
    }
    origins = [source.describe(i) for i in range(len(source))]
    known = ContentHashes(source.hash_kind, tuple(hashes) if is_hashed else source.content_hashes())
    decoded = InMemorySource(source.name, images, source.columns, maps=maps, origins=origins, hashes=known)
    decoded.copy_description(source)
    return decoded


class _Part(NamedTuple):
    """One process's part of a joined batch.

    Args:
        indices: shape ``(n,)``; int64 positions in the source.
        first: position of the first of them in the joined batch.
        total: images of the joined batch.
    """

    indices: Int[Tensor, " n"]
    first: int
    total: int


@dataclass(frozen=True)
class _Passes:
    """The passes over a source.

    Args:
        order: see :class:`Loader`.
        targets: columns that the order may go by.
        count: images of the source.
        seed: see :class:`Loader`.
        kept: the latest passes, because what fetches and what yields batches go through them separately.
    """

    order: AbstractOrder
    targets: Mapping[str, Int[Tensor, " n"]]
    count: int
    seed: int
    kept: dict[int, Int[Tensor, " length"]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Images of a pass."""
        return self.order.length(self.targets, count=self.count)

    def positions(self, number: int) -> Int[Tensor, " length"]:
        """Return what the pass of this number shows."""
        if number not in self.kept:
            positions = self.order.positions(self.targets, count=self.count, seed=self.seed, number=number)
            self._check_positions(positions)
            while len(self.kept) > 1:  # two stay: workers fetch the next pass while batches of this one are yielded
                del self.kept[min(self.kept)]
            self.kept[number] = positions
        return self.kept[number]

    def _check_positions(self, positions: Tensor) -> None:
        """Refuse what is no pass over the source."""
        is_whole = positions.dtype == torch.int64 and positions.shape == (self.length,)
        if not is_whole or bool(((positions < 0) | (positions >= self.count)).any()):
            kind = type(self.order).__name__
            values = f" in {int(positions.min())}..{int(positions.max())}" if positions.numel() else ""
            got = f"{positions.dtype} of shape {tuple(positions.shape)}{values}"
            expected = f"{self.length} int64 positions in 0..{self.count - 1} from the order {kind}"
            raise ConfigError(expected, got, "mend the order")


@dataclass(frozen=True)
class _Schedule:
    """Which images each step takes: numbers only, so that no worker queue is ever part of a reference cycle.

    Args:
        passes: over the source.
        count: images of a pass.
        batch_size: see :class:`Loader`.
        rank: see :class:`Loader`.
        num_processes: see :class:`Loader`.
        drop_last: see :class:`Loader`.
    """

    passes: _Passes
    count: int
    batch_size: int
    rank: int
    num_processes: int
    drop_last: bool

    @property
    def steps_per_epoch(self) -> int:
        """Number of joined batches in one epoch."""
        full, rest = divmod(self.count, self.batch_size)
        return full + int(rest > 0 and not self.drop_last)

    @property
    def smallest_part(self) -> int:
        """Images of the smallest part of a batch."""
        rest = 0 if self.drop_last else self.count % self.batch_size
        return (rest or min(self.batch_size, self.count)) // self.num_processes

    def parts(self, numbers: Iterable[int]) -> Iterator[_Part]:
        """Yield this process's part of each of these joined batches."""
        for number in numbers:
            epoch, place = divmod(number, self.steps_per_epoch)
            joined = self.passes.positions(epoch)[place * self.batch_size :][: self.batch_size]
            parts = joined.tensor_split(self.num_processes)
            first = sum(len(part) for part in parts[: self.rank])
            yield _Part(parts[self.rank], first, len(joined))

    def check(self, name: str) -> None:
        """Refuse epochs without batches and batches that do not reach every process."""
        if self.batch_size < self.num_processes:
            got = f"a batch of {self.batch_size}"
            raise ConfigError(f"batches of at least {self.num_processes} images, one per process", got, "enlarge it")
        if not self.steps_per_epoch:
            got = f"{self.count} in '{name}'"
            raise ConfigError(
                f"at least {self.batch_size} images, one batch", got, "use smaller batches or more images"
            )
        rest = self.count % self.batch_size
        if not self.drop_last and 0 < rest < self.num_processes:
            got = f"{rest} ({self.count} images of '{name}' in batches of {self.batch_size})"
            expected = f"at least {self.num_processes} images in an epoch's last batch, one per process"
            raise ConfigError(expected, got, "change the batch size, or the number of images by --data.num-train")
