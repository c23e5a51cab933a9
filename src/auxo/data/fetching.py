"""The images and targets of a series of positions, read here or in worker processes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_convert

from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.files.signals import hold_stopping, ignore_stopping


class Fetched(NamedTuple):
    """Some images of a source.

    Args:
        images: shape ``(n, channels, height, width)``; uint8.
        targets: what is known of them, by name.
        hashes: of the content of each, where they were asked for.
    """

    images: UInt8[Tensor, "n channels height width"]
    targets: dict[str, Shaped[Tensor, "n ..."]]
    hashes: tuple[str, ...] = ()


class Fetcher:
    """Fetches the images and targets of a series of index tensors, in worker processes where that pays.

    Args:
        source: where they come from.
        workers: processes that decode a streaming source, >= 0.
        pin_memory: put images in page-locked memory.
        is_persistent: whether workers live as long as this, or as long as one series.
        has_hashes: whether images come with the hashes of their contents, of a streaming source.
    """

    def __init__(
        self,
        source: AbstractSource,
        *,
        workers: int,
        pin_memory: bool = False,
        is_persistent: bool = False,
        has_hashes: bool = False,
    ) -> None:
        self.source, self.has_hashes = source, has_hashes
        self.pin_memory = pin_memory
        self.plan = _Plan()
        self.loader: DataLoader[Fetched | DataError] | None = None
        if workers and not isinstance(source, InMemorySource):
            self.loader = DataLoader(
                _Decoding(source, has_hashes),
                batch_sampler=self.plan,
                num_workers=workers,
                persistent_workers=is_persistent,
                collate_fn=default_convert,  # what the worker returns is a batch already
                generator=torch.Generator(),  # or it would draw from the global one
                worker_init_fn=_begin_worker,
            )

    def fetch(self, parts: Iterable[Int[Tensor, " _"]]) -> Iterator[Fetched]:
        """Yield the images and targets of each part in turn."""
        here = (_fetch_positions(self.source, part, self.has_hashes) for part in parts)
        for fetched in here if self.loader is None else self._from_workers(self.loader, parts):
            yield fetched._replace(images=fetched.images.pin_memory()) if self.pin_memory else fetched

    def _from_workers(
        self, loader: "DataLoader[Fetched | DataError]", parts: Iterable[Int[Tensor, " _"]]
    ) -> Iterator[Fetched]:
        """Yield what the workers decode, and raise the errors they met as what they were."""
        self.plan.parts = parts
        try:
            with hold_stopping():  # until each worker ignores them
                batches = iter(loader)
            for fetched in batches:
                if isinstance(fetched, DataError):
                    # A new one: raising the local one would tie the workers' queues into a reference cycle.
                    raise DataError(fetched.expected, fetched.got, fetched.fix)
                yield fetched
        except (RuntimeError, OSError, EOFError) as error:
            # A worker that dies breaks a pipe before torch notices that it is gone.
            is_own = str(error).startswith("Caught") or (
                isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)
            )
            if is_own:  # what reading the data raised
                raise
            reason = next(iter(str(error).splitlines()), "one that left")
            fix = "free memory or shared memory, or pass --data.workers 0"
            raise DataError("data-loading workers that stay alive", reason, fix) from error


def _begin_worker(_number: int) -> None:
    """Leave signals that ask to stop to the process that trains: it saves its state with what workers still decode."""
    ignore_stopping()


class _Plan:
    """The batch sampler: gives the workers the index lists of the current series."""

    def __init__(self) -> None:
        self.parts: Iterable[Tensor] = ()

    def __iter__(self) -> Iterator[list[int]]:
        for part in self.parts:
            yield part.tolist()


def _fetch_positions(source: AbstractSource, indices: Int[Tensor, " n"], has_hashes: bool) -> Fetched:
    """Return what a source has at some positions."""
    if has_hashes and isinstance(source, StreamingSource):
        images, hashes = source.fetch_hashed(indices)
        return Fetched(images, source.fetch_targets(indices), hashes)
    return Fetched(source.fetch(indices), source.fetch_targets(indices))


class _Decoding(Dataset[Fetched | DataError]):
    """A source as the workers see it; an error travels as a value, because torch would rewrap it."""

    def __init__(self, source: AbstractSource, has_hashes: bool) -> None:
        self.source, self.has_hashes = source, has_hashes

    def __getitems__(self, indices: list[int]) -> Fetched | DataError:
        """Return the images and targets at ``indices``, or the error met."""
        try:
            return _fetch_positions(self.source, torch.tensor(indices), self.has_hashes)
        except DataError as error:
            return error
