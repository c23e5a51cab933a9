"""Names of classes and of what else columns tell apart: how they are written, and when two are the same."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from typing import final

from auxo.errors import DataError

INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
"""A whole number as it is written, of no more digits than 64 bits hold; what is longer is a name."""

_SEPARATORS = (",", ";", "|")
_WRAPPING = " []()'\""


def normalise_name(text: str) -> str:
    """Return a name without spaces around it, in the one Unicode form (NFC) in which all names are compared.

    "é" can be one code point or two that look alike; which of them a file has is the choice of the system it was
    written on. Source: Unicode Standard Annex #15.

    Example:
        >>> normalise_name(" cafe" + chr(0x301)) == "caf" + chr(0xE9)
        True
    """
    return unicodedata.normalize("NFC", text).strip()


def refuse_alike(names: Sequence[str], *, where: str) -> None:
    """Refuse names of which two are the same to :func:`normalise_name`.

    Args:
        names: what the numbers 0, 1, … stand for.
        where: they were read, for the message.

    Raises:
        DataError: two are alike; the message spells both out in ASCII.
    """
    first: dict[str, str] = {}
    for name in names:
        written = normalise_name(name)
        if written in first:
            got, fix = f"{first[written]!a} and {name!a} in {where}", "rename one of them, or make them one"
            raise DataError("names that differ in more than spaces and the form of their letters", got, fix)
        first[written] = name


@final
class NameLookup:
    """Finds what another set calls a class among the names of a training set.

    A name is found as it is written or, where it is a whole number, by its value: "07" finds "7", unless several names
    have that value. A bare number means the class of that name wherever a name is a number, and only among names that
    are all words the position.

    Args:
        names: what the numbers 0, 1, … stand for.

    Example:
        >>> lookup = NameLookup(["3", "1"])
        >>> lookup.find("01"), lookup.find_number(1), lookup.find_number(0)
        (1, 1, None)
        >>> NameLookup(["cat", "dog"]).find_number(0)
        0
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._count = len(names)
        self._by_name = {normalise_name(name): position for position, name in enumerate(names)}
        spellings: dict[int, list[str]] = {}
        for name in filter(INTEGER.fullmatch, self._by_name):
            spellings.setdefault(int(name), []).append(name)
        self._by_value = {
            value: self._by_name[str(value) if str(value) in found else found[0]]
            for value, found in spellings.items()
            if len(found) == 1 or str(value) in found  # of "01" and "001" a bare 1 is neither
        }
        self.has_numbers = bool(spellings)

    def find(self, name: str) -> int | None:
        """Return the position of what a name means, ``None`` where it means nothing."""
        written = normalise_name(name)
        if written in self._by_name:
            return self._by_name[written]
        return self._by_value.get(int(written)) if INTEGER.fullmatch(written) else None

    def find_number(self, number: int) -> int | None:
        """Return the position of what a bare number means, ``None`` where it means nothing."""
        return self._by_value.get(number) if self.has_numbers else self.find_position(number)

    def find_position(self, number: int) -> int | None:
        """Return a number that is a position itself, ``None`` where there is no such position."""
        return number if 0 <= number < self._count else None


def find_combined(names: Collection[str], known: Collection[str] = ()) -> set[str]:
    """Return the names that look like several in one: each of their parts is a name, or a part of another one, too.

    Parts are what a comma, a semicolon or a bar separates. "tench, Tinca tinca" is one name as long as nothing else is
    called so.

    Args:
        names: of a set.
        known: further names, of the set that is learned from.

    Example:
        >>> sorted(find_combined(["cat", "dog", "cat;dog", "Shih-Tzu, toy"]))
        ['cat;dog']
        >>> sorted(find_combined(["a|b", "b|c", "c|a"]))
        ['a|b', 'b|c', 'c|a']
    """
    parts = {name: found for name in names if len(found := _split_name(name)) > 1}
    uses = Counter(part for found in parts.values() for part in found)
    single = {*names, *known} - set(parts)
    return {name for name, found in parts.items() if all(part in single or uses[part] > 1 for part in found)}


def _split_name(name: str) -> set[str]:
    """Return the parts of a name, by the first separator that it has."""
    separator = next((each for each in _SEPARATORS if each in name), None)
    return {part.strip(_WRAPPING) for part in name.split(separator)} - {""} if separator else {name}
