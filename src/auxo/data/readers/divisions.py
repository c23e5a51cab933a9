"""How names divide a set: folders, files or splits of the hub that are called train, val and test."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from auxo.data.config import DataConfig
from auxo.data.readers.files import IMAGES, MASKS, list_entries
from auxo.data.readers.kinds import list_images
from auxo.data.readers.listing import HUB_PREFIX, Listing, list_parquet
from auxo.errors import DataError
from auxo.files.moved import find_path
from auxo.types import LABEL

DOES = {"train": "trains", "val": "validates", "test": "tests"}
"""What the images of a role do."""

_ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_HIDDEN_LABELS = (None, -1)
_SHOWN = 6


class Part(NamedTuple):
    """A set, or a part of one.

    Args:
        spec: what is named: a folder, a file, an address.
        listing: what was found of the part there; ``None`` where ``spec`` is the set, still to be listed.
    """

    spec: str
    listing: Listing | None = None

    def list_images(self, config: DataConfig, *, mask: str | None) -> Listing:
        """Return what there is; see :func:`auxo.data.readers.kinds.list_images`."""
        return list_images(self.spec, config, mask=mask) if self.listing is None else self.listing


class Divided(NamedTuple):
    """How a set is divided by names.

    Args:
        parts: by role.
        names: what they are called there, by role.
        unused: names that say nothing.
    """

    parts: dict[str, Part]
    names: dict[str, str]
    unused: tuple[str, ...] = ()


def find_splits(spec: str, config: DataConfig, mask: str | None) -> Divided | None:
    """Return how names divide a set, if they do.

    Args:
        spec: the set, none that a Python file makes.
        config: gives columns.
        mask: the target that a mask beside every image gives; ``None`` where images have labels.

    Raises:
        DataError: the names contradict each other, or something cannot be read.
    """
    if spec.startswith(HUB_PREFIX):
        return _find_hub_splits(spec, config, mask)
    path = find_path(spec)
    if not os.path.isdir(path):
        return None
    if tables := list_parquet(path):
        return _group_tables(spec, tables, config, mask)
    folders = _find_split_folders(path, mask)
    if folders is not None:
        return _check_roles(spec, {name: Part(os.path.join(spec, name)) for name in folders}, what="folder")
    lists = [file for file in list_entries(path).others if file.suffix.lower() == ".csv"]
    if {"train"} < {find_role(file.stem) for file in lists} - {None}:
        named = {file.name: Part(os.path.join(spec, file.name)) for file in lists if find_role(file.stem)}
        return _check_roles(spec, named, what="file")
    return None


def find_role(name: str) -> str | None:
    """Return what images are for by the name of their folder, split or file, if it says so.

    Example:
        >>> [find_role(name) for name in ("Validation", "train-00000-of-00002", "test.parquet", "trains", "cat")]
        ['val', 'train', 'test', None, None]
    """
    word = name.casefold()
    for mark in "-_. ":
        word = word.partition(mark)[0]
    return _ROLES.get(word)


def _find_split_folders(path: Path, mask: str | None) -> list[str] | None:
    """Return the folders of a folder whose names divide it, relative to it; ``None`` where they do not."""
    entries = list_entries(path)
    names = {folder.name: folder for folder in entries.folders}
    if mask is not None and (path / IMAGES).is_dir() and any((path / masks).is_dir() for masks in MASKS):
        below = [folder.name for folder in list_entries(path / IMAGES).folders]
        divides = len(below) > 1 and all(name.casefold() in _ROLES for name in below)
        return [f"{IMAGES}/{name}" for name in below] if divides else None
    roles = [name for name in names if name.casefold() in _ROLES]
    if not roles or len(names) < 2:
        return None
    is_set = {name: holds_set(names[name], mask) for name in names}
    if all(is_set.values()):
        return list(names)
    if len(roles) == len(names) and mask is None:
        _refuse_undivided(path, next(name for name in roles if not is_set[name]), names)
    return None


def _refuse_undivided(path: Path, name: str, folders: Mapping[str, Path]) -> None:
    """Refuse a folder that is called as a split and has no classes of its own."""
    inside = list_entries(path / name)
    if inside.images:
        fix = f"move the images of each class to a folder of its own, as {path / name}/CLASS"
        own = next((folders[each] for each in folders if find_role(each) == "train"), None)
        fix += f", or name the training images alone: --data.train {own}" if own not in (None, path / name) else ""
        raise DataError(f"class folders in {path / name}", f"the image {inside.images[0].name}", fix)
    if not inside.folders:
        raise DataError(f"class folders in {path / name}", "none", "fill the folder, or remove it")
    below = [folder.name for folder in inside.folders]
    first, last = (path / each for each in (min(folders, key=_order_roles), max(folders, key=_order_roles)))
    fix = f"name each set: --data.train {first / below[0]} --data.test {last / below[0]}"
    fix += f" --data.ood {last / below[1]}" if len(below) > 1 else ""
    raise DataError(f"class folders in {path / name}", f"folders of folders, such as {below[0]}", fix)


def _order_roles(name: str) -> int:
    """Return a number by which folders that train stand first, and those that test last."""
    return list(DOES).index(find_role(name) or "test")


def holds_set(folder: Path, mask: str | None) -> bool:
    """Whether a folder has class folders with images, or with ``mask`` images and masks, or Parquet files.

    Raises:
        DataError: it cannot be read.
    """
    if list_parquet(folder):
        return True
    entries = list_entries(folder)
    if mask is not None:
        return (folder / IMAGES).is_dir() and any((folder / masks).is_dir() for masks in MASKS)
    return not entries.images and any(list_entries(each).images for each in entries.folders[:_SHOWN])


def _group_tables(spec: str, tables: Sequence[Path], config: DataConfig, mask: str | None) -> Divided | None:
    """Return how the names of Parquet files divide them, if they do."""
    if len({find_role(file.name) for file in tables}) < 2:
        return None
    groups: dict[str, list[Path]] = {}
    for file in tables:
        groups.setdefault(find_role(file.name) or file.name, []).append(file)
    found = {}
    for name, files in groups.items():
        place = os.path.join(spec, files[0].name)
        is_one = len(files) == 1
        found[name] = Part(place, None if is_one else list_images(place, config, mask=mask, files=files))
    return _check_roles(spec, found, what="file")


def _find_hub_splits(spec: str, config: DataConfig, mask: str | None) -> Divided | None:
    """Return the splits of a data set that trains, validates or tests; a test without labels is not used."""
    from auxo.data.readers.table import list_hub_splits

    names = list_hub_splits(spec)
    by_role: dict[str, str] = {}
    for name in names:
        if (role := _ROLES.get(name.casefold())) is not None:
            by_role.setdefault(role, name)
    if "train" not in by_role or len(by_role) < 2:
        return None
    parts = {role: Part(f"{spec}:{name}") for role, name in by_role.items()}
    for role, part in list(parts.items()):
        listing = list_images(part.spec, config, mask=mask)
        if role == "test" and mask is None and all(value in _HIDDEN_LABELS for value in listing.columns[LABEL]):
            by_role.pop(role)
            continue
        parts[role] = Part(part.spec, listing)
    by_role = {role: by_role[role] for role in DOES if role in by_role}
    unused = tuple(name for name in names if name not in by_role.values())
    return Divided({role: parts[role] for role in by_role}, by_role, unused)


def _check_roles(spec: str, parts: Mapping[str, Part], *, what: str) -> Divided:
    """Return folders or files by role, or refuse those that contradict each other."""
    by_role: dict[str, str] = {}
    strange = [name for name in parts if find_role(Path(name).name) is None]
    for name in parts:
        role = find_role(Path(name).name)
        if role is None:
            continue
        if role in by_role:
            got, fix = f"{by_role[role]} and {name} in {spec}", _name_each(parts, {**by_role, role: name})
            raise DataError(f"one {what} that {DOES[role]}", got, fix)
        by_role[role] = name
    if strange:
        got = f"also {', '.join(strange[:_SHOWN])} in {spec}"
        raise DataError(f"{what}s called train, val and test", got, _name_each(parts, by_role, strange))
    if "train" not in by_role:
        got, fix = f"{', '.join(by_role.values())} in {spec}", "name the training images by --data.train"
        raise DataError(f"a {what} that trains beside the others", got, fix)
    names = {role: by_role[role] for role in DOES if role in by_role}
    return Divided({role: parts[name] for role, name in names.items()}, names)


def _name_each(parts: Mapping[str, Part], by_role: Mapping[str, str], others: Sequence[str] = ()) -> str:
    """Return the options that name parts one by one."""
    words = [f"--data.{role} {parts[name].spec}" for role, name in by_role.items()]
    words += [f"--data.ood {' '.join(parts[name].spec for name in others[:_SHOWN])}"] if others else []
    return f"name each: {' '.join(words)}"
