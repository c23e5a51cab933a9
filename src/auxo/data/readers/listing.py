"""What every reader returns: images, what is written of them, and how that becomes numbers."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from auxo.data.columns import HIDDEN
from auxo.data.config import Unknown
from auxo.data.decode import AbstractEncodedImages, ImageSize, read_bytes
from auxo.data.readers.kept import LEAVE_OUT, KeptImages, describe_unknown
from auxo.data.readers.leftovers import is_leftover
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.types import LABEL, Column

INTEGER = re.compile(r"[+-]?[0-9]+")
"""A whole number as it is written."""

HUB_PREFIX = "hf://"
"""What the name of a data set of the ``datasets`` library starts with."""

NO_VALUE = "(none)"
"""The group of images without a value of a column that decides nothing but groups."""


class AskedColumns(NamedTuple):
    """What is read of a table.

    Args:
        image: column of the images, or of their paths in a CSV.
        label: column of ``label``; ``None`` reads none.
        further: further columns. Without ``label`` they are read only where all of them are there.
        mask: column of the masks, or of their paths in a CSV; ``None`` reads none.
    """

    image: str
    label: str | None
    further: tuple[str, ...] = ()
    mask: str | None = None

    def name_options(self, image: str) -> dict[str, str]:
        """Return the option that names each column, by column, given that of the images."""
        options = {self.image: image, **dict.fromkeys(self.further, "columns")}
        options |= {} if self.label is None else {self.label: "label-column"}
        return options if self.mask is None else {**options, self.mask: "mask-column"}


def list_parquet(path: Path) -> list[Path]:
    """Return a Parquet file, or all Parquet files of a folder in the order of their names; none where it is neither."""
    if not os.path.isdir(path):  # the function, unlike the method, is false for names that cannot be
        return [path] if _is_parquet_name(path.name) else []
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if _is_parquet_name(entry.name) and not entry.is_dir()]
    except OSError:  # who lists its images tells why
        return []
    return [path / name for name in sorted(names)]


def _is_parquet_name(name: str) -> bool:
    """Whether a file's name is that of a Parquet file, and of one that counts."""
    return name.lower().endswith(".parquet") and not is_leftover(name)


class FileImages(AbstractEncodedImages):
    """Images in files.

    Args:
        paths: one per row.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = [str(path) for path in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> bytes:
        """See :meth:`AbstractEncodedImages.read`."""
        return read_bytes(self.paths[row])

    def describe(self, row: int) -> str:
        """Return the path."""
        return self.paths[row]


@dataclass(frozen=True)
class Listing:
    """A set as it was found.

    Args:
        name: see :class:`auxo.data.sources.AbstractSource`.
        encoded: the images.
        columns: by name; one value per image, all names or all whole numbers from 0; ``None`` where there is none.
        vocabulary: what the whole numbers of columns stand for, where the set says so.
        table: the file that the further columns are in, where the images do not tell it.
        optional: further columns without whose value an image stays, in the group :data:`NO_VALUE`.
        masks: a mask for every image, row for row; ``None`` where there are none.
        unmasked: rows of images whose mask is missing.
        notes: what a person should know of the set, a sentence each.
    """

    name: str
    encoded: AbstractEncodedImages
    columns: Mapping[str, Sequence[int | str | None]]
    vocabulary: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    table: str | None = None
    optional: tuple[str, ...] = ()
    masks: AbstractEncodedImages | None = None
    unmasked: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def to_source(
        self, vocabulary: Mapping[str, tuple[str, ...]], *, image_size: ImageSize, unknown: Unknown = "refuse"
    ) -> StreamingSource:
        """Return the set as a source, its columns numbered: by sorted names, or as they are where they are numbers.

        Args:
            vocabulary: of the training set, by column; what whole numbers stand for where this set does not say it.
            image_size: see :class:`auxo.data.sources.StreamingSource`.
            unknown: what to do with images without a value, or with a number that stands for nothing.

        Raises:
            DataError: a number is negative or too large, or a value is missing; the message names the row.
        """
        kept = self._keep_images(unknown)
        numbered = {
            name: self._read_numbers(name, values, vocabulary, kept)
            for name, values in self.columns.items()
            if any(isinstance(value, int) for value in values)
        }
        rows = kept.places()
        columns = {name: column._replace(values=column.values[rows]) for name, column in numbered.items()}
        for name, values in self.columns.items():
            if name not in numbered:
                names = [None if values[row] is None else str(values[row]) for row in rows.tolist()]
                columns[name] = number_names(names, is_sorted_as_text=name == LABEL)  # so folders 9 and 10 always were
        source = StreamingSource(self.name, self.encoded, columns, image_size=image_size, rows=rows)
        source.notes = (*self.notes, *kept.notes())
        return source

    def _keep_images(self, unknown: Unknown) -> KeptImages:
        """Return the images of which every value is there that must be."""
        kept = KeptImages(self.name, len(self.encoded), unknown=unknown)
        for name, values in self.columns.items():
            if name not in self.optional:
                self._drop_missing(kept, name, values)
        is_unmasked = torch.zeros(len(self.encoded), dtype=torch.bool)
        is_unmasked[list(self.unmasked)] = True
        kept.drop(is_unmasked, "without a mask", self._refuse_unmasked)
        return kept

    def _refuse_unmasked(self, row: int) -> DataError:
        """Return the error for an image without a mask."""
        fix = f"add it, remove the image, or {LEAVE_OUT}"
        return DataError("a mask for every image", f"none for {self.encoded.describe(row)}", fix)

    def _drop_missing(self, kept: KeptImages, name: str, values: Sequence[int | str | None]) -> None:
        """Leave out, or refuse, the images without a value."""
        place = "" if self.table is None else f" in {self.table}"

        def refuse(row: int) -> DataError:
            got = f"none for {self.encoded.describe(row)}{place}"
            expected, fix = f"a value of '{name}' for every image", f"fill it in, remove the image, or {LEAVE_OUT}"
            return DataError(expected, got, fix)

        kept.drop(torch.tensor([value is None for value in values]), f"without a value of '{name}'", refuse)

    def _read_numbers(
        self,
        name: str,
        values: Sequence[int | str | None],
        vocabulary: Mapping[str, tuple[str, ...]],
        kept: KeptImages,
    ) -> Column:
        """Return a column of whole numbers, -1 where an image is left out."""
        present = [int(values[row] or 0) for row in kept.places().tolist()]
        own = self.vocabulary.get(name, vocabulary.get(name))
        is_named = own is not None
        if own is None:  # with more names than images, one would have none
            own = tuple(str(i) for i in range(min(max(present) + 1, len(present))))
        is_told = [value is not None and 0 <= int(value) < len(own) for value in values]
        numbers = torch.tensor(
            [int(value or 0) if told else HIDDEN for value, told in zip(values, is_told, strict=True)]
        )

        def refuse(row: int) -> DataError:
            return DataError(
                f"values of '{name}' in 0..{max(len(own), 1) - 1}",
                f"{values[row]} at {self.encoded.describe(row)}",
                "number what it tells apart from 0, and leave images without a value out",
            )

        # Of what the set itself names only -1 has no name.
        reason = f"without a value of '{name}'" if name in self.vocabulary else describe_unknown(name)
        kept.drop(numbers == HIDDEN, reason, refuse, is_fatal=not is_named)
        return Column(numbers, own)


def number_names(values: Sequence[str | None], *, is_sorted_as_text: bool = False) -> Column:
    """Return a column of values as they are written, its names sorted: as numbers where all are whole numbers.

    What has no value is of the last name, :data:`NO_VALUE`.

    Args:
        values: one per image.
        is_sorted_as_text: sort whole numbers as other names, so that "10" stands before "9".

    Example:
        >>> number_names(["10", "9", "10"])
        Column(values=tensor([1, 0, 1]), names=('9', '10'))
    """
    found = [NO_VALUE if value is None else value for value in values]
    names = sorted(set(found) - {NO_VALUE})
    if not is_sorted_as_text and all(INTEGER.fullmatch(name) for name in names):
        names.sort(key=int)
    names += [NO_VALUE] if NO_VALUE in found else []
    number = {name: i for i, name in enumerate(names)}
    return Column(torch.tensor([number[value] for value in found], dtype=torch.int64), tuple(names))
