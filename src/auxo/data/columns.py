"""Columns of a source: joined, cut, hidden and counted."""

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from auxo.errors import DataError
from auxo.types import Column

HIDDEN = -1
"""The value of a column for an image of which it says nothing."""

_NAMES_SHOWN = 8
_MOST_GROUPS = 10  # different numbers that are groups by themselves


def shorten(names: Sequence[str]) -> str:
    """Return the first names and how many follow, for messages."""
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def take_columns(columns: Mapping[str, Column], indices: Int[Tensor, " n"]) -> dict[str, Column]:
    """Return the columns of the images at some positions."""
    return {name: column._replace(values=column.values[indices]) for name, column in columns.items()}


def suggest_columns(names: Collection[str], known: Collection[str]) -> str:
    """Return the beginning of what to do about columns that are not there: which of the others may be meant, if any.

    Example:
        >>> suggest_columns(["color"], ["label", "colour"]), suggest_columns(["color"], ["label"])
        ('did you mean colour? ', '')
    """
    near = [found for name in names if name not in known for found in get_close_matches(name, list(known), n=3)]
    return f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""


def hidden_name(target: str) -> str:
    """Return what a target is called that is hidden from training and yet kept.

    Example:
        >>> hidden_name("mask")
        'hidden_mask'
    """
    return f"hidden_{target}"


def find_names(vocabulary: Mapping[str, tuple[str, ...]], name: str, *, source: str) -> tuple[str, ...]:
    """Return what the numbers of a target stand for.

    Args:
        vocabulary: of a source, by target.
        name: of the target.
        source: its name, for the message.

    Raises:
        DataError: the source has no such target.
    """
    if name not in vocabulary:
        got = f"none in '{source}', which has {', '.join(vocabulary) or 'no target'}"
        raise DataError(f"a target {name!r} of every image", got, "give it one, or choose another task")
    return vocabulary[name]


def hide_columns(columns: Mapping[str, Column], names: Collection[str], count: int) -> dict[str, Column]:
    """Return columns of which some say nothing of any image."""
    return {**columns, **{name: Column(torch.full((count,), HIDDEN), ()) for name in names}}


def bin_quantities(column: Column, *, bins: int) -> Column | None:
    """Return a column of many different numbers in as many groups of like size, or ``None`` where it is none.

    The values must be written as numbers, and be more than ``bins`` and more than ten different ones: fewer are groups
    by themselves. The groups lie between quantiles, each with its lower end and without its upper one, but for the
    last. Equal numbers are in one group, so that there may be fewer.

    Args:
        column: of a source; its names are what is written.
        bins: groups, >= 2.

    Example:
        >>> column = Column(torch.arange(12), tuple(str(k / 2) for k in range(12)))
        >>> bin_quantities(column, bins=3).names
        ('0 to < 2', '2 to < 4', '4 to 5.5')
    """
    present = column.values.unique().tolist()
    if len(present) <= max(bins, _MOST_GROUPS):
        return None
    numbers = [_read_quantity(name) for name in column.names]
    if any(numbers[place] is None for place in present):
        return None
    values = torch.tensor([number or 0.0 for number in numbers], dtype=torch.float64)[column.values]
    levels = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    edges = values.quantile(levels, interpolation="higher").unique()
    groups = torch.bucketize(values, edges[1:-1], right=True)
    ends = [f"{edge:.4g}" for edge in edges.tolist()]
    names = [f"{low} to < {high}" for low, high in itertools.pairwise(ends)]
    names[-1] = names[-1].replace("< ", "")
    return Column(groups, tuple(names))


def check_columns(
    columns: Mapping[str, Column],
    describe: Callable[[int], str],
    *,
    source: str,
    num_images: int,
    others: Mapping[str, int] | None = None,
) -> None:
    """Refuse columns without one value for every image, numbers that stand for nothing, and any but -1 where hidden.

    Args:
        columns: of a source.
        describe: where an image came from.
        source: its name.
        num_images: of the source.
        others: how many there are of what else must have one for every image.
    """
    counts = {f"values of '{name}'": len(column.values) for name, column in columns.items()}
    for what, count in (counts | dict(others or {})).items():
        if count != num_images:
            got = f"{count} {what} for {num_images} images in '{source}'"
            raise DataError(f"as many {what} as images", got, "pair them")
    for name, column in columns.items():
        count = len(column.names)
        lowest, end = (0, count) if count else (HIDDEN, HIDDEN + 1)
        bad = ((column.values < lowest) | (column.values >= end)).nonzero().flatten()
        if len(bad):
            index = int(bad[0])
            raise DataError(
                f"values of '{name}' in 0..{count - 1}" if count else f"-1 for '{name}', whose numbers have no names",
                f"{int(column.values[index])} at {describe(index)}",
                "number what it tells apart from 0, and leave images without a value out",
            )


def _read_quantity(name: str) -> float | None:
    """Return the finite number that a value is written as, or ``None``."""
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def can_hold(dtype: torch.dtype, value: int | float) -> bool:
    """Whether a tensor of a type can say a number; fractions may be rounded, whole numbers may not.

    Example:
        >>> can_hold(torch.uint8, -1), can_hold(torch.float16, 0.1), can_hold(torch.float32, 2**24 + 1)
        (False, True, False)
    """
    if dtype.is_floating_point:
        if isinstance(value, float) and not math.isfinite(value):
            return True
        limits = torch.finfo(dtype)
        is_inside = limits.min <= value <= limits.max
        return is_inside and (value != int(value) or torch.tensor(float(value), dtype=dtype).item() == value)
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return low <= value <= high and value == int(value)


def check_places(
    name: str,
    values: Shaped[Tensor, "n ... height width"],
    num_names: int,
    ignore: int,
    image_shape: tuple[int, int, int],
    describe: Callable[[int], str],
) -> None:
    """Refuse a target with places that lacks values for pixels, that no value hides, or whose numbers mean nothing.

    Args:
        name: of the target.
        values: for every pixel of every image, shape ``(n, height, width)`` or ``(n, k, height, width)``.
        num_names: how many things the numbers stand for; 0 where they are quantities or hidden, which may be any.
        ignore: the number of places that say nothing.
        image_shape: ``(channels, height, width)``.
        describe: where an image came from.
    """
    if values.ndim not in (3, 4) or values.shape[-2:] != image_shape[1:]:
        got = f"{tuple(values.shape[1:])} for images of {image_shape[1:]}"
        raise DataError(f"a value of {name} for every pixel", got, "give maps of the height and width of images")
    if not can_hold(values.dtype, ignore):
        fix = "choose another value to ignore, or another type"
        raise DataError(f"a value to ignore of {name} that {values.dtype} holds", str(ignore), fix)
    for index, image in enumerate(values if num_names else ()):
        bad = image[((image < 0) | (image >= num_names)) & (image != ignore)]
        if len(bad):
            fix = "number from 0, and give places without a value the one to ignore"
            got = f"{bad[0].item()} in {describe(index)}"
            raise DataError(f"values of {name} in 0..{num_names - 1}, or {ignore}", got, fix)
