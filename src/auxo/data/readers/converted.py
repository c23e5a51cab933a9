"""What the ``datasets`` library reads fast, made of local files: kept under what is in them, whatever they are called.

The library itself takes paths for patterns and keeps what it has read under the path and the time of a file. So a file
that was replaced by one of the same time, as copies that keep times are, would give its old rows; and ``set [v2]``
would be a pattern.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import datasets
import pyarrow
from datasets import Dataset, Features
from datasets.table import table_cast
from pyarrow import parquet

from auxo.errors import DataError
from auxo.files import make_folder, remove_temporaries
from auxo.files.failures import describe_failure
from auxo.files.temporary import delete_temporary, hold_temporary

_FORMAT = b"auxo 1"
_PIECE = 2**22  # bytes read at once
_ROWS = 256  # of a piece of the table, which is what one row costs to be found


def open_parquet(files: Sequence[Path]) -> Dataset:
    """Return the rows of Parquet files, one after another, memory-mapped.

    Cost: the files are read once for the hash of what is in them; what is not kept yet is then written to the cache, in
    the folder of the ``datasets`` library.

    Raises:
        DataError: a file changed while it was read.
        OutputError: the disk is full.
        OSError, ValueError, ArrowException: a file cannot be read; a schema does not fit the first one's.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(file.open("rb")) for file in files]
        before = [os.fstat(file.fileno()) for file in opened]
        path = _find_cache() / f"{_hash_files(opened)}.arrow"
        kept = _open_kept(path)
        if kept is not None:
            return kept
        try:
            _convert_parquet(opened, before, path)
        except OSError as error:
            if error.errno is None:  # of the Parquet file: what cannot be written has a number
                raise
            raise describe_failure(path, error) from error
    return Dataset.from_file(str(path))


def link_folder(folder: Path) -> Path:
    """Return a folder with links to all files of another, called by what is in them; hidden files are left out.

    Cost: all files are read.

    Raises:
        OSError: a file cannot be read.
    """
    files = sorted(_walk_files(folder), key=lambda path: path.parts)
    digest = hashlib.blake2b(_FORMAT + os.fsencode(folder), digest_size=16)
    for file in files:
        with file.open("rb") as opened:
            digest.update(f"{_hash_files([opened])} ".encode() + os.fsencode(file.relative_to(folder)) + b"\0")
    linked = _find_cache() / digest.hexdigest()
    for file in files:
        link = linked / file.relative_to(folder)
        make_folder(link.parent)
        with suppress(FileExistsError):  # made before, or by another process just now
            link.symlink_to(file)
    return linked


def _walk_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of all below."""
    seen = set[tuple[int, int]]()
    for place, folders, names in os.walk(folder, followlinks=True):
        known = os.stat(place)
        is_new = (known.st_dev, known.st_ino) not in seen  # a link may lead back up
        seen.add((known.st_dev, known.st_ino))
        folders[:] = [name for name in folders if is_new and not name.startswith(".")]
        found = [Path(place, name) for name in names if is_new and not name.startswith(".")]
        for path in found:
            if not path.is_file():  # a pipe would wait for who writes into it
                raise FileNotFoundError(f"{path} is no file")
            yield path


def _find_cache() -> Path:
    """Return the folder for what is kept, beside what the library keeps itself."""
    return Path(datasets.config.HF_DATASETS_CACHE).expanduser() / "auxo"


def _hash_files(opened: Sequence[IO[bytes]]) -> str:
    """Return a hash of the contents of files, and of how they follow each other."""
    digest = hashlib.blake2b(_FORMAT, digest_size=16)
    for file in opened:
        digest.update(os.fstat(file.fileno()).st_size.to_bytes(8, "little"))
        while piece := file.read(_PIECE):
            digest.update(piece)
        file.seek(0)
    return digest.hexdigest()


def _open_kept(path: Path) -> Dataset | None:
    """Return what is kept, or ``None`` where nothing is, or something that cannot be read."""
    try:
        return Dataset.from_file(str(path)) if path.exists() else None
    except (OSError, ValueError, pyarrow.ArrowException):  # then it is made anew
        return None


def _convert_parquet(opened: Sequence[IO[bytes]], before: Sequence[os.stat_result], path: Path) -> None:
    """Write the rows of files as one stream of Arrow's, which takes its place when it is whole and on the disk.

    Args:
        opened: the files.
        before: what was known of them when they were hashed; the place is called by the hash.
        path: the place.
    """
    tables = [parquet.ParquetFile(file) for file in opened]
    schema = Features.from_arrow_schema(tables[0].schema_arrow).arrow_schema
    remove_temporaries(make_folder(path.parent))
    with hold_temporary(path) as (temporary, descriptor):
        try:
            with os.fdopen(os.dup(descriptor), "wb") as target, pyarrow.ipc.new_stream(target, schema) as writer:
                for table in tables:
                    for batch in table.iter_batches(batch_size=_ROWS):
                        writer.write_table(table_cast(pyarrow.Table.from_batches([batch]), schema))
            os.fsync(descriptor)
            _check_unchanged(opened, before)
            os.replace(temporary, path)
        except BaseException:
            delete_temporary(temporary)
            raise


def _check_unchanged(opened: Sequence[IO[bytes]], before: Sequence[os.stat_result]) -> None:
    """Refuse files that were written to since they were hashed."""
    for file, known in zip(opened, before, strict=True):
        now = os.fstat(file.fileno())
        if (now.st_size, now.st_mtime_ns) != (known.st_size, known.st_mtime_ns):
            raise DataError("files that stay as they are", f"{file.name}, which changed", "wait, and try again")
