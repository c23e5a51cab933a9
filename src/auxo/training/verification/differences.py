"""What is not equal between what a run recorded and what comes out anew, to the bit, and by how much."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

_ABSENT = ...  # no value of JSON
_SHOWN = 3


class Difference(NamedTuple):
    """What differs between two nested values.

    Args:
        names: of the tensors and values that differ, in their order.
        compared: how many tensors and values there are.
        largest: difference of two numbers, absolute; ``None`` where no numbers of one shape differ.
        place: the name of the tensor or value that has it.
    """

    names: tuple[str, ...]
    compared: int
    largest: float | None
    place: str

    def describe(self) -> str:
        """Return how much differs, in words."""
        shown = ", ".join(self.names[:_SHOWN]) + (", ..." if len(self.names) > _SHOWN else "")
        text = f"{len(self.names)} of {self.compared} tensors and values differ ({shown})"
        return text if self.largest is None else f"{text}, at most by {self.largest:.3g}, in {self.place}"


class NumberedRow(NamedTuple):
    """A row of records with the number of its line, from 1."""

    line: int
    row: Mapping[str, Any]


class RowDifference(NamedTuple):
    """What differs between recorded rows and those that come out anew.

    Args:
        text: in words, with the first line that differs.
        largest: relative difference of two numbers; ``None`` where rows are missing, or something else than numbers
            differs.
    """

    text: str
    largest: float | None


def flatten(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield the tensors and plain values of nested dicts and lists, each with its name, such as ``weights.0.bias``."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    if isinstance(value, Mapping | list | tuple):
        for key, item in items:
            yield from flatten(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def compare_trees(recorded: object, found: object, *, ignored: Collection[str] = ()) -> Difference | None:
    """Return what differs between two nested values to the bit, ``None`` where nothing does.

    Args:
        recorded: tensors on the CPU and plain values, in dicts and lists.
        found: the same.
        ignored: names of values, or of what holds them, that need not be equal.
    """
    ours = {name: value for name, value in flatten(recorded) if not _is_under(name, ignored)}
    theirs = {name: value for name, value in flatten(found) if not _is_under(name, ignored)}
    names = [*dict.fromkeys((*ours, *theirs))]
    differing = [name for name in names if not _is_same(ours.get(name, _ABSENT), theirs.get(name, _ABSENT))]
    if not differing:
        return None
    sizes = {name: size for name in differing if (size := _measure_gap(ours.get(name), theirs.get(name))) is not None}
    place = max(sizes, key=lambda name: sizes[name]) if sizes else ""
    return Difference(tuple(differing), len(names), sizes.get(place), place)


def compare_rows(
    recorded: Sequence[NumberedRow], found: Sequence[Mapping[str, Any]], *, ignored: Collection[str]
) -> RowDifference | None:
    """Return what differs between rows, ``None`` where nothing does.

    Args:
        recorded: as they stand in the file.
        found: as they come out anew.
        ignored: fields that need not be equal.
    """
    for (line, row), other in zip(recorded, found, strict=False):
        if _name_row(row) != _name_row(other):
            text = f"line {line} is {_name_row(row)} where {_name_row(other)} comes out"
            return RowDifference(text, None)
    if len(recorded) != len(found):
        count = f"{len(recorded)} rows are recorded and {len(found)} come out"
        first = _name_row(recorded[len(found)].row if len(recorded) > len(found) else found[len(recorded)])
        return RowDifference(f"{count}; only on one side is {first}", None)
    first_text, num_rows, largest, is_number = "", 0, 0.0, True
    for (line, row), other in zip(recorded, found, strict=True):
        ours, theirs = dict(flatten(row)), dict(flatten(other))
        names = [
            name
            for name in dict.fromkeys((*ours, *theirs))
            if not _is_under(name, ignored) and not _is_same(ours.get(name, _ABSENT), theirs.get(name, _ABSENT))
        ]
        if not names:
            continue
        num_rows += 1
        name = names[0]
        shown = f"{name} is {_show_value(ours.get(name, _ABSENT))} and comes out as "
        shown += _show_value(theirs.get(name, _ABSENT))
        first_text = first_text or f"line {line}, {_name_row(row)}: {shown}"
        for each in names:
            gap = _measure_gap(ours.get(each), theirs.get(each))
            is_number = is_number and gap is not None
            largest = max(largest, (gap or 0.0) / max(abs(_as_float(ours.get(each))), 1e-12))
    if not num_rows:
        return None
    text = f"{num_rows} of {len(recorded)} rows differ, first {first_text}"
    return RowDifference(text, largest if is_number else None)


def measure_way(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """Return the Euclidean distance between the weights that two mappings share."""
    shared = [name for name, tensor in weights.items() if tensor.is_floating_point() and name in others]
    squares = [(weights[name].double() - others[name].double()).square().sum() for name in shared]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def _is_under(name: str, ignored: Collection[str]) -> bool:
    """Return whether a name is among those, or within one."""
    return any(name == each or name.startswith(f"{each}.") for each in ignored)


def _is_same(ours: object, theirs: object) -> bool:
    """Return whether two tensors, or two plain values, are equal to the bit."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
            return False
        return torch.equal(_view_bytes(ours), _view_bytes(theirs))
    return type(ours) is type(theirs) and not isinstance(ours, Tensor) and repr(ours) == repr(theirs)


def _view_bytes(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _measure_gap(ours: object, theirs: object) -> float | None:
    """Return the largest difference of two tensors of one shape, or of two numbers; ``None`` for anything else."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        if ours.shape != theirs.shape or not ours.numel():
            return None
        return float((ours.double() - theirs.double()).abs().max())
    if _is_number(ours) and _is_number(theirs):
        return abs(_as_float(ours) - _as_float(theirs))
    return None


def _is_number(value: object) -> bool:
    """Return whether a value is a number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_float(value: object) -> float:
    """Return a number as a float; 0 for anything else."""
    return float(value) if isinstance(value, int | float) else 0.0


def _show_value(value: object) -> str:
    """Return a value of a row as it is told."""
    return "nothing" if value is _ABSENT else repr(value)


def _name_row(row: Mapping[str, Any]) -> str:
    """Return what a row is of."""
    of = " ".join(str(row[name]) for name in ("split", "head") if name in row)
    return f"{row['kind']}{f' ({of})' if of else ''} of step {row['step']}"
