"""What the values of mask files stand for: names of classes, indices, colours, and what is ignored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from auxo.data.columns import shorten
from auxo.data.csv_table import open_table
from auxo.data.names import NameLookup, normalise_name
from auxo.errors import DataError
from auxo.losses import IGNORE

CLASSES = "classes.csv"
"""The table of classes beside images with masks."""

MOST_CLASSES = 255
"""Classes that a mask can tell apart beside :data:`IGNORE`."""

MOST_INDICES = 2**16
"""Values that a mask of numbers can have: from 0 to one less."""

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue of 0..255."""

_UNKNOWN = -1
_BRIGHTEST = 255
_COLUMNS = ("name", "index", "colour", "ignored")
_PARTS = ("red", "green", "blue")
_OTHER_NAMES = {"color": "colour", "r": "red", "g": "green", "b": "blue"}
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_WHOLE = re.compile(r"[0-9]{1,9}")  # Python turns no number of thousands of digits into one
_YES, _NO = ("yes", "true", "1"), ("", "no", "false", "0")


class MaskEntry(NamedTuple):
    """One row of what the values of masks stand for.

    Args:
        name: of the class; rows of one name are one class.
        value: in masks of numbers, 0..65535; ``None`` where there is none.
        colour: its colour in masks of colours, and what it is shown in; ``None`` where there is none.
        is_ignored: whether such places say nothing.
    """

    name: str
    value: int | None = None
    colour: Colour | None = None
    is_ignored: bool = False


@dataclass(frozen=True)
class MaskLegend:
    """What the values of masks become: numbers of classes, or :data:`IGNORE`.

    Args:
        names: of the classes, in order.
        numbers: the class of every index that masks of numbers may have; empty where they are read by colour.
        colour_numbers: the class of every colour that masks of colours may have; empty where there is no such thing.
        origin: where this was read, for messages.
    """

    names: tuple[str, ...]
    numbers: Mapping[int, int] = field(default_factory=dict)
    colour_numbers: Mapping[Colour, int] = field(default_factory=dict)
    origin: str = "the training masks"

    @classmethod
    def of_entries(
        cls, entries: Sequence[MaskEntry], *, ignore_index: int | None, origin: str, names: Sequence[str] | None = None
    ) -> "MaskLegend":
        """Return the legend of a table.

        Args:
            entries: its rows.
            ignore_index: a further index that says nothing; ``None`` for none.
            origin: where they were read, for messages.
            names: of the classes of the training images, in order; what they do not have is no class. ``None`` makes
                classes of the rows, in their order.

        Raises:
            DataError: there are too few or too many classes, or a value stands for two things.
        """
        # The default ignores nothing that has a name; None is also what a row of a colour alone has for a value.
        if ignore_index not in (None, IGNORE):
            entries = [each._replace(is_ignored=each.is_ignored or each.value == ignore_index) for each in entries]
        own = tuple(dict.fromkeys(entry.name for entry in entries if not entry.is_ignored))
        if not 2 <= len(own) <= MOST_CLASSES:
            fix = "name two or more" if len(own) < 2 else "put several into one by giving them one name"
            raise DataError(f"2 to {MOST_CLASSES} classes in {origin}", str(len(own)), fix)
        classes = own if names is None else tuple(names)
        lookup = NameLookup(classes)
        if all(lookup.find(name) is None for name in own):
            fix = "give the classes the names that they have in the training images"
            raise DataError(f"classes of train ({shorten(classes)})", f"{shorten(own)} in {origin}", fix)
        numbers: dict[int, int] = {}
        colours: dict[Colour, int] = {}
        for entry in entries:
            number = IGNORE if entry.is_ignored else lookup.find(entry.name)
            if number is None:
                continue  # its value is then an unknown one, and refused where a mask has it
            repeated = None
            if entry.value is not None and numbers.setdefault(entry.value, number) != number:
                repeated = str(entry.value)
            if entry.colour is not None and colours.setdefault(entry.colour, number) != number:
                repeated = write_colour(entry.colour)
            if repeated is not None:
                raise DataError(f"one class for every value in {origin}", f"two for {repeated}", "correct the table")
        if ignore_index is not None and numbers.setdefault(ignore_index, IGNORE) != IGNORE:
            got = f"'{classes[numbers[ignore_index]]}' in {origin}, and data.ignore-index {ignore_index}"
            fix = "pass --data.ignore-index None, or another value"
            raise DataError(f"one meaning of the mask value {ignore_index}", got, fix)
        has_indices = any(entry.value is not None for entry in entries)
        return cls(classes, numbers if has_indices else {}, colours, origin)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """A colour of every class, in order; empty where one has none."""
        # Backwards, so that of several colours of a class the first one stays.
        first = {number: colour for colour, number in reversed(list(self.colour_numbers.items()))}
        numbers = range(len(self.names))
        return tuple(first[number] for number in numbers) if first.keys() >= set(numbers) else ()

    def number_indices(self, values: NDArray[np.generic], *, where: str) -> UInt8[np.ndarray, "height width"]:
        """Return the class of every place of a mask of numbers.

        Args:
            values: whole numbers, shape ``(height, width)``.
            where: the file or row, for messages.

        Raises:
            DataError: a value stands for nothing.
        """
        if values.dtype in (np.bool_, np.uint8, np.uint16):  # nearly all masks: every value has a place in the table
            return self._require_known(self._class_by_index[values.astype(np.uint16, copy=False)], values, where)
        wide = values.astype(np.int64)
        is_inside = (wide >= 0) & (wide < MOST_INDICES)
        found = np.where(is_inside, self._class_by_index[np.where(is_inside, wide, 0)], _UNKNOWN)
        return self._require_known(found, wide, where)

    def number_colours(self, pixels: UInt8[np.ndarray, "height width 3"], *, where: str) -> UInt8[np.ndarray, "h w"]:
        """Return the class of every place of a mask of colours.

        Args:
            pixels: red, green and blue.
            where: the file or row, for messages.

        Raises:
            DataError: a colour stands for nothing.
        """
        wide = pixels.astype(np.int32)
        packed = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
        known, classes = self._class_by_colour
        place = np.searchsorted(known, packed).clip(max=len(known) - 1)
        found = np.where(known[place] == packed, classes[place], np.int16(_UNKNOWN))
        return self._require_known(found, packed, where, is_colour=True)

    def _require_known(
        self, found: NDArray[np.int16], values: NDArray[np.generic], where: str, *, is_colour: bool = False
    ) -> UInt8[np.ndarray, "height width"]:
        """Return classes as they are kept, or refuse a mask with values that stand for nothing."""
        if (found == _UNKNOWN).any():
            others, counts = np.unique(values[found == _UNKNOWN], return_counts=True)
            most = int(counts.argmax())
            known = [*self.colour_numbers] if is_colour else sorted(self.numbers)
            shown = [write_colour(value) if isinstance(value, tuple) else str(value) for value in known]
            value = write_colour(unpack_colour(int(others[most]))) if is_colour else str(others[most])
            more = f", and {len(others) - 1} other values" if len(others) > 1 else ""
            raise DataError(
                f"{'colours' if is_colour else 'values'} of masks among {shorten(shown)} (from {self.origin})",
                f"{value} in {counts[most]} pixels of {where}{more}",
                "correct the mask, or give the value a row in classes.csv, with ignored yes if it says nothing",
            )
        return found.astype(np.uint8)

    @cached_property
    def _class_by_index(self) -> NDArray[np.int16]:
        """The class of every index that a mask can have."""
        table = np.full(MOST_INDICES, _UNKNOWN, dtype=np.int16)
        for index, number in self.numbers.items():
            table[index] = number
        return table

    @cached_property
    def _class_by_colour(self) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
        """The colours as sorted numbers, and the class of each."""
        pairs = sorted(
            ((red << 16) | (green << 8) | blue, number) for (red, green, blue), number in self.colour_numbers.items()
        )
        packed = np.array(pairs, dtype=np.int32)
        return packed[:, 0], packed[:, 1].astype(np.int16)


def write_colour(colour: Sequence[int]) -> str:
    """Return a colour as it is written in tables.

    Example:
        >>> write_colour((128, 64, 255))
        '#8040ff'
    """
    return "#" + "".join(f"{part:02x}" for part in colour)


def unpack_colour(packed: int) -> Colour:
    """Return red, green and blue of a number.

    Example:
        >>> unpack_colour(0x8040FF)
        (128, 64, 255)
    """
    return packed >> 16, (packed >> 8) & 255, packed & 255


def number_names(names: Sequence[str], *, ignore_index: int | None, origin: str) -> MaskLegend | None:
    """Return the legend of classes that are called by their indices; ``None`` where one is not."""
    if not all(_WHOLE.fullmatch(name) and int(name) < MOST_INDICES for name in names):
        return None
    entries = [MaskEntry(name, int(name)) for name in names]
    return MaskLegend.of_entries(entries, ignore_index=ignore_index, origin=origin)


def read_legend(path: Path) -> list[MaskEntry]:
    """Read a table of classes: a CSV in UTF-8 with the columns ``name``, ``index``, ``colour`` and ``ignored``.

    Only ``name`` must be there. ``index`` is a whole number, ``colour`` is ``#rrggbb``, ``ignored`` is yes or no.
    Instead of ``colour`` there may be ``red``, ``green`` and ``blue``, or their first letters, of 0..255. With neither
    index nor colour the rows are numbered from 0. Rows of one name are one class.

    Raises:
        DataError: it cannot be read, a column is missing or none of these, or a cell is not what it must be; the
            message names the line, the header being line 1.
    """
    with open_table(path, what="a table of classes: a CSV in UTF-8", rename=_rename_column) as table:
        header, rows = table.header, list(table.rows)
    has_parts = set(_PARTS) <= set(header) and "colour" not in header
    if "name" not in header or not set(header) <= {*_COLUMNS, *(_PARTS if has_parts else ())}:
        got = f"{', '.join(header) or '(none)'} in {path}"
        raise DataError(f"the columns {', '.join(_COLUMNS)}, of which name must be there", got, "write such a header")
    entries = []
    for number, (line, row) in enumerate(rows):
        cells, where = dict(row), f"line {line} of {path}"
        if has_parts:
            cells["colour"] = _join_parts([cells[part] for part in _PARTS], where)
        if "index" not in header and "colour" not in cells:
            cells["index"] = str(number)
        entries.append(_read_entry(cells, where))
    if "index" not in header and "colour" not in header and not has_parts:
        _require_own_numbers(entries, path)
    return entries


def _rename_column(name: str) -> str:
    """Return what a column of a table of classes is called here."""
    name = normalise_name(name).lower()
    return _OTHER_NAMES.get(name, name)


def _require_own_numbers(entries: Sequence[MaskEntry], path: Path) -> None:
    """Refuse classes that are called by other numbers than those of their rows, which masks then may have or not."""
    if not all(_WHOLE.fullmatch(entry.name) for entry in entries):
        return
    for entry in entries:
        if int(entry.name) != entry.value:
            got = f"the class {entry.name} in row {entry.value} of {path}"
            fix = "write a column index with the values that the masks have"
            raise DataError("an index or a colour for classes that are called by numbers", got, fix)


def _join_parts(parts: Sequence[str], where: str) -> str:
    """Return red, green and blue as one colour; "" where all are empty."""
    if not any(parts):
        return ""
    if not all(_WHOLE.fullmatch(part) and int(part) <= _BRIGHTEST for part in parts):
        raise DataError("red, green and blue of 0..255 in every row", f"{', '.join(parts)} in {where}", "correct them")
    return write_colour([int(part) for part in parts])


def _read_entry(cells: Mapping[str, str], where: str) -> MaskEntry:
    """Return a row of a table of classes."""
    index, colour, ignored = cells.get("index", ""), cells.get("colour", ""), cells.get("ignored", "").lower()
    hexadecimal = _HEX.fullmatch(colour)
    checks = (
        (cells["name"], "a name", "an empty one"),
        (index or colour, "an index or a colour", "neither"),
        (not index or (_WHOLE.fullmatch(index) and int(index) < MOST_INDICES), "an index of 0..65535", repr(index)),
        (not colour or hexadecimal, "a colour as #rrggbb", repr(colour)),
        (ignored in (*_YES, *_NO), "yes or no for ignored", repr(ignored)),
    )
    for is_valid, expected, got in checks:
        if not is_valid:
            raise DataError(f"{expected} in every row", f"{got} in {where}", "correct the cell")
    return MaskEntry(
        normalise_name(cells["name"]),
        value=int(index) if index else None,
        colour=unpack_colour(int(hexadecimal[1], 16)) if hexadecimal else None,
        is_ignored=ignored in _YES,
    )
