"""A failure of the operating system to write, in the words of auxo."""

import errno
from pathlib import Path

from auxo.errors import OutputError


def describe_failure(path: Path, error: OSError) -> OutputError:
    """Return the error that says why a place cannot be written."""
    reason = error.strerror or type(error).__name__
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fix = "free the disk and --resume, or choose another --out" if is_full else "choose another --out"
    return OutputError(f"to write {path}", reason[0].lower() + reason[1:], fix)
