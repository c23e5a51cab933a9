"""A folder as bytes, and back into its place as a whole."""

import io
import shutil
import tarfile
from pathlib import Path

from auxo.errors import OutputError


def pack_folder(folder: Path) -> bytes:
    """Return the files of a folder as a tar archive; hidden ones, such as locks, are left out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
                archive.add(path, arcname=str(path.relative_to(folder)))
    return packed.getvalue()


def unpack_folder(packed: bytes, folder: Path) -> None:
    """Put packed files into place: ``folder`` is as before or holds them and nothing else, never some of them.

    A process that is killed between the two renamings leaves no ``folder``; what was there is hidden beside it.

    Raises:
        OutputError: they cannot be written.
    """
    arriving, leaving = (folder.with_name(f".{folder.name}.{word}") for word in ("arriving", "leaving"))
    try:
        shutil.rmtree(arriving, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(arriving, filter="data")
        if folder.exists():
            shutil.rmtree(leaving, ignore_errors=True)
            folder.rename(leaving)
        arriving.rename(folder)
        shutil.rmtree(leaving, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(arriving, ignore_errors=True)
        if leaving.exists() and not folder.exists():
            leaving.rename(folder)
        reason = (error.strerror or "an error").lower()
        raise OutputError(f"to write {folder}", reason, "free the disk, or choose another folder") from error
