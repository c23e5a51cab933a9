"""Files that are either as before or complete, never in between, and files that grow by whole pieces.

What is done here outlives a power cut: a file is on the disk before its name is, and its name before the next thing
begins.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

from auxo.errors import OutputError
from auxo.files.failures import describe_failure
from auxo.files.temporary import delete_temporary, hold_temporary, remove_temporaries


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` through a temporary file beside it that takes its place when it is on disk.

    Raises:
        OutputError: the disk is full or the place cannot be written; ``path`` is then as it was.
    """
    # Names of files that are not UTF-8 come as surrogates, and go back to their own bytes.
    data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    try:
        with hold_temporary(path) as (temporary, descriptor):
            try:
                write_whole(descriptor, data)
                os.fsync(descriptor)
                os.replace(temporary, path)
            except OSError:
                delete_temporary(temporary)
                raise
    except OSError as error:
        raise describe_failure(path, error) from error
    sync_folder(path.parent)


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of some bytes to an open file."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; where a file system has no such thing, nothing is done."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def delete_file(path: Path) -> None:
    """Delete a file for good.

    Raises:
        OutputError: it cannot be deleted.
    """
    try:
        os.unlink(path)
    except OSError as error:
        raise describe_failure(path, error) from error
    sync_folder(path.parent)


def prepare_place(path: Path) -> Path:
    """Return the path of a file whose place can be written, before the work whose result it is to hold.

    What a killed process left there goes.

    Raises:
        OutputError: there is no folder to hold it, or it is a folder itself.
    """
    if not path.parent.is_dir():
        raise OutputError(f"to write {path}", f"no folder {path.parent}", "make it, or choose another --out")
    if path.is_dir():
        raise OutputError("a file for --out", f"{path}, a folder", "name a file in it")
    remove_temporaries(path.parent)
    return path


def require_place(folder: Path) -> Path:
    """Return a folder that can be made, before the work whose results it is to hold; nothing is made.

    Raises:
        OutputError: what would hold it is a file, or its name is none.
    """
    place = folder
    try:
        while not place.exists():
            place = place.parent
    except OSError as error:  # such as a name that is too long
        raise describe_failure(folder, error) from error
    if not place.is_dir():
        raise describe_failure(folder, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    return folder


class AppendedFile:
    """A file that grows piece by piece; nothing is held back, so nothing is lost when the process dies.

    Args:
        path: made if missing.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            is_new = not path.exists()
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise describe_failure(path, error) from error
        if is_new:
            sync_folder(path.parent)

    def write(self, piece: bytes) -> None:
        """Append a piece; it is on its way to the disk when this returns.

        Raises:
            OutputError: the disk is full; a part of the piece may have been written.
        """
        try:
            write_whole(self._descriptor, piece)
        except OSError as error:
            raise describe_failure(self.path, error) from error

    def sync(self) -> None:
        """Wait until all that was written is on the disk.

        Raises:
            OutputError: it cannot be brought there.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise describe_failure(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises:
        OutputError: the place cannot be written.
    """
    try:
        missing = [place for place in (path, *path.parents) if not place.exists()]
        for place in reversed(missing):
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(place)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise describe_failure(path, error) from error
    for place in missing:
        sync_folder(place.parent)
    return path
