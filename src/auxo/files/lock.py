"""One process at a time in a run directory, or at the names in a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from auxo.errors import OutputError
from auxo.files.atomic import make_folder
from auxo.files.failures import describe_failure


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a run directory, made if missing, for this process alone until the block ends or the process dies.

    Raises:
        OutputError: another process trains in it, such as one that outlived its launcher, or it cannot be written.
    """
    make_folder(folder)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        fix = "wait for it, or end it (a worker can outlive a torchrun that was killed)"
        raise OutputError(f"to be alone in {folder}", "another process that trains there", fix) from error
    except OSError as error:
        raise describe_failure(folder, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_names(folder: Path) -> Iterator[None]:
    """Hold the names in a folder for a moment: who wants to exchange one waits; who only reads or trains does not.

    On a file system without locks nobody waits.

    Raises:
        OutputError: the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise describe_failure(folder, error) from error
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
