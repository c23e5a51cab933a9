"""A CSV of image paths and of columns that say something of each image."""

import csv
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from auxo.data.columns import suggest_columns
from auxo.data.readers.listing import INTEGER, AskedColumns, FileImages, Listing
from auxo.errors import DataError
from auxo.types import LABEL


def read_csv(path: Path, name: str, asked: AskedColumns) -> Listing:
    """List the images of a CSV in UTF-8 with a header row.

    The values of ``label`` are whole numbers if all of them look so, else names; those of further columns are names.

    Args:
        path: the CSV; relative image paths start at its folder.
        name: see :class:`auxo.data.sources.AbstractSource`.
        asked: the columns that are read.

    Raises:
        DataError: it cannot be read, a column or path is missing, or an image is not there; the message names the
            line, the header being line 1.
    """
    if asked.label is None and not has_columns(path, asked.further):
        asked = asked._replace(further=())
    options = asked.name_options("path-column")
    files: list[Path] = []
    lines: list[int] = []
    cells: dict[str, list[str | None]] = {column: [] for column in options}
    for line, row in read_rows(path, asked.image, options):
        files.append(_find_file(path, line, row[asked.image], "an image"))
        lines.append(line)
        for column, values in cells.items():
            values.append(row[column] or None)
    if not files:
        raise DataError("rows below the header", f"none in {path}", "give one image per row")
    found: dict[str, Sequence[int | str | None]] = {column: cells[column] for column in asked.further}
    if asked.label is not None:
        found[LABEL] = _read_numbers(cells[asked.label])
    images = CsvImages(files, lines, path)
    if asked.mask is None:
        return Listing(name, images, found)
    rows = list(zip(lines, cells[asked.mask], strict=True))
    # Where a cell is empty any path will do: such rows are refused or left out.
    masks = [path if cell is None else _find_file(path, line, cell, "a mask") for line, cell in rows]
    unmasked = tuple(row for row, (_, cell) in enumerate(rows) if cell is None)
    return Listing(name, images, found, masks=CsvImages(masks, lines, path), unmasked=unmasked)


def _find_file(table: Path, line: int, cell: str, what: str) -> Path:
    """Return the file that a cell names, or refuse it."""
    file = table.parent / cell
    if not os.path.isfile(file):
        got = f"{cell!r} in line {line} of {table}"
        raise DataError(f"{what} that is there", got, f"give paths from {table.parent}, or whole ones")
    return file


def _read_numbers(values: Sequence[str | None]) -> Sequence[int | str | None]:
    """Return values as whole numbers, if all of them are."""
    if all(INTEGER.fullmatch(value) for value in values if value is not None):
        return [None if value is None else int(value) for value in values]
    return values


def has_columns(path: Path, columns: Collection[str]) -> bool:
    """Whether a CSV has these columns.

    Raises:
        DataError: it cannot be read.
    """
    with _open_csv(path) as file:
        return set(columns) <= set(csv.DictReader(file).fieldnames or ())


def read_rows(path: Path, path_column: str, options: Mapping[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the stripped cells of every row; only paths cannot be empty.

    Args:
        path: a CSV in UTF-8 with a header row.
        path_column: the column of paths.
        options: the columns that are read, each with the option that names it.

    Raises:
        DataError: it cannot be read, or a column or path is missing.
    """
    with _open_csv(path) as file:
        reader = csv.DictReader(file, restval="")
        header = list(reader.fieldnames or [])
        for column, option in options.items():
            if column not in header:
                got = f"the columns {', '.join(header) or '(none)'} in {path}"
                raise DataError(
                    f"a column '{column}'", got, f"{suggest_columns([column], header)}name it with --data.{option}"
                )
        for row in reader:
            cells = {column: row[column].strip() for column in options}
            if not cells[path_column]:
                got = f"an empty {path_column} in line {reader.line_num} of {path}"
                raise DataError("a path in every row", got, "fill the cell, or remove the row")
            yield reader.line_num, cells


class CsvImages(FileImages):
    """Images in files that a CSV lists.

    Args:
        paths: one per row.
        lines: the line of each in the CSV, for messages.
        table: the CSV, for messages.
    """

    def __init__(self, paths: list[Path], lines: list[int], table: Path) -> None:
        super().__init__(paths)
        self.lines = lines
        self.table = str(table)

    def describe(self, row: int) -> str:
        """Return the path, and its line in the table."""
        return f"{self.paths[row]} (line {self.lines[row]} of {self.table})"


@contextmanager
def _open_csv(path: Path) -> Iterator[IO[str]]:
    """Open a CSV, and tell in one line what is wrong with it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("a CSV in UTF-8", f"{path} ({error})", "check the file and its encoding") from error
