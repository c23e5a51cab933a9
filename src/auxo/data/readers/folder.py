"""A folder with one folder of images per class, or of images of which it says nothing."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from auxo.data.readers.csv_file import has_columns, read_rows
from auxo.data.readers.files import IMAGES, MASKS, TABLE, list_class, list_entries, list_tree
from auxo.data.readers.leftovers import describe_leftovers
from auxo.data.readers.listing import FileImages, Listing
from auxo.errors import DataError
from auxo.files.moved import find_place
from auxo.types import LABEL


def read_folder(
    root: Path, name: str, within: Sequence[str] = (), *, path_column: str = "path", columns: Sequence[str] = ()
) -> Listing:
    """List ``root/<class>/<image>``; classes are sorted by name.

    Args:
        root: the folder.
        name: see :class:`auxo.data.sources.AbstractSource`.
        within: folders in ``root`` that have the class folders, as ``root/<within>/<class>/<image>``; none is ``root``.
        path_column: column of ``labels.csv`` that has the path of each image from ``root``.
        columns: further columns, read from ``root/labels.csv``.

    Raises:
        DataError: there is no class folder, one is empty, something in it is not an image, or the table lacks a column
            or fits the images in the folder badly.
    """
    files: list[Path] = []
    names: list[str] = []
    leftovers: list[Path] = []
    for place in [root / each for each in within] or [root]:
        folders, beside = _list_classes(place)
        leftovers += beside
        for folder in folders:
            found = list_class(folder)
            files += found.images
            names += [folder.name] * len(found.images)
            leftovers += found.leftovers
    listing = Listing(name, FileImages(files), {LABEL: names}, notes=describe_leftovers(name, leftovers))
    return add_columns(listing, root, files, path_column, columns)


def _list_classes(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the class folders of a folder, and what a program left beside them."""
    stray, folders, _, leftovers = list_entries(root)
    if not folders:
        got = f"none in {root}"
        raise DataError("one folder of images per class", got, "move the images of each class to its own folder")
    if {folder.name for folder in folders} in [{IMAGES, masks} for masks in MASKS]:
        got = f"the pairs {' and '.join(str(folder) for folder in folders)}"
        fix = "choose a method for masks, as auxo train segmenter does"
        raise DataError("one folder of images per class", got, fix)
    if stray:
        got = f"{stray[0]} beside the class folders"
        raise DataError("images in the folder of their class", got, "move it to its class, or remove it")
    return folders, leftovers


def read_folder_tree(root: Path, name: str, *, path_column: str = "path", columns: Sequence[str] = ()) -> Listing:
    """List the images of a folder and of all below, without classes; of a folder of pairs without the masks.

    Args:
        root: the folder.
        name: see :class:`auxo.data.sources.AbstractSource`.
        path_column: see :func:`read_folder`.
        columns: further columns, read where there is a ``root/labels.csv`` that has all of them.

    Raises:
        DataError: there is no image, something in a folder is neither an image nor a folder, or the table fits the
            images in the folder badly.
    """
    files, _, _, leftovers = list_tree(root)
    listing = Listing(name, FileImages(files), {}, notes=describe_leftovers(name, leftovers))
    is_described = bool(columns) and (root / TABLE).is_file() and has_columns(root / TABLE, columns)
    return add_columns(listing, root, files, path_column, columns if is_described else ())


def add_columns(
    listing: Listing, root: Path, files: Sequence[Path], path_column: str, columns: Sequence[str]
) -> Listing:
    """Return a listing with the further columns of the table in its folder; an image without a row has no values.

    Args:
        listing: of the images.
        root: the folder.
        files: the images.
        path_column: see :func:`read_folder`.
        columns: to be read.

    Raises:
        DataError: the table is not there, lacks a column or fits the images badly.
    """
    if not columns:
        return listing
    table = root / TABLE
    if not table.is_file():
        fix = "write it, or leave out --data.columns"
        raise DataError(f"the file {table} with the columns {', '.join((path_column, *columns))}", "none", fix)
    row_of = {unicodedata.normalize("NFC", os.path.abspath(file)): row for row, file in enumerate(files)}
    row_of |= {os.path.abspath(file): row for row, file in enumerate(files)}  # two forms of one name may be two files
    values: dict[str, list[str | None]] = {column: [None] * len(files) for column in columns}
    line_of: dict[int, int] = {}
    for line, cells in read_rows(table, path_column, {path_column: "path-column", **dict.fromkeys(columns, "columns")}):
        where = f"{cells[path_column]!r} in line {line} of {table}"
        cell = cells[path_column]
        path = os.path.abspath(find_place(cell) if os.path.isabs(cell) else root / cell)
        row = row_of.get(path, row_of.get(unicodedata.normalize("NFC", path)))
        if row is None:
            raise DataError("the path of an image of the set", where, f"give paths from {root}, or remove the row")
        if row in line_of:
            raise DataError("one row for every image", f"{where}, as in line {line_of[row]}", "remove one of them")
        line_of[row] = line
        for column in columns:
            values[column][row] = cells[column] or None
    return replace(listing, columns={**listing.columns, **values}, table=str(table))
