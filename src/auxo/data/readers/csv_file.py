"""A CSV of image paths and of columns that say something of each image."""

import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from auxo.data.columns import suggest_columns
from auxo.data.csv_table import CsvRow, open_table
from auxo.data.names import INTEGER, normalise_name
from auxo.data.readers.listing import AskedColumns, FileImages, Listing
from auxo.errors import DataError
from auxo.files.moved import find_place, suggest_moved
from auxo.types import LABEL

_OTHER_SEPARATORS = ";\t|"


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
    place = find_place(cell) if os.path.isabs(cell) else cell
    first = table.parent / place
    if os.path.isfile(first):  # nearly always
        return first
    forms = [place, *(unicodedata.normalize(form, place) for form in ("NFC", "NFD"))]  # of a name on this disk
    whole = [table.parent / form for form in forms]
    file = next((file for file in (*whole, Path(find_place(str(whole[0])))) if os.path.isfile(file)), None)
    if file is None:
        got = f"{cell!r} in line {line} of {table}"
        raise DataError(
            f"{what} that is there",
            got,
            f"{suggest_moved(str(whole[0].parent))}give paths from {table.parent}, or whole ones",
        )
    return file


def _read_numbers(values: Sequence[str | None]) -> Sequence[int | str | None]:
    """Return values as whole numbers, if all of them are; as names where one spelling of each has zeros in front."""
    present = {value for value in values if value is not None}
    if not all(INTEGER.fullmatch(value) for value in present):
        return values
    is_spelled = any(str(int(value)) != value for value in present) and len(set(map(int, present))) == len(present)
    return values if is_spelled else [None if value is None else int(value) for value in values]


def has_columns(path: Path, columns: Collection[str]) -> bool:
    """Whether a CSV has these columns.

    Raises:
        DataError: it cannot be read.
    """
    with open_table(path) as table:
        return set(map(normalise_name, columns)) <= set(table.header)


def read_rows(path: Path, path_column: str, options: Mapping[str, str]) -> Iterator[CsvRow]:
    """Yield the rows of a table with the cells of some columns; only paths cannot be empty.

    Args:
        path: a CSV in UTF-8 with a header row.
        path_column: the column of paths.
        options: the columns that are read, each with the option that names it.

    Raises:
        DataError: it cannot be read, a column or path is missing, or a row does not fit the header.
    """
    with open_table(path) as table:
        for column, option in options.items():
            if normalise_name(column) not in table.header:
                got = f"the columns {', '.join(table.header) or '(none)'} in {path}"
                fix = f"{suggest_columns([column], table.header)}name it with --data.{option}"
                is_other = len(table.header) == 1 and any(mark in table.header[0] for mark in _OTHER_SEPARATORS)
                raise DataError(f"a column '{column}'", got, "separate cells by commas" if is_other else fix)
        for line, row in table.rows:
            cells = {column: row[normalise_name(column)] for column in options}
            if not cells[path_column]:
                got = f"an empty {path_column} in line {line} of {path}"
                raise DataError("a path in every row", got, "fill the cell, or remove the row")
            yield CsvRow(line, cells)


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
