"""Tables in CSV files: every row has a cell for every name of the header, or is refused."""

import csv
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from auxo.data.names import normalise_name
from auxo.errors import DataError


class CsvRow(NamedTuple):
    """One row.

    Args:
        line: of the file that it ends in, the first being 1.
        cells: by the name of their column, without spaces around them.
    """

    line: int
    cells: dict[str, str]


class CsvTable(NamedTuple):
    """An open table.

    Args:
        header: names of the columns.
        rows: to be gone through once, while the table is open.
    """

    header: tuple[str, ...]
    rows: Iterator[CsvRow]


@contextmanager
def open_table(
    path: Path, *, what: str = "a CSV in UTF-8", rename: Callable[[str], str] = normalise_name
) -> Iterator[CsvTable]:
    """Open a CSV in UTF-8 with a header, and tell in one line what is wrong with it, also with a row that is read.

    Empty lines do not count.

    Args:
        path: of the file.
        what: it is to be, for messages.
        rename: gives columns of the header their names.

    Raises:
        DataError: it is no regular file, cannot be read, has a column twice, or a row has more or fewer cells than the
            header; the message names the line.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise DataError(what, f"{path}, no regular file", "write it to a file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            header = tuple(map(rename, next(filter(None, reader), ())))
            _refuse_repeated(header, path)
            lines = ((reader.line_num, cells) for cells in reader if cells)
            yield CsvTable(header, _read_rows(lines, header, path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(what, f"{path} ({reason})", "check the file, its quotes and its encoding") from error


def _refuse_repeated(header: Sequence[str], path: Path) -> None:
    """Refuse a header that has a name twice."""
    repeated = next((name for place, name in enumerate(header) if name and name in header[:place]), None)
    if repeated is not None:
        raise DataError(f"every column once in {path}", f"'{repeated}' twice", "rename or remove one of them")


def _read_rows(lines: Iterator[tuple[int, list[str]]], header: Sequence[str], path: Path) -> Iterator[CsvRow]:
    """Yield the rows below the header."""
    for line, cells in lines:
        if len(cells) != len(header):
            fix = "put a cell that has a comma in quotes, and write empty cells, too"
            got = f"{len(cells)} in line {line} of {path}"
            raise DataError(f"{len(header)} cells in every row, as in the header", got, fix)
        yield CsvRow(line, {name: cell.strip() for name, cell in zip(header, cells, strict=True)})
