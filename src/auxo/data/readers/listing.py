"""What every reader returns: images, what is written of them, and how that becomes numbers."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.data.columns import HIDDEN
from auxo.data.config import Unknown
from auxo.data.decode import AbstractEncodedImages, ImageSize, read_bytes
from auxo.data.names import INTEGER, NameLookup, find_combined, normalise_name, refuse_alike
from auxo.data.readers.kept import LEAVE_OUT, KeptImages, describe_unknown, refuse_unknown
from auxo.data.readers.leftovers import is_leftover
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.types import LABEL, Column

HUB_PREFIX = "hf://"
"""What the name of a data set of the ``datasets`` library starts with."""

NO_VALUE = "(none)"
"""The group of images without a value of a column that decides nothing but groups."""

_ROWS_SHOWN = 3


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
        columns: by name; one value per image, all names or all whole numbers; ``None`` where there is none. Names may
            have spaces around them and any Unicode form.
        vocabulary: what the whole numbers of columns, from 0, stand for, where the set says so.
        table: the file that the further columns are in, where the images do not tell it.
        optional: further columns without whose value an image stays, in the group :data:`NO_VALUE`.
        masks: a mask for every image, row for row; ``None`` where there are none.
        unmasked: rows of images whose mask is missing.
        notes: what a person should know of the set, a sentence each.
        members: rows of the images that belong to the set; ``None`` where all do.
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
    members: tuple[int, ...] | None = None

    def select(self, column: str, values: Collection[str], *, name: str, keeps: bool) -> "Listing":
        """Return the images with some values of a further column as a set called ``name``.

        Args:
            column: its name.
            values: that belong to the set.
            name: of the set.
            keeps: whether the set still has the column.
        """
        members = tuple(row for row, value in enumerate(self.columns[column]) if value in values)
        columns = {key: cells for key, cells in self.columns.items() if keeps or key != column}
        return replace(self, name=name, columns=columns, members=members)

    def to_source(
        self, vocabulary: Mapping[str, tuple[str, ...]], *, image_size: ImageSize, unknown: Unknown = "refuse"
    ) -> StreamingSource:
        """Return the set as a source, its columns numbered by sorted names.

        Whole numbers mean what :attr:`vocabulary` says; else the classes of these names of the training set, or
        positions where its names are words, see :class:`auxo.data.names.NameLookup`; else they are names themselves.

        Args:
            vocabulary: of the training set, by column.
            image_size: see :class:`auxo.data.sources.StreamingSource`.
            unknown: what to do with images without a value, or with a number that stands for nothing.

        Raises:
            DataError: a number names nothing, or a value is missing; the message names the row.
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
        source.notes = (*self.notes, *kept.notes(), *self._describe_combined(columns, rows, vocabulary))
        return source

    def _keep_images(self, unknown: Unknown) -> KeptImages:
        """Return the images of which every value is there that must be."""
        members = None if self.members is None else torch.tensor(self.members, dtype=torch.int64)
        kept = KeptImages(self.name, len(self.encoded), unknown=unknown, members=members)
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
        own, known = self.vocabulary.get(name), vocabulary.get(name)
        if own is not None:
            refuse_alike(own, where=f"'{self.name}'")
            own = tuple(map(normalise_name, own))
        present = {int(value) for row in kept.places().tolist() if (value := values[row]) is not None}
        # What nothing names is called by its number, from 0 or not; a negative one has no name and is refused.
        names = own if own is not None else known
        if names is None:
            names = tuple(str(number) for number in sorted(present) if number >= 0)
        lookup = NameLookup(names)
        find = lookup.find_number if own is None else lookup.find_position
        found = [None if value is None else find(int(value)) for value in values]
        numbers = torch.tensor([HIDDEN if place is None else place for place in found])

        def refuse(row: int) -> DataError:
            got = f"{values[row]} at {self.encoded.describe(row)}"
            if known is not None and own is None and lookup.has_numbers:
                return refuse_unknown(name, names, got)
            fix = "number what it tells apart from 0, and leave images without a value out"
            is_named = own is not None or known is not None
            range_ = f"in 0..{max(len(names), 1) - 1}" if is_named else "of whole numbers from 0 or names"
            return DataError(f"values of '{name}' {range_}", got, fix)

        # Of what the set itself names only -1 has no name.
        reason = f"without a value of '{name}'" if own is not None else describe_unknown(name)
        kept.drop(numbers == HIDDEN, reason, refuse, is_fatal=own is None and known is None)
        return Column(numbers, names)

    def _describe_combined(
        self, columns: Mapping[str, Column], rows: Int[Tensor, " n"], vocabulary: Mapping[str, tuple[str, ...]]
    ) -> tuple[str, ...]:
        """Return a sentence about labels that look like several in one, if there are any."""
        column = columns.get(LABEL, Column(rows[:0], ()))
        names = find_combined(column.names, vocabulary.get(LABEL, ()))
        if not names:
            return ()
        numbers = torch.tensor([number for number, name in enumerate(column.names) if name in names])
        places = torch.isin(column.values, numbers).nonzero().flatten().tolist()
        first = repr(column.names[int(column.values[places[0]])])
        shown = ", ".join(self.encoded.describe(int(rows[place])) for place in places[:_ROWS_SHOWN])
        more = f" and {len(places) - _ROWS_SHOWN} more" if len(places) > _ROWS_SHOWN else ""
        many = "label of 1 image" if len(places) == 1 else f"labels of {len(places)} images"
        why = "each is taken for one class of its own, because an image has one label"
        return (f"the {many} of '{self.name}' may be several in one, as {first}: {shown}{more}; {why}",)


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
    found = [NO_VALUE if value is None else normalise_name(value) for value in values]
    names = sorted(set(found) - {NO_VALUE})
    if not is_sorted_as_text and all(INTEGER.fullmatch(name) for name in names):
        names.sort(key=int)
    names += [NO_VALUE] if NO_VALUE in found else []
    number = {name: i for i, name in enumerate(names)}
    return Column(torch.tensor([number[value] for value in found], dtype=torch.int64), tuple(names))
