"""A folder of images and a folder of masks, paired by their names."""

import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from auxo.data.config import Unknown
from auxo.data.readers.files import IMAGES, MASKS, list_entries, list_tree
from auxo.data.readers.folder import add_columns
from auxo.data.readers.kept import LEAVE_OUT
from auxo.data.readers.leftovers import describe_leftovers
from auxo.data.readers.listing import FileImages, Listing
from auxo.errors import DataError


class PairFolders(NamedTuple):
    """Where pairs are.

    Args:
        images: folder of the images.
        masks: folder of the masks.
        both: the folder that has both, and tables about them.
    """

    images: Path
    masks: Path
    both: Path


def read_pairs(
    root: Path,
    name: str,
    *,
    path_column: str = "path",
    columns: Sequence[str] = (),
    unknown: Unknown = "refuse",
) -> Listing:
    """List the images of ``root/images`` and below, each with the mask of the same name in ``root/masks``.

    The folder of the masks may also be called ``annotations`` or ``labels``. Suffixes do not count; folders below do.
    An ending that the names of all masks have beyond those of their images, such as ``_mask``, does not count either. A
    folder within the folder of images, such as ``street/images/train``, goes with the same one of the masks.

    Args:
        root: the folder, or one of images with masks of the same name elsewhere.
        name: see :class:`auxo.data.sources.AbstractSource`.
        path_column: column of ``labels.csv`` that has the path of each image from there.
        columns: further columns, read from ``labels.csv`` in the folder of both.
        unknown: whether a mask without an image is refused, or left out.

    Raises:
        DataError: a folder is missing or empty, two files of it differ in the suffix alone, a mask has no image, or the
            table fits the images badly.
    """
    images, masks, both = _find_folders(root)
    files, _, _, leftovers = list_tree(images)
    found = list_tree(masks)
    image_of = _key_files(files, images)
    mask_of = _strip_ending(_key_files(found.images, masks), image_of)
    lonely = [file for key, file in mask_of.items() if key not in image_of]
    if lonely and unknown != "ignore":
        got, fix = f"none for {lonely[0]}", f"add it, remove the mask, or {LEAVE_OUT}"
        raise DataError(f"an image in {images} for every mask", got, fix)
    keys = list(image_of)
    listing = Listing(
        name,
        FileImages(files),
        {},
        masks=FileImages([mask_of.get(key, masks) for key in keys]),  # the folder is never read: see unmasked
        unmasked=tuple(row for row, key in enumerate(keys) if key not in mask_of),
        notes=(
            *describe_leftovers(name, [*leftovers, *found.leftovers]),
            *([f"left out {len(lonely)} masks of '{name}' that have no image"] if lonely else []),
        ),
    )
    return add_columns(listing, both, files, path_column, columns)


def _find_folders(root: Path) -> PairFolders:
    """Return the folders of images and of masks that a folder has, or is one of.

    Raises:
        DataError: it has none, or several of masks.
    """
    parts = [each for each in (root, *root.parents) if each.name == IMAGES]
    for both, below in [(root, Path()), *((part.parent, root.relative_to(part)) for part in parts)]:
        masks = [both / folder / below for folder in MASKS if (both / folder / below).is_dir()]
        if (both / IMAGES / below).is_dir() and masks:
            if len(masks) > 1:
                got = " and ".join(str(each) for each in masks)
                raise DataError("one folder of masks", got, "move one of them away")
            return PairFolders(both / IMAGES / below, masks[0], both)
    folders = [folder.name for folder in list_entries(root).folders]
    fix = "pair every image with a mask of the same name; folders of classes want --task.name classification"
    shown = ", ".join(folders) if folders else "no folders"
    raise DataError(f"the folders {IMAGES} and {MASKS[0]} (or {', '.join(MASKS[1:])})", f"{shown} in {root}", fix)


def _strip_ending(masks: dict[str, Path], images: Collection[str]) -> dict[str, Path]:
    """Return masks by the names of their images, where none has one and all have the same ending more."""
    first = next(iter(masks))
    endings = [first.removeprefix(key) for key in images if first.startswith(key)]
    ending = min(endings, key=len, default="")  # of a_1_mask beside the images a and a_1, that is _mask
    if masks.keys() & set(images) or not ending or not all(key.endswith(ending) for key in masks):
        return masks
    return {key.removesuffix(ending): file for key, file in masks.items()}


def _key_files(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Return files by what pairs them: the path below their folder without the suffix, in one Unicode form."""
    found: dict[str, Path] = {}
    for file in files:
        key = unicodedata.normalize("NFC", file.relative_to(folder).with_suffix("").as_posix())
        if found.setdefault(key, file) != file:
            got = f"{found[key]} and {file}"
            raise DataError("files whose names differ in more than the suffix", got, "remove or rename one of them")
    return found
