"""Parquet and Hugging Face data sets, read through the ``datasets`` library and memory-mapped."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.utils as hub
import numpy as np
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Value
from datasets.exceptions import DatasetsError
from pyarrow import ArrowException, parquet

from auxo.data.columns import suggest_columns
from auxo.data.decode import AbstractEncodedImages, read_bytes
from auxo.data.hub import may_ask_hub, offline_libraries
from auxo.data.names import normalise_name
from auxo.data.readers.converted import link_folder, open_parquet
from auxo.data.readers.listing import HUB_PREFIX, AskedColumns, Listing, list_parquet
from auxo.errors import ConfigError, DataError
from auxo.files.moved import find_path
from auxo.types import LABEL

_CLASSES = b"classes"
# What the libraries raise on damaged files, of which a card is YAML.
_DAMAGE = (
    *(DatasetsError, ArrowException, OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError),
    yaml.YAMLError,
)


class TableImages(AbstractEncodedImages):
    """Encoded images in one column of a data set.

    Args:
        dataset: memory-mapped; the column holds encoded images.
        column: name of the column.
        where: the table's name in messages.
        option: what names the column, for messages.

    Raises:
        DataError: the column does not hold encoded images.
    """

    def __init__(self, dataset: Dataset, column: str, where: str, *, option: str = "image-column") -> None:
        feature = dataset.features[column]
        is_encoded = isinstance(feature, dict) and "bytes" in feature
        is_binary = isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")
        if not (isinstance(feature, datasets.Image) or is_encoded or is_binary):
            got = f"{feature} in '{column}' of {where}"
            raise DataError("a column of encoded images", got, f"name another with --data.{option}")
        self.dataset = dataset.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        self.column = column
        self.where = where

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, row: int) -> bytes:
        """See :meth:`AbstractEncodedImages.read`."""
        cell = self.dataset[row][self.column]
        if cell is not None and cell["bytes"] is not None:
            return bytes(cell["bytes"])
        if cell is None or cell["path"] is None:
            raise DataError("an image in every row", f"none in {self.describe(row)}", "remove the row")
        return read_bytes(cell["path"])

    def describe(self, row: int) -> str:
        """Return row, counted from 0, and table."""
        return f"row {row} of {self.where}"


def read_parquet(path: Path, name: str, asked: AskedColumns, *, files: Sequence[Path] = ()) -> Listing:
    """List a Parquet file, or all Parquet files of a folder in the order of their names, or the ``files`` given.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    with _silence_libraries(), _tell_in_one_line(str(path), "check that it is a whole Parquet file"):
        dataset = open_parquet(files or list_parquet(path))
    return _list_dataset(dataset, name, str(path), asked)


def read_file_names(path: Path, image_column: str) -> list[str | None]:
    """Return what the images of a Parquet file were called as files; ``None`` where a row does not tell.

    Raises:
        DataError: the file cannot be read.
    """
    # Of a path the library would take names of folders for columns.
    with _tell_in_one_line(str(path), "check that it is a whole Parquet file"), path.open("rb") as file:
        found = parquet.ParquetFile(file).read(columns=[f"{image_column}.path"])
    cells = found.column(0).to_pylist() if found.num_columns else [None] * found.num_rows
    return [cell["path"] if isinstance(cell, dict) else cell for cell in cells]  # a struct of one field, or that field


def read_class_names(path: Path) -> tuple[str, ...] | None:
    """Return the classes of masks, a JSON list under the key ``classes`` of a Parquet file's metadata, if it is there.

    Args:
        path: a Parquet file, or a folder of such, of which the first counts.

    Raises:
        DataError: the file cannot be read, or the key holds anything else.
    """
    file = list_parquet(path)[0]
    with _tell_in_one_line(str(file), "check that it is a whole Parquet file"):
        with file.open("rb") as opened:
            text = (parquet.read_schema(opened).metadata or {}).get(_CLASSES)
        names = None if text is None else json.loads(text)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"a list of names under classes in the metadata of {file}", str(names), "pass --data.classes")
    return tuple(names)


def read_hub(spec: str, asked: AskedColumns) -> Listing:
    """List ``hf://owner/name[:split]``, or a data set on disk: ``hf:///absolute/path[:split]``, ``hf://./relative``.

    In full a name on the hub is ``hf://owner/name[/folder][@revision][:split]``. The split is ``train`` where none is
    named and there are several; ``a+b`` is two, one after the other. Code that comes with a data set is never run.
    Without a label column ``label`` is not read, and further columns only where all of them are there.

    Raises:
        DataError: it cannot be reached or read, there is no such split, or a column is missing.
    """
    address, _, split = spec.removeprefix(HUB_PREFIX).partition(":")
    dataset = _choose_split(_load(spec), split, spec)
    if not _is_local(address):
        address = _hub_address(address)[0]
    name = "-".join(filter(None, (address.rstrip("/").rpartition("/")[2], split)))
    return _list_dataset(dataset, name, spec, asked)


def list_hub_splits(spec: str) -> tuple[str, ...]:
    """Return the names of the splits of an address as :func:`read_hub` takes it; none where it names one or has none.

    Raises:
        DataError: it cannot be reached or read.
    """
    if spec.removeprefix(HUB_PREFIX).partition(":")[1]:
        return ()
    loaded = _load(spec)
    return tuple(map(str, loaded)) if isinstance(loaded, DatasetDict) else ()


def _is_local(address: str) -> bool:
    """Whether an address is a place on this machine."""
    return address.startswith(("/", "./", "../", "~"))


def _load(spec: str) -> Dataset | DatasetDict:
    """Return what an address names, of the hub only the split that it names, if it does."""
    address, _, split = spec.removeprefix(HUB_PREFIX).partition(":")
    with _silence_libraries(), _tell_in_one_line(spec, "check the name and the network, or give a local copy"):
        if _is_local(address):
            loaded = _load_local(find_path(address).resolve())
            _check_buffers(loaded)
            return loaded
        address, folder, revision = _hub_address(address)
        return _load_from_hub(address, folder, revision, split or None, spec)


def _load_from_hub(
    address: str, folder: str | None, revision: str | None, split: str | None, spec: str
) -> Dataset | DatasetDict:
    """Return a data set of the hub, from this machine's cache alone where the hub may not be contacted."""
    if may_ask_hub():
        return datasets.load_dataset(address, data_dir=folder, revision=revision, split=split)
    try:
        with offline_libraries():
            return datasets.load_dataset(address, data_dir=folder, revision=revision, split=split)
    except (OSError, ValueError, DatasetsError) as error:
        fix = "pass --hub if you trust it, or name a set of yours with --data"
        expected = f"your leave to contact the Hugging Face hub for {spec}, which the run names"
        raise ConfigError(expected, "none, and this machine does not have it", fix) from error


def _hub_address(address: str) -> tuple[str, str | None, str | None]:
    """Return repository, folder and revision of ``owner/name[/folder][@revision]``."""
    path, _, revision = address.partition("@")
    owner, _, rest = path.partition("/")
    name, _, folder = rest.partition("/")
    return "/".join(filter(None, (owner, name))), folder or None, revision or None


def _load_local(path: Path) -> Dataset | DatasetDict:
    """Load what ``save_to_disk`` wrote, or a folder that ``load_dataset`` understands."""
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    if not ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
        return datasets.load_dataset(str(link_folder(path)))
    for folder, _, names in os.walk(path):  # a pipe would wait, a device never end
        for name in names:
            if not os.path.isfile(os.path.join(folder, name)):
                raise FileNotFoundError(f"{os.path.join(folder, name)} is no file")
    return datasets.load_from_disk(str(path))


def _check_buffers(loaded: Dataset | DatasetDict) -> None:
    """Refuse a data set whose files are damaged: they are mapped into memory, and reading ends the process there.

    Raises:
        ArrowException: a value lies outside its file.
    """
    for part in [loaded] if isinstance(loaded, Dataset) else loaded.values():
        part.data.table.validate(full=True)  # reads lengths and text, not images


def _choose_split(loaded: Dataset | DatasetDict, split: str, spec: str) -> Dataset:
    """Return the named split, the only one, or ``train``."""
    if isinstance(loaded, Dataset):
        return loaded
    default = next(iter(loaded)) if len(loaded) == 1 else "train"
    wanted = [split or default] if split in loaded else (split or default).split("+")
    for name in wanted:
        if name not in loaded:
            got, fix = f"'{name}' of {spec}", "name one after a colon: hf://owner/name:split"
            raise DataError(f"one of the splits {', '.join(loaded)}", got, fix)
    return loaded[wanted[0]] if len(wanted) == 1 else datasets.concatenate_datasets([loaded[name] for name in wanted])


def _list_dataset(dataset: Dataset, name: str, where: str, asked: AskedColumns) -> Listing:
    """Take images, and what else is asked for, out of a data set."""
    dataset = _rename_alike(dataset, (*asked.name_options("image-column"), *asked.further))
    if asked.label is None and not set(asked.further) <= set(dataset.column_names):
        asked = asked._replace(further=())
    image_column, label_column, columns, mask_column = asked
    for column, option in asked.name_options("image-column").items():
        if column not in dataset.column_names:
            got = f"the columns {', '.join(dataset.column_names)} in {where}"
            near = suggest_columns([column], dataset.column_names)
            raise DataError(f"a column '{column}'", got, f"{near}name it with --data.{option}")
    if not len(dataset):
        raise DataError("at least one row", f"none in {where}", "check the path and the split")
    images = TableImages(dataset, image_column, where)
    found: dict[str, Sequence[int | str | None]] = {each: _read_names(dataset, each, where) for each in columns}
    if mask_column is not None:
        masks = TableImages(dataset, mask_column, where, option="mask-column")
        return Listing(name, images, found, masks=masks, unmasked=_find_empty(dataset, mask_column))
    if label_column is None:
        return Listing(name, images, found)
    feature = dataset.features[label_column]
    if not _is_numbers_or_names(feature):
        got = f"{feature} in '{label_column}' of {where}"
        is_list = isinstance(feature, datasets.List | datasets.LargeList)
        fix = "give every image one label" if is_list else "name another column with --data.label-column"
        raise DataError("a label column of whole numbers or names", got, fix)
    found[LABEL] = _read_labels(dataset, label_column, where)
    vocabulary = {LABEL: tuple(feature.names)} if isinstance(feature, ClassLabel) else {}
    return Listing(name, images, found, vocabulary)


def _rename_alike(dataset: Dataset, names: Iterable[str]) -> Dataset:
    """Return a data set whose columns are called as asked for where only the Unicode form differs."""
    own = {normalise_name(column): column for column in dataset.column_names}
    missing = [name for name in dict.fromkeys(names) if name not in dataset.column_names]
    renamed = {own[normalise_name(name)]: name for name in missing if normalise_name(name) in own}
    return dataset.rename_columns(renamed) if renamed else dataset


def _find_empty(dataset: Dataset, column: str) -> tuple[int, ...]:
    """Return the rows that have nothing in a column."""
    cells = dataset.select_columns([column]).with_format("arrow")[:].column(0)
    return tuple(np.flatnonzero(cells.is_null().to_numpy()).tolist())


def _is_numbers_or_names(feature: object) -> bool:
    """Whether a column has whole numbers, truth values or names."""
    if not isinstance(feature, Value):
        return isinstance(feature, ClassLabel)
    return feature.dtype.startswith(("int", "uint")) or feature.dtype in ("bool", "string", "large_string")


def _read_names(dataset: Dataset, column: str, where: str) -> list[str | None]:
    """Return a further column as it is written, with the names of classes; ``None`` where a row has no value."""
    feature = dataset.features[column]
    is_quantity = isinstance(feature, Value) and feature.dtype.startswith(("float", "double"))
    if not is_quantity and not _is_numbers_or_names(feature):
        got = f"{feature} in '{column}' of {where}"
        raise DataError("further columns of numbers or names", got, "leave it out of --data.columns")
    values = _read_values(dataset, column)
    if isinstance(feature, ClassLabel):  # whose -1 means that there is none
        return [None if value is None or value < 0 else feature.names[value] for value in values]
    return [None if value is None or value != value else normalise_name(str(value)) or None for value in values]


def _read_labels(dataset: Dataset, column: str, where: str) -> Sequence[int | str | None]:
    """Return a column of labels as whole numbers or names; ``None`` where a row has none."""
    feature = dataset.features[column]
    if isinstance(feature, ClassLabel) or feature.dtype.startswith(("int", "uint")):
        return _read_values(dataset, column)
    return _read_names(dataset, column, where)


def _read_values(dataset: Dataset, column: str) -> Sequence[Any]:
    """Return a column as Python values."""
    values: Sequence[Any] = dataset.select_columns([column])[:][column]
    return values


@contextmanager
def _tell_in_one_line(where: str, fix: str) -> Iterator[None]:
    """Turn what ``datasets`` and the hub raise into one line."""
    try:
        yield
    except _DAMAGE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError("a data set that can be loaded", f"{where} ({reason})", fix) from error


@contextmanager
def _silence_libraries() -> Iterator[None]:
    """Silence the progress bars and log messages of ``datasets`` and the hub, then put them back as they were."""
    loggers = (datasets.utils.logging, hub.logging)
    bars = (datasets, hub)
    levels = [logger.get_verbosity() for logger in loggers]
    were_disabled = [bar.are_progress_bars_disabled() for bar in bars]
    for logger, bar in zip(loggers, bars, strict=True):
        logger.set_verbosity(logger.CRITICAL)  # an error is raised as well, and told in one line
        bar.disable_progress_bars()
    try:
        yield
    finally:
        for logger, bar, level, was_disabled in zip(loggers, bars, levels, were_disabled, strict=True):
            logger.set_verbosity(level)
            if not was_disabled:
                bar.enable_progress_bars()
