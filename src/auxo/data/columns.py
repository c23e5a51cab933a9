"""Columns of a source: joined, cut, hidden and counted."""

from collections.abc import Callable, Collection, Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import DataError
from auxo.types import LABEL, Column

__all__ = ["NO_LABEL", "check_columns", "check_counts", "hide_columns", "join_columns", "take_columns"]

NO_LABEL = -1
"""The value of a column for an image of which it says nothing."""


def join_columns(
    labels: Int[Tensor, " labels"] | None, class_names: tuple[str, ...], columns: Mapping[str, Column] | None
) -> dict[str, Column]:
    """Return the labels, if there are any, and further columns by name."""
    own = {} if labels is None else {LABEL: Column(labels.long(), class_names)}
    return {**own, **(columns or {})}


def take_columns(columns: Mapping[str, Column], indices: Int[Tensor, " n"]) -> dict[str, Column]:
    """Return the columns of the images at some positions."""
    return {name: column._replace(values=column.values[indices]) for name, column in columns.items()}


def hide_columns(columns: Mapping[str, Column], names: Collection[str], count: int) -> dict[str, Column]:
    """Return columns of which some say nothing of any image."""
    return {**columns, **{name: Column(torch.full((count,), NO_LABEL), ()) for name in names}}


def check_counts(counts: Mapping[str, int], num_images: int, name: str) -> None:
    """Refuse what has not one entry for every image."""
    for what, count in counts.items():
        if count != num_images:
            got = f"{count} {what} for {num_images} images in '{name}'"
            raise DataError(f"as many {what} as images", got, "pair them")


def check_columns(columns: Mapping[str, Column], describe: Callable[[int], str]) -> None:
    """Refuse numbers that stand for nothing, and any but -1 where a column is hidden."""
    for name, column in columns.items():
        count = len(column.names)
        lowest, end = (0, count) if count else (NO_LABEL, NO_LABEL + 1)
        bad = ((column.values < lowest) | (column.values >= end)).nonzero().flatten()
        if len(bad):
            index = int(bad[0])
            what, hidden = ("labels", "the label -1") if name == LABEL else (f"values of {name}", f"{name} -1")
            raise DataError(
                f"{what} in 0..{count - 1}" if count else f"{hidden} where there are no classes",
                f"{int(column.values[index])} at {describe(index)}",
                "number the classes from 0, and leave images without a label out",
            )
