"""Folders that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auxo.errors import OutputError
from auxo.files.atomic import make_folder, sync_folder
from auxo.files.failures import describe_failure
from auxo.files.temporary import delete_temporary, empty_unused, hold_temporary, is_unused, remove_temporaries


def require_unused(folder: Path) -> Path:
    """Return a folder that is not there or empty.

    Raises:
        OutputError: it is another.
    """
    if not is_unused(folder):
        got = f"{folder} with files in it" if folder.is_dir() else f"{folder}, a file"
        raise OutputError("a new or empty folder for --out", got, "choose another --out")
    return folder


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the one that it becomes when the block ends; else it is deleted.

    A process that is killed leaves it; the next one deletes it.

    Args:
        folder: not there or empty.

    Raises:
        OutputError: the place cannot be written, or has files by now.
    """
    remove_temporaries(make_folder(folder.parent))
    try:
        with hold_temporary(folder, is_folder=True) as (temporary, _):
            try:
                yield temporary
                _move_folder(temporary, folder)
            finally:
                delete_temporary(temporary)
    except OSError as error:
        raise describe_failure(folder, error) from error


def _move_folder(source: Path, target: Path) -> None:
    """Give a folder its name."""
    try:
        empty_unused(target)  # a folder can replace an empty one only
        os.replace(source, target)
        sync_folder(target.parent)
    except OSError as error:
        taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
        got = "files that appeared there meanwhile" if taken else (error.strerror or type(error).__name__).lower()
        raise OutputError(f"to write {target}", got, "choose another --out") from error
