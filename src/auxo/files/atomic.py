"""Files that are either as before or complete, never in between, and files that grow by whole pieces."""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from auxo.errors import OutputError

_ENDING = ".part"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` through a temporary file beside it that takes its place when it is on disk.

    Raises:
        OutputError: the disk is full or the place cannot be written; ``path`` is then as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}{_ENDING}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _delete_file(temporary)
        raise _output_error(path, error) from error


def require_folder_of(path: Path) -> None:
    """Refuse a file that could not be written, before the work whose result it is to hold.

    Raises:
        OutputError: there is no folder to hold it.
    """
    if not path.parent.is_dir():
        raise OutputError(f"to write {path}", f"no folder {path.parent}", "make it, or choose another --out")


def remove_temporaries(folder: Path) -> None:
    """Delete what a process that was killed in :func:`write_atomically` left in a folder, where nobody writes now."""
    for path in folder.glob(f".*{_ENDING}"):
        _delete_file(path)


def _delete_file(path: Path) -> None:
    """Delete a file if that can be done."""
    with suppress(OSError):
        path.unlink()


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
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise _output_error(path, error) from error

    def write(self, piece: bytes) -> None:
        """Append a piece; it is on its way to the disk when this returns.

        Raises:
            OutputError: the disk is full; a part of the piece may have been written.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _output_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises:
        OutputError: the place cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _output_error(path, error) from error
    return path


def _output_error(path: Path, error: OSError) -> OutputError:
    """Describe a failure to write."""
    reason = error.strerror or type(error).__name__
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fix = "free the disk and --resume, or choose another --out" if is_full else "choose another --out"
    return OutputError(f"to write {path}", reason[0].lower() + reason[1:], fix)
