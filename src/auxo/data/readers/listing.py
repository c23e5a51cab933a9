"""What every reader returns: images, what is written of them, and how that becomes numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.data.columns import NO_LABEL, hide_columns
from auxo.data.config import Unknown
from auxo.data.decode import read_bytes
from auxo.data.readers.kept import LEAVE_OUT, KeptImages
from auxo.data.sources import AbstractEncodedImages, StreamingSource
from auxo.errors import DataError
from auxo.types import LABEL, Column

INTEGER = re.compile(r"[+-]?[0-9]+")
"""A whole number as it is written."""

HUB_PREFIX = "hf://"
"""What the name of a data set of the ``datasets`` library starts with."""

NO_VALUE = "(none)"
"""The group of images without a value of a column that decides nothing but groups."""

_NAMES_SHOWN = 8
_OTHER_CLASS = "of a class that train does not have"


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
        labels: one per image; whole numbers, or names; ``None`` where there is none; empty where they were not read.
        class_names: the names that numbers stand for; ``None`` where they have none, and for labels that are names.
        columns: further columns, as they are written, one value per image; ``None`` where there is none.
        table: the file that the further columns are in, where the images do not tell it.
        optional: further columns without whose value an image stays, in the group :data:`NO_VALUE`.
    """

    name: str
    encoded: AbstractEncodedImages
    labels: Sequence[int | str | None]
    class_names: tuple[str, ...] | None = None
    columns: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    table: str | None = None
    optional: tuple[str, ...] = ()

    def to_source(
        self, class_names: tuple[str, ...] | None, *, image_size: int | None, unknown: Unknown = "refuse"
    ) -> StreamingSource:
        """Return the set as a source, its labels and further columns numbered.

        Args:
            class_names: the training set's classes, which labels are mapped to by name (whole numbers without names
                are taken as its numbers); ``None`` for the training set itself, whose classes are the listed names,
                the sorted names among the labels, or the numbers from 0 to the largest label.
            image_size: see :class:`auxo.data.sources.StreamingSource`.
            unknown: what to do with images without a value, and with those of a class that is not in ``class_names``.

        Raises:
            DataError: a label is negative or too large, a value is missing, or a class is not in ``class_names`` (the
                message names the row), or a training set has fewer than two classes.
        """
        kept = self._kept_images(unknown)
        own_names, numbers = self._number_labels(class_names, kept)
        if class_names is None and len(own_names) < 2:
            got = f"{len(own_names)} ({', '.join(own_names)}) in '{self.name}'"
            raise DataError("images of at least two classes", got, "add another class")
        if class_names is None or own_names == class_names:
            labels, class_names = numbers, own_names
        else:
            labels = self._map_labels(own_names, numbers, class_names, kept)
        return self._make_source(kept, {LABEL: Column(labels[kept.places()], class_names)}, image_size)

    def to_unlabelled_source(
        self, columns: Sequence[str] = (), *, image_size: int | None, unknown: Unknown = "refuse"
    ) -> StreamingSource:
        """Return the set as a source without labels.

        Args:
            columns: the further columns that were asked for; those that the set does not have are hidden.
            image_size: see :class:`auxo.data.sources.StreamingSource`.
            unknown: what to do with images without a value of a column that the set has.

        Raises:
            DataError: such a value is missing; the message names the row.
        """
        kept = self._kept_images(unknown)
        hidden = [LABEL, *(name for name in columns if name not in self.columns)]
        return self._make_source(kept, hide_columns({}, hidden, len(kept.places())), image_size)

    def _make_source(self, kept: KeptImages, columns: Mapping[str, Column], image_size: int | None) -> StreamingSource:
        """Return what is kept as a source with these columns, and the further ones."""
        rows = kept.places()
        further = {name: number_names([values[row] for row in rows.tolist()]) for name, values in self.columns.items()}
        columns = {**columns, **further}
        source = StreamingSource(self.name, self.encoded, image_size=image_size, rows=rows, columns=columns)
        source.notes = kept.notes()
        return source

    def _kept_images(self, unknown: Unknown) -> KeptImages:
        """Return the images of which every value is there that must be."""
        kept = KeptImages(self.name, len(self.encoded), unknown=unknown)
        for name, values in self.columns.items():
            place = "" if self.table is None else f" in {self.table}"
            if name not in self.optional:
                self._drop_missing(kept, values, f"a value of '{name}'", place)
        if self.labels:
            self._drop_missing(kept, self.labels, "a label")
        return kept

    def _drop_missing(self, kept: KeptImages, values: Sequence[int | str | None], what: str, place: str = "") -> None:
        """Leave out, or refuse, the images without a value."""

        def refuse(row: int) -> DataError:
            got = f"none for {self.encoded.describe(row)}{place}"
            return DataError(f"{what} for every image", got, f"fill it in, remove the image, or {LEAVE_OUT}")

        kept.drop(torch.tensor([value is None for value in values]), f"without {what}", refuse)

    def _number_labels(
        self, class_names: tuple[str, ...] | None, kept: KeptImages
    ) -> tuple[tuple[str, ...], Int[Tensor, " n"]]:
        """Return this set's own class names and the numbers of its labels among them, -1 where one is left out."""
        present = [self.labels[row] for row in kept.places().tolist()]
        if all(isinstance(label, str) for label in present):
            names = tuple(sorted({str(label) for label in present}))
            number = {name: i for i, name in enumerate(names)}
            return names, torch.tensor([number.get(str(label), NO_LABEL) for label in self.labels], dtype=torch.int64)
        values = [NO_LABEL if label is None else int(label) for label in self.labels]
        own = self.class_names or class_names
        if own is None:  # with more classes than images, one class would have none
            own = tuple(str(i) for i in range(min(max(values) + 1, len(present))))

        def refuse(row: int) -> DataError:
            return DataError(
                f"labels in 0..{max(len(own), 1) - 1}",
                f"{values[row]} at {self.encoded.describe(row)}",
                "number the classes from 0, and leave images without a label out",
            )

        numbers = [value if 0 <= value < len(own) else NO_LABEL for value in values]
        is_wrong = torch.tensor(numbers) == NO_LABEL
        reason = "without a label" if self.class_names else _OTHER_CLASS  # among named numbers only -1 is no name's
        kept.drop(is_wrong, reason, refuse, is_fatal=class_names is None and self.class_names is None)
        return own, torch.tensor(numbers)

    def _map_labels(
        self, own_names: tuple[str, ...], numbers: Int[Tensor, " n"], class_names: tuple[str, ...], kept: KeptImages
    ) -> Int[Tensor, " n"]:
        """Return the labels as numbers of ``class_names``, -1 where one is left out."""
        number = {name: i for i, name in enumerate(class_names)}
        table = torch.tensor([*(number.get(name, NO_LABEL) for name in own_names), NO_LABEL])
        labels = table[numbers]

        def refuse(row: int) -> DataError:
            return DataError(
                f"classes of the training set ({shorten(class_names)})",
                f"'{own_names[int(numbers[row])]}' at {self.encoded.describe(row)}",
                f"rename the class in '{self.name}', or remove its images",
            )

        kept.drop(labels == NO_LABEL, _OTHER_CLASS, refuse)
        return labels


def number_names(values: Sequence[str | None]) -> Column:
    """Return a column of values as they are written, its names sorted: as numbers where all are whole numbers.

    What has no value is of the last name, :data:`NO_VALUE`.

    Example:
        >>> number_names(["10", "9", "10"])
        Column(values=tensor([1, 0, 1]), names=('9', '10'))
    """
    found = [NO_VALUE if value is None else value for value in values]
    names = sorted(set(found) - {NO_VALUE})
    if all(INTEGER.fullmatch(name) for name in names):
        names.sort(key=int)
    names += [NO_VALUE] if NO_VALUE in found else []
    number = {name: i for i, name in enumerate(names)}
    return Column(torch.tensor([number[value] for value in found], dtype=torch.int64), tuple(names))


def shorten(names: Sequence[str]) -> str:
    """Return the first names and how many follow, for messages."""
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
