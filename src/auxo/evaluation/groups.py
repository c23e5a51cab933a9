"""The images of a set by what a further column of the data says of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from auxo.data import AbstractSource
from auxo.data.columns import bin_quantities
from auxo.data.readers.listing import NO_VALUE
from auxo.errors import ConfigError
from auxo.layers.cell_weights import count_cells
from auxo.tasks import AbstractTask
from auxo.types import Column

BINS = 4
"""Ranges that a quantity is cut into by default."""


@dataclass(frozen=True)
class Grouping:
    """A column of a set as groups, beside the strata within which groups are compared, such as the classes.

    Args:
        name: of the column.
        groups: group of every image; all have at least one image. Meaningless where an image has none.
        strata: stratum of every image; one for all where the task has none.
        is_known: which images have a value of the column.
        is_binned: whether the groups are ranges of a quantity.
    """

    name: str
    groups: Column
    strata: Column
    is_known: Bool[Tensor, " n"]
    is_binned: bool

    @property
    def num_unknown(self) -> int:
        """Images without a value."""
        return int((~self.is_known).sum())

    @property
    def cells(self) -> Int[Tensor, " n"]:
        """Number of every image's pair of stratum and group."""
        return self.strata.values * len(self.groups.names) + self.groups.values

    def cell_counts(self) -> Int[Tensor, "strata groups"]:
        """Return the images of every stratum and group."""
        strata, groups = (each.values[self.is_known] for each in (self.strata, self.groups))
        return count_cells(strata, groups, shape=(len(self.strata.names), len(self.groups.names)))


def group_images(source: AbstractSource, name: str, *, task: AbstractTask, bins: int) -> Grouping:
    """Return a set by a column of it.

    Images without a value are of no group. A column of more than ten different numbers is cut into ranges of like size.

    Args:
        source: the set.
        name: of the column.
        task: says what the strata are.
        bins: ranges of a quantity, >= 2.

    Raises:
        ConfigError: the set has no such column, or it is what is to be predicted.
    """
    column = source.columns.get(name)
    if column is None or not column.names:
        got = f"{name!r}; '{source.name}' has {', '.join(source.columns) or 'no column'}"
        raise ConfigError("a further column of the data", got, "name one that its file has")
    if name in {target.name for target in task.targets}:
        raise ConfigError("a further column of the data", f"{name!r}, which is to be predicted", "name another")
    # What has no value is no group of its own: that it is missing need not mean the same in two images.
    is_known = torch.tensor([each != NO_VALUE for each in column.names])[column.values]
    groups = _keep_present(column, is_known)
    present = Column(groups.values[is_known], groups.names)
    binned = bin_quantities(present, bins=bins)
    if binned is not None:
        numbers = torch.zeros_like(groups.values)
        numbers[is_known] = binned.values
        groups = Column(numbers, binned.names)
    strata = task.strata(source) or Column(torch.zeros(len(source), dtype=torch.int64), ("all images",))
    return Grouping(name, groups, strata, is_known, binned is not None)


def _keep_present(column: Column, is_known: Bool[Tensor, " n"]) -> Column:
    """Return a column with those names alone that known images have, in their order."""
    present = column.values[is_known].unique()
    numbers = torch.zeros(len(column.names), dtype=torch.int64)
    numbers[present] = torch.arange(len(present))
    return Column(numbers[column.values], tuple(column.names[place] for place in present.tolist()))


def take_known(grouping: Grouping, scores: Mapping[str, Tensor]) -> tuple[Grouping, dict[str, Tensor]]:
    """Return the images that have a value of the column, with their scores."""
    known = grouping.is_known
    groups, strata = (each._replace(values=each.values[known]) for each in (grouping.groups, grouping.strata))
    kept = Grouping(grouping.name, groups, strata, known[known], grouping.is_binned)
    return kept, {name: values[known] for name, values in scores.items()}
