"""Sets that the runs of a grid read once: the first that needs them writes a file, the others map it into memory."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock

from auxo.data.sources import AbstractSource, InMemorySource

_Made = TypeVar("_Made")
_SPARE = 10  # a file takes up to this part of what is free on the disk

_folder: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def sharing_sets(folder: Path | None) -> Iterator[None]:
    """Share sets through a folder within the block, with every process that does; ``None`` shares nothing.

    Args:
        folder: of this auxo, this machine and these files alone: what it holds is taken as it is.
    """
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def share(asked: object, make: Callable[[], _Made], *, sources: Callable[[_Made], Iterable[AbstractSource]]) -> _Made:
    """Return what ``make`` returns, from a file where another process has made it, else making it.

    Only images in memory are shared; those that are decoded when they are asked for have not cost anything yet.

    Args:
        asked: what it depends on; its ``repr`` says all.
        make: reads the sets.
        sources: those in what was made.
    """
    folder = _folder.get()
    if folder is None:
        return make()
    path = folder / hashlib.sha256(repr(asked).encode()).hexdigest()
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            made = make()
            if _can_keep(list(sources(made)), folder):
                unfinished = path.with_suffix(".part")
                torch.save(made, unfinished)
                os.replace(unfinished, path)
            return made
    kept: _Made = torch.load(path, mmap=True, weights_only=False)
    return kept


def _can_keep(sources: list[AbstractSource], folder: Path) -> bool:
    """Return whether sets are in memory, and the disk has room for them."""
    if not all(type(source) is InMemorySource for source in sources):
        return False
    size = sum(source.images.nbytes for source in sources if isinstance(source, InMemorySource))
    return size * _SPARE <= shutil.disk_usage(folder).free
