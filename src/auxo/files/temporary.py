"""Temporary files and folders, which are held as long as somebody writes them and else may be deleted."""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_PATTERN = re.compile(r"\..*\.[0-9a-f]{8}\.part", re.DOTALL)
_LOCK = ".lock"
_MOST_LETTERS = 40  # a name of 255 bytes has no room for more; of any script


class Temporary(NamedTuple):
    """A temporary file or folder.

    Args:
        path: where it is.
        descriptor: of the file, open to be written, or of the folder.
    """

    path: Path
    descriptor: int


@contextmanager
def hold_temporary(path: Path, *, is_folder: bool = False) -> Iterator[Temporary]:
    """Make a temporary beside ``path`` that :func:`remove_temporaries` leaves alone until the block ends.

    Args:
        path: that it is to become.
        is_folder: whether it is a folder.

    Raises:
        OSError: the place cannot be written.
    """
    while True:
        place = path.parent / f".{path.name[:_MOST_LETTERS]}.{secrets.token_hex(4)}.part"
        if is_folder:
            os.mkdir(place)
        flags = os.O_RDONLY if is_folder else os.O_WRONLY | os.O_CREAT | os.O_EXCL
        descriptor = os.open(place, flags, 0o666)
        with suppress(OSError):  # a file system without locks, where nothing is ever taken for left over
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if place.exists():  # else somebody took it for left over before it was held
            break
        os.close(descriptor)
    try:
        yield Temporary(place, descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Delete what processes that were killed left in a folder; what somebody writes at this moment stays."""
    with suppress(OSError):
        for path in [each for each in folder.iterdir() if _PATTERN.fullmatch(each.name)]:
            descriptor = _try_hold(path)
            if descriptor is not None:
                delete_temporary(path)  # while it is held, else its maker could take hold of it just before it goes
                os.close(descriptor)


def delete_temporary(path: Path) -> None:
    """Delete a temporary file or folder if that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        os.unlink(path)


def is_unused(folder: Path) -> bool:
    """Return whether a folder is not there or holds only what a command leaves that was killed before it began.

    That is its lock, and temporaries that nobody holds.
    """
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    return all(
        path.name == _LOCK or (_PATTERN.fullmatch(path.name) and not _is_held(path)) for path in folder.iterdir()
    )


def empty_unused(folder: Path) -> None:
    """Delete what :func:`is_unused` allows in a folder; anything else stays."""
    remove_temporaries(folder)
    delete_temporary(folder / _LOCK)


def _is_held(path: Path) -> bool:
    """Return whether somebody writes a temporary, or whether that cannot be told."""
    descriptor = _try_hold(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _try_hold(path: Path) -> int | None:
    """Return a descriptor that holds a temporary, or none if somebody writes it or that cannot be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
