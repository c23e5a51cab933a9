"""A folder with one folder of images per class, or of images of which it says nothing."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from auxo.data.decode import FORMATS
from auxo.data.mask_legend import CLASSES
from auxo.data.readers.csv_file import has_columns, read_rows
from auxo.data.readers.listing import FileImages, Listing
from auxo.errors import DataError
from auxo.types import LABEL

IMAGES = "images"
"""The folder of the images of pairs."""

MASKS = ("masks", "annotations", "labels")
"""What the folder of their masks may be called."""

_LEFTOVERS = ("thumbs.db", "desktop.ini")
_TABLE = "labels.csv"


def read_folder(root: Path, name: str, *, path_column: str = "path", columns: Sequence[str] = ()) -> Listing:
    """List ``root/<class>/<image>``; classes are sorted by name, files and folders that start with a dot are ignored.

    Args:
        root: the folder.
        name: see :class:`auxo.data.sources.AbstractSource`.
        path_column: column of ``labels.csv`` that has the path of each image from ``root``.
        columns: further columns, read from ``root/labels.csv``.

    Raises:
        DataError: there is no class folder, one is empty, something in it is not an image, or the table lacks a column
            or fits the images in the folder badly.
    """
    folders = [entry for entry in list_visible(root) if entry.is_dir()]
    if not folders:
        got = f"none in {root}"
        raise DataError("one folder of images per class", got, "move the images of each class to its own folder")
    if {folder.name for folder in folders} in [{IMAGES, masks} for masks in MASKS]:
        got = f"the pairs {' and '.join(str(folder) for folder in folders)}"
        fix = "choose a method for masks, as auxo train segmenter does"
        raise DataError("one folder of images per class", got, fix)
    stray = [entry for entry in list_visible(root) if _is_image(entry)]
    if stray:
        got = f"{stray[0]} beside the class folders"
        raise DataError("images in the folder of their class", got, "move it to its class, or remove it")
    files: list[Path] = []
    names: list[str] = []
    for folder in folders:
        found = _list_images(folder)
        files += found
        names += [folder.name] * len(found)
    return add_columns(Listing(name, FileImages(files), {LABEL: names}), root, files, path_column, columns)


def read_folder_tree(root: Path, name: str, *, path_column: str = "path", columns: Sequence[str] = ()) -> Listing:
    """List the images of a folder and of all below, without classes; names that start with a dot are ignored.

    Args:
        root: the folder.
        name: see :class:`auxo.data.sources.AbstractSource`.
        path_column: see :func:`read_folder`.
        columns: further columns, read where there is a ``root/labels.csv`` that has all of them.

    Raises:
        DataError: there is no image, something in a folder is neither an image nor a folder, or the table fits the
            images in the folder badly.
    """
    files = list_tree(root, tables=(_TABLE, CLASSES))
    is_described = bool(columns) and (root / _TABLE).is_file() and has_columns(root / _TABLE, columns)
    return add_columns(Listing(name, FileImages(files), {}), root, files, path_column, columns if is_described else ())


def list_tree(root: Path, *, tables: Sequence[str] = ()) -> list[Path]:
    """Return the images of a folder and of all below, sorted.

    Args:
        root: the folder.
        tables: names of files in the folder itself that need be no images.

    Raises:
        DataError: there is no image, or something is neither an image nor a folder.
    """
    files: list[Path] = []
    waiting, seen = [root], {root.resolve()}
    while waiting:
        for entry in list_visible(waiting.pop()):
            if _is_image(entry):
                files.append(entry)
            elif entry in [root / table for table in tables]:
                continue
            elif not entry.is_dir():
                raise DataError("only images and folders", f"{entry}, no known image format", "remove it")
            elif entry.resolve() not in seen:  # a link may lead back up
                seen.add(entry.resolve())
                waiting.append(entry)
    if not files:
        raise DataError("images in the folder", f"none in {root} or below", "add images, or name another folder")
    return sorted(files)


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
    table = root / _TABLE
    if not table.is_file():
        fix = "write it, or leave out --data.columns"
        raise DataError(f"the file {table} with the columns {', '.join((path_column, *columns))}", "none", fix)
    row_of = {os.path.abspath(file): row for row, file in enumerate(files)}
    values: dict[str, list[str | None]] = {column: [None] * len(files) for column in columns}
    line_of: dict[int, int] = {}
    for line, cells in read_rows(table, path_column, {path_column: "path-column", **dict.fromkeys(columns, "columns")}):
        where = f"{cells[path_column]!r} in line {line} of {table}"
        row = row_of.get(os.path.abspath(root / cells[path_column]))
        if row is None:
            raise DataError("the path of an image of the set", where, f"give paths from {root}, or remove the row")
        if row in line_of:
            raise DataError("one row for every image", f"{where}, as in line {line_of[row]}", "remove one of them")
        line_of[row] = line
        for column in columns:
            values[column][row] = cells[column] or None
    return replace(listing, columns={**listing.columns, **values}, table=str(table))


def _list_images(folder: Path) -> list[Path]:
    """Return the images of one class."""
    found = list_visible(folder)
    if not found:
        raise DataError("images in every class folder", f"none in {folder}", "add images, or remove the folder")
    for entry in found:
        if not _is_image(entry):
            got = f"{entry}, {'a folder' if entry.is_dir() else 'no known image format'}"
            raise DataError("only images in a class folder", got, "remove it, or name the folder above the classes")
    return found


def _is_image(path: Path) -> bool:
    """Whether a path ends as a format that is read, and is no folder."""
    return Image.registered_extensions().get(path.suffix.lower()) in FORMATS and not path.is_dir()


def list_visible(folder: Path) -> list[Path]:
    """Return the entries of a folder that are not hidden, sorted, without what Windows' file manager leaves."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError("a folder that can be read", f"{folder} ({error.strerror})", "check its rights") from error
    return [folder / name for name in sorted(names) if not name.startswith(".") and name.lower() not in _LEFTOVERS]
