"""Places that moved since a run was made: where what its configuration names is now."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple


class MovedPlaces(NamedTuple):
    """What is known of the places that a run names.

    Args:
        places: new places by old ones, as they were typed; a place below an old one is found below the new one.
        is_asked: whether the user named some of them now, so that all sets are to be compared with those of the run.
    """

    places: Mapping[str, str] = {}
    is_asked: bool = False


class _Known(NamedTuple):
    """Moved places, and the new ones by whole old ones: a table of files asks once for each row."""

    moved: MovedPlaces
    whole: Mapping[str, str]


_known: ContextVar[_Known | None] = ContextVar("moved", default=None)


@contextmanager
def finding_moved(moved: MovedPlaces | None) -> Iterator[None]:
    """Let what a run names be looked for in its new places within the block; ``None`` takes every place as named."""
    whole = {} if moved is None else {_make_whole(old): new for old, new in moved.places.items()}
    token = _known.set(None if moved is None else _Known(moved, whole))
    try:
        yield
    finally:
        _known.reset(token)


def find_place(place: str) -> str:
    """Return where a file or folder is that a run names: below the new place of the longest old one that it is below.

    Example:
        >>> with finding_moved(MovedPlaces({"/old": "/new", "/old/photos": "/disk"})):
        ...     find_place("/old/list.csv"), find_place("/old/photos/cat/1.png"), find_place("/older")
        ('/new/list.csv', '/disk/cat/1.png', '/older')
    """
    known = _known.get()
    if known is None or not known.whole:
        return place
    whole, found = _make_whole(place), known.whole
    above = [old for old in found if whole == old or whole.startswith(os.path.join(old, ""))]
    if not above:
        return place
    old = max(above, key=len)
    rest = os.path.relpath(whole, old)
    return found[old] if rest == os.curdir else os.path.join(found[old], rest)


def find_path(place: str) -> Path:
    """Return the path at which a file or folder is that a run names, ``~`` expanded; see :func:`find_place`."""
    return Path(os.path.expanduser(find_place(place)))


def suggest_moved(place: str) -> str:
    """Return what to type where a run names a place that is not there, to go on from; nothing for a user's own words.

    Example:
        >>> with finding_moved(MovedPlaces()):
        ...     suggest_moved("my photos")
        "pass --moved 'my photos=NEW' with its new place, or "
    """
    return "" if _known.get() is None else f"pass --moved {shlex.quote(place + '=NEW')} with its new place, or "


def list_moved() -> dict[str, str]:
    """Return new places by old ones, for a process of its own."""
    known = _known.get()
    return {} if known is None else dict(known.moved.places)


def must_match() -> bool:
    """Whether all sets must be those of the run, also those that decided nothing: the user said that they moved."""
    known = _known.get()
    return known is not None and known.moved.is_asked


def _make_whole(place: str) -> str:
    """Return a place as an absolute path."""
    return os.path.abspath(os.path.expanduser(place))
