"""A folder of images and a folder of masks, paired by their names."""

from collections.abc import Sequence
from pathlib import Path

from auxo.data.config import Unknown
from auxo.data.readers.folder import IMAGES, MASKS, add_columns, list_tree, list_visible
from auxo.data.readers.kept import LEAVE_OUT
from auxo.data.readers.listing import FileImages, Listing
from auxo.errors import DataError


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

    Args:
        root: the folder.
        name: see :class:`auxo.data.sources.AbstractSource`.
        path_column: column of ``labels.csv`` that has the path of each image from ``root``.
        columns: further columns, read from ``root/labels.csv``.
        unknown: whether a mask without an image is refused, or left out.

    Raises:
        DataError: a folder is missing or empty, two files of it differ in the suffix alone, a mask has no image, or the
            table fits the images badly.
    """
    images, masks = _find_folders(root)
    files = list_tree(images)
    image_of, mask_of = _key_files(files, images), _key_files(list_tree(masks), masks)
    lonely = [file for key, file in mask_of.items() if key not in image_of]
    if lonely and unknown != "ignore":
        got, fix = f"none for {lonely[0]}", f"add it, remove the mask, or {LEAVE_OUT}"
        raise DataError(f"an image in {images} for every mask", got, fix)
    keys = list(image_of)
    listing = Listing(
        name,
        FileImages(files),
        {},
        masks=FileImages([mask_of.get(key, masks) for key in keys]),
        unmasked=tuple(row for row, key in enumerate(keys) if key not in mask_of),
        notes=(f"left out {len(lonely)} masks of '{name}' that have no image",) if lonely else (),
    )
    return add_columns(listing, root, files, path_column, columns)


def find_images(root: Path) -> Path:
    """Return where the images of a folder are: in its folder of images, if it has one and one of masks, else itself."""
    has_masks = any((root / masks).is_dir() for masks in MASKS)
    return root / IMAGES if has_masks and (root / IMAGES).is_dir() else root


def _find_folders(root: Path) -> tuple[Path, Path]:
    """Return the folders of images and of masks."""
    folders = [entry.name for entry in list_visible(root) if entry.is_dir()]
    masks = [folder for folder in MASKS if folder in folders]
    if IMAGES not in folders or not masks:
        fix = "pair every image with a mask of the same name; folders of classes want --task.name classification"
        shown = ", ".join(folders) if folders else "no folders"
        raise DataError(f"the folders {IMAGES} and {MASKS[0]} (or {', '.join(MASKS[1:])})", f"{shown} in {root}", fix)
    if len(masks) > 1:
        raise DataError("one folder of masks", f"{' and '.join(masks)} in {root}", "move one of them away")
    return root / IMAGES, root / masks[0]


def _key_files(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Return files by what pairs them: the path below their folder without the suffix."""
    found: dict[str, Path] = {}
    for file in files:
        key = file.relative_to(folder).with_suffix("").as_posix()
        if found.setdefault(key, file) != file:
            got = f"{found[key]} and {file}"
            raise DataError("files whose names differ in more than the suffix", got, "remove or rename one of them")
    return found
