"""A set named by a path or an address, listed by the reader for its kind."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from auxo.data.config import DataConfig
from auxo.data.names import normalise_name
from auxo.data.readers.csv_file import read_csv
from auxo.data.readers.folder import read_folder, read_folder_tree
from auxo.data.readers.listing import HUB_PREFIX, AskedColumns, Listing, list_parquet
from auxo.data.readers.pairs import read_pairs
from auxo.errors import DataError
from auxo.files.moved import find_path, suggest_moved

_KINDS = "a folder, a Parquet or CSV file, hf://owner/name, or file.py:Name"
_GENERIC_NAMES = ("train", "training", "val", "valid", "validation", "test", "data", "images")


def list_images(
    spec: str,
    config: DataConfig,
    *,
    is_labelled: bool = True,
    mask: str | None = None,
    files: Sequence[Path] = (),
    folders: Sequence[str] = (),
) -> Listing:
    """Return what a set has, by the reader for its kind.

    Args:
        spec: see :func:`auxo.data.readers.read_source`.
        config: gives columns.
        is_labelled: whether labels or masks are read.
        mask: the target that a mask beside every image gives; ``None`` reads labels.
        files: Parquet files that are read instead of ``spec``, one after another.
        folders: names of folders in ``spec`` whose class folders are read together.

    Raises:
        DataError: the set cannot be used.
    """
    if files:
        asked = AskedColumns(config.image_column, config.label_column, config.further_columns)
        asked = asked if mask is None else asked._replace(label=None, mask=config.mask_column)
        listing = _read_parquet(Path(spec), _shorten_name(spec, is_folder=os.path.isdir(spec)), asked, files)
    elif folders and mask is None:
        root, name = find_path(spec), _shorten_name(spec, is_folder=True)
        name = "-".join([name, *folders])
        listing = read_folder(root, name, folders, path_column=config.path_column, columns=config.further_columns)
    elif folders:
        fix = "name one, or give a Parquet file or CSV with a column of them"
        raise DataError("one source domain where images have masks", ", ".join(folders), fix)
    else:
        read = _choose_reader if mask is None else _choose_masks_reader
        listing = read(spec, config, is_labelled=is_labelled)
    return replace(listing, optional=config.optional)


def _choose_masks_reader(spec: str, config: DataConfig, *, is_labelled: bool) -> Listing:
    """Return what the reader for a kind of set of images and masks finds; no masks where they do not count."""
    path = find_path(spec)
    if not os.path.isdir(path) or list_parquet(path):
        return _choose_reader(spec, config, is_labelled=False, mask_column=config.mask_column if is_labelled else None)
    name, table = _shorten_name(spec, is_folder=True), config.path_column
    if is_labelled:
        return read_pairs(path, name, path_column=table, columns=config.further_columns, unknown=config.unknown)
    return read_folder_tree(path, name, path_column=table, columns=config.further_columns)


def _choose_reader(spec: str, config: DataConfig, *, is_labelled: bool, mask_column: str | None = None) -> Listing:
    """Return what the reader for a kind of set finds."""
    path_column, columns = config.path_column, config.further_columns
    label_column = config.label_column if is_labelled else None
    asked = AskedColumns(config.image_column, label_column, columns, mask_column)
    if spec.startswith(HUB_PREFIX):
        from auxo.data.readers.table import read_hub

        return read_hub(spec, asked)
    path = find_path(spec)
    name = _shorten_name(spec, is_folder=os.path.isdir(path))
    if os.path.isdir(path):  # the function, unlike the method, is false for names that cannot be
        if list_parquet(path):
            return _read_parquet(path, name, asked)
        read_images = read_folder if is_labelled else read_folder_tree
        return read_images(path, name, path_column=path_column, columns=columns)
    if not os.path.exists(path):
        where = "" if path.is_absolute() else f" (from {Path.cwd()})"
        where = where if str(path) == os.path.expanduser(spec) else f" at {path}"
        raise DataError(_KINDS, f"'{spec}', which is not there{where}", f"{suggest_moved(spec)}check it")
    if list_parquet(path):
        return _read_parquet(path, name, asked)
    if path.suffix.lower() == ".csv":
        return read_csv(path, name, asked._replace(image=path_column))
    is_code = path.suffix.lower() == ".py"
    fix = f"name what makes the source: {path.name}:Name" if is_code else "name its folder, or convert it"
    raise DataError(_KINDS, f"'{spec}'", fix)


def _read_parquet(path: Path, name: str, asked: AskedColumns, files: Sequence[Path] = ()) -> Listing:
    """List Parquet files; the library that reads them takes half a second to import."""
    from auxo.data.readers.table import read_parquet

    return read_parquet(path, name, asked, files=files)


def _shorten_name(spec: str, *, is_folder: bool) -> str:
    """Return a short name: the file's or folder's own, after its folder's where it is one that all sets have.

    It is that of the place that was named, wherever the set is now: records call the set by it.
    """
    path = Path(os.path.expanduser(spec)).resolve()
    name = path.name if is_folder else path.stem
    return normalise_name(f"{path.parent.name}-{name}" if name.lower() in _GENERIC_NAMES else name)
