"""Which entries of a folder are images: the one lister, so that every command sees the same set."""

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from auxo.data.decode import FORMATS
from auxo.data.mask_legend import CLASSES
from auxo.data.readers.leftovers import is_leftover
from auxo.errors import DataError

IMAGES = "images"
"""The folder of the images of pairs."""

MASKS = ("masks", "annotations", "labels")
"""What the folder of their masks may be called."""

TABLE = "labels.csv"
"""The file in a folder of images that says more of each."""

_TABLES = (TABLE, CLASSES)


class Entries(NamedTuple):
    """What is in a folder, or in a folder and all below; each in the order of its paths.

    Args:
        images: files whose names end as those of a format that is read.
        folders: folders in it, and links to such.
        others: files of any other kind.
        leftovers: files and folders that are hidden, or that a program left: nothing of what may be in them counts. Of
            :func:`list_tree` and :func:`list_class` also ``others``.
    """

    images: list[Path]
    folders: list[Path]
    others: list[Path]
    leftovers: list[Path]


def list_entries(folder: Path) -> Entries:
    """Return what is in a folder, not below.

    Raises:
        DataError: it cannot be read, or what is called as an image is a pipe, a socket or a device.
    """
    found = Entries([], [], [], [])
    try:
        with os.scandir(folder) as entries:  # knows most kinds without a look at each file
            for entry in sorted(entries, key=lambda entry: entry.name):
                if is_leftover(entry.name):
                    found.leftovers.append(Path(entry.path))
                else:
                    _sort_entry(entry, found)
    except OSError as error:
        raise _refuse_folder(folder, error) from error
    return found


def find_tree(root: Path) -> Entries:
    """Return what is in a folder and below, but the folder's tables; the folders are those gone through.

    Links to folders are followed; a folder that several paths lead to is gone through once, by its own path if that is
    among them. Of a folder of pairs the masks are left out.

    Args:
        root: the folder.

    Raises:
        DataError: as :func:`list_entries`.
    """
    found = Entries([], [], [], [])
    waiting, links, seen = [_find_images(root)], list[Path](), set[tuple[int, int]]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            known = os.stat(folder)
        except OSError as error:  # taken away since it was listed
            raise _refuse_folder(folder, error) from error
        if (known.st_dev, known.st_ino) in seen:  # a link may lead back up
            continue
        seen.add((known.st_dev, known.st_ino))
        entries = list_entries(folder)
        found.images.extend(entries.images)
        found.others.extend(path for path in entries.others if path.parent != root or path.name not in _TABLES)
        found.leftovers.extend(entries.leftovers)
        found.folders.append(folder)
        for below in entries.folders:
            (links if below.is_symlink() else waiting).append(below)
    return Entries(*(sorted(paths, key=lambda path: path.parts) for paths in found))


def list_tree(root: Path) -> Entries:
    """Return what :func:`find_tree` does, sure that there are images; files of other kinds are among the leftovers.

    Args:
        root: the folder.

    Raises:
        DataError: as :func:`list_entries`; or there is no image.
    """
    found = _leave_out_others(find_tree(root))
    if not found.images:
        raise DataError("images in the folder", f"none in {root} or below", "add images, or name another folder")
    return found


def list_class(folder: Path) -> Entries:
    """Return what is in the folder of one class, sure that there are images; other files are among the leftovers.

    Raises:
        DataError: as :func:`list_entries`; or there is no image, or a folder.
    """
    found = _leave_out_others(list_entries(folder))
    if found.folders:
        fix = "remove it, or name the folder above the classes"
        raise DataError("only images in a class folder", f"{found.folders[0]}, a folder", fix)
    if not found.images:
        raise DataError("images in every class folder", f"none in {folder}", "add images, or remove the folder")
    return found


def _leave_out_others(found: Entries) -> Entries:
    """Return entries whose files of other kinds are among what is left out, and counted."""
    return found._replace(others=[], leftovers=[*found.leftovers, *found.others])


def _find_images(root: Path) -> Path:
    """Return where the images of a folder are: in its folder of images, if it has one and one of masks, else itself."""
    has_masks = any((root / masks).is_dir() for masks in MASKS)
    return root / IMAGES if has_masks and (root / IMAGES).is_dir() else root


def _refuse_folder(folder: Path, error: OSError) -> DataError:
    """Describe a folder that cannot be read."""
    return DataError("a folder that can be read", f"{folder} ({error.strerror})", "check its rights")


def _sort_entry(entry: os.DirEntry[str], found: Entries) -> None:
    """Put an entry where it belongs; a link counts as what it leads to, and one that leads nowhere as a file."""
    path = Path(entry.path)
    if path.is_dir() if entry.is_symlink() else entry.is_dir():  # the former is false where links go in circles
        found.folders.append(path)
        return
    is_image = Image.registered_extensions().get(path.suffix.lower()) in FORMATS
    (found.images if is_image else found.others).append(path)
    # To open a pipe would wait for who writes into it.
    if is_image and not entry.is_file(follow_symlinks=False) and path.exists() and not path.is_file():
        raise DataError("files", f"{path}, a pipe, socket or device", "remove it, or give its name another ending")
