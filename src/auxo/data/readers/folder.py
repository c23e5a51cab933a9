"""A folder with one folder of pictures per class, or of pictures without labels."""

import os
from pathlib import Path

from PIL import Image

from auxo.data.decode import FORMATS
from auxo.data.readers.listing import FileImages, Listing
from auxo.errors import DataError

__all__ = ["read_folder", "read_folder_tree"]

_LEFTOVERS = ("thumbs.db", "desktop.ini")


def read_folder(root: Path, name: str) -> Listing:
    """List ``root/<class>/<picture>``; classes are sorted by name, files and folders that start with a dot are ignored.

    Raises:
        DataError: there is no class folder, one is empty, or something in it is not a picture.
    """
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    if not folders:
        got = f"none in {root}"
        raise DataError("one folder of pictures per class", got, "move the pictures of each class to its own folder")
    stray = [entry for entry in _visible(root) if _is_picture(entry)]
    if stray:
        got = f"{stray[0]} beside the class folders"
        raise DataError("pictures in the folder of their class", got, "move it to its class, or remove it")
    files: list[Path] = []
    labels: list[str] = []
    for folder in folders:
        found = _pictures(folder)
        files += found
        labels += [folder.name] * len(found)
    return Listing(name, FileImages(files), labels)


def read_folder_tree(root: Path, name: str) -> Listing:
    """List the pictures of a folder and of all folders below, without labels; names that start with a dot are ignored.

    Raises:
        DataError: there is no picture, or something in a folder is neither a picture nor a folder.
    """
    files: list[Path] = []
    waiting, seen = [root], {root.resolve()}
    while waiting:
        for entry in _visible(waiting.pop()):
            if _is_picture(entry):
                files.append(entry)
            elif not entry.is_dir():
                raise DataError("only pictures and folders", f"{entry}, no known picture format", "remove it")
            elif entry.resolve() not in seen:  # a link may lead back up
                seen.add(entry.resolve())
                waiting.append(entry)
    if not files:
        raise DataError("pictures in the folder", f"none in {root} or below", "add pictures, or name another folder")
    return Listing(name, FileImages(sorted(files)), ())


def _pictures(folder: Path) -> list[Path]:
    """Return the pictures of one class."""
    found = _visible(folder)
    if not found:
        raise DataError("pictures in every class folder", f"none in {folder}", "add pictures, or remove the folder")
    for entry in found:
        if not _is_picture(entry):
            got = f"{entry}, {'a folder' if entry.is_dir() else 'no known picture format'}"
            raise DataError("only pictures in a class folder", got, "remove it, or name the folder above the classes")
    return found


def _is_picture(path: Path) -> bool:
    """Whether a path ends as a format that is read, and is no folder."""
    return Image.registered_extensions().get(path.suffix.lower()) in FORMATS and not path.is_dir()


def _visible(folder: Path) -> list[Path]:
    """Return the entries of a folder that are not hidden, sorted, without what Windows' file manager leaves."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError("a folder that can be read", f"{folder} ({error.strerror})", "check its rights") from error
    return [folder / name for name in sorted(names) if not name.startswith(".") and name.lower() not in _LEFTOVERS]
