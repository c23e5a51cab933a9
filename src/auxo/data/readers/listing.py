"""What every reader returns: pictures, their labels as written, and how labels become class numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.data.columns import NO_LABEL
from auxo.data.decode import read_bytes
from auxo.data.sources import AbstractEncodedImages, StreamingSource
from auxo.errors import DataError

__all__ = ["FileImages", "Listing"]

_NAMES_SHOWN = 8


class FileImages(AbstractEncodedImages):
    """Pictures in files.

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
        encoded: the pictures.
        labels: one per picture; whole numbers, or names; empty where they were not read.
        class_names: the names that numbers stand for; ``None`` where they have none, and for labels that are names.
    """

    name: str
    encoded: AbstractEncodedImages
    labels: Sequence[int] | Sequence[str]
    class_names: tuple[str, ...] | None = None

    def to_source(self, class_names: tuple[str, ...] | None, *, image_size: int | None) -> StreamingSource:
        """Return the set as a source, its labels numbered.

        Args:
            class_names: the training set's classes, which labels are mapped to by name (whole numbers without names
                are taken as its numbers); ``None`` for the training set itself, whose classes are the listed names,
                the sorted names among the labels, or the numbers from 0 to the largest label.
            image_size: see :class:`auxo.data.sources.StreamingSource`.

        Raises:
            DataError: a label is negative or too large, or its class is not in ``class_names`` (the message names the
                row), or a training set has fewer than two classes.
        """
        own_names, numbers = self._numbered(class_names)
        if class_names is None and len(own_names) < 2:
            got = f"{len(own_names)} ({', '.join(own_names)}) in '{self.name}'"
            raise DataError("pictures of at least two classes", got, "add another class")
        if class_names is None or own_names == class_names:
            labels, class_names = numbers, own_names
        else:
            labels = self._mapped(own_names, numbers, class_names)
        return StreamingSource(self.name, self.encoded, labels, class_names, image_size=image_size)

    def to_unlabelled_source(self, *, image_size: int | None) -> StreamingSource:
        """Return the set as a source without labels.

        Args:
            image_size: see :class:`auxo.data.sources.StreamingSource`.
        """
        labels = torch.full((len(self.encoded),), NO_LABEL)
        return StreamingSource(self.name, self.encoded, labels, (), image_size=image_size)

    def _numbered(self, class_names: tuple[str, ...] | None) -> tuple[tuple[str, ...], Int[Tensor, " n"]]:
        """Return this set's own class names and the numbers of its labels among them."""
        if all(isinstance(label, str) for label in self.labels):
            names = tuple(sorted({str(label) for label in self.labels}))
            number = {name: i for i, name in enumerate(names)}
            return names, torch.tensor([number[str(label)] for label in self.labels], dtype=torch.int64)
        values = [int(label) for label in self.labels]
        own = self.class_names or class_names
        if own is None:  # with more classes than pictures, one class would have none
            own = tuple(str(i) for i in range(min(max(values) + 1, len(values))))
        bad = next((row for row, value in enumerate(values) if not 0 <= value < len(own)), None)
        if bad is not None:
            raise DataError(
                f"labels in 0..{max(len(own), 1) - 1}",
                f"{values[bad]} at {self.encoded.describe(bad)}",
                "number the classes from 0, and leave pictures without a label out",
            )
        return own, torch.tensor(values, dtype=torch.int64)

    def _mapped(
        self, own_names: tuple[str, ...], numbers: Int[Tensor, " n"], class_names: tuple[str, ...]
    ) -> Int[Tensor, " n"]:
        """Return the labels as numbers of ``class_names``."""
        number = {name: i for i, name in enumerate(class_names)}
        table = torch.tensor([number.get(name, -1) for name in own_names], dtype=torch.int64)
        labels = table[numbers]
        unknown = (labels < 0).nonzero().flatten()
        if len(unknown):
            row = int(unknown[0])
            raise DataError(
                f"classes of the training set ({_shortened(class_names)})",
                f"'{own_names[int(numbers[row])]}' at {self.encoded.describe(row)}",
                f"rename the class in '{self.name}', or remove its pictures",
            )
        return labels


def _shortened(names: tuple[str, ...]) -> str:
    """Return the first names and how many follow."""
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
