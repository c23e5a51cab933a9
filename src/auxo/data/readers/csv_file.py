"""A CSV of picture paths and labels."""

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from auxo.data.readers.listing import FileImages, Listing
from auxo.errors import DataError

__all__ = ["CsvImages", "read_csv"]


def read_csv(path: Path, name: str, *, path_column: str, label_column: str | None) -> Listing:
    """List the pictures of a CSV in UTF-8 with a header row.

    Labels are class numbers if all of them are whole numbers, else class names.

    Args:
        path: the CSV; relative picture paths start at its folder.
        name: see :class:`auxo.data.sources.AbstractSource`.
        path_column: column of the picture paths.
        label_column: column of the labels; ``None`` reads none.

    Raises:
        DataError: it cannot be read, a column is missing, a cell is empty, or a picture is not there; the message
            names the line, the header being line 1.
    """
    files: list[Path] = []
    labels: list[str] = []
    lines: list[int] = []
    for line, row in _rows(path, (path_column,) if label_column is None else (path_column, label_column)):
        file = path.parent / row[path_column]
        if not os.path.isfile(file):
            got = f"{row[path_column]!r} in line {line} of {path}"
            raise DataError("a picture that is there", got, f"give paths from {path.parent}, or whole ones")
        files.append(file)
        lines.append(line)
        if label_column is not None:
            labels.append(row[label_column])
    if not files:
        raise DataError("rows below the header", f"none in {path}", "give one picture per row, and its label")
    images = CsvImages(files, lines, path)
    if all(re.fullmatch(r"[+-]?[0-9]+", label) for label in labels):
        return Listing(name, images, [int(label) for label in labels])
    return Listing(name, images, labels)


class CsvImages(FileImages):
    """Pictures in files that a CSV lists.

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


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and the stripped cells of ``columns`` of every row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            header = list(reader.fieldnames or [])
            for column in columns:
                if column not in header:
                    got = f"the columns {', '.join(header) or '(none)'} in {path}"
                    raise DataError(f"a column '{column}'", got, f"name it with --data.{_option(column, columns)}")
            for row in reader:
                cells = {column: row[column].strip() for column in columns}
                empty = [column for column, cell in cells.items() if not cell]
                if empty:
                    got = f"an empty {empty[0]} in line {reader.line_num} of {path}"
                    expected = "a path in every row" if columns[1:] == () else "a path and a label in every row"
                    raise DataError(expected, got, "fill the cell, or remove the row")
                yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("a CSV in UTF-8", f"{path} ({error})", "check the file and its encoding") from error


def _option(column: str, columns: tuple[str, ...]) -> str:
    """Return the option that names a column."""
    return ("path-column", "label-column")[columns.index(column)]
