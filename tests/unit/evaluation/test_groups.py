"""Sets by a column: values that are missing, ranges of quantities, columns that are none."""

import pytest
import torch

from auxo.data import InMemorySource
from auxo.data.columns import bin_quantities, suggest_columns
from auxo.errors import ConfigError
from auxo.evaluation import group_images
from auxo.tasks import Classification
from auxo.types import Column

TASK = Classification(("a", "b"), channels=3, height=8, width=8)
LABELS = Column(torch.arange(8) % 2, ("a", "b"))


def make_source(**columns):
    return InMemorySource("set", torch.zeros(8, 3, 8, 8, dtype=torch.uint8), {"label": LABELS, **columns})


def test_group__values_missing__are_of_no_group_and_counted():
    site = Column(torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]), ("x", "y", "(none)"))
    grouping = group_images(make_source(site=site), "site", task=TASK, bins=4)
    assert grouping.groups.names == ("x", "y")
    assert grouping.num_unknown == 2
    assert grouping.cell_counts().tolist() == [[2, 1], [1, 2]]


def test_group__names_that_no_image_has__are_left_out():
    site = Column(torch.tensor([3, 1] * 4), ("w", "x", "y", "z"))
    grouping = group_images(make_source(site=site), "site", task=TASK, bins=4)
    assert grouping.groups.names == ("x", "z")
    assert grouping.groups.values.tolist() == [1, 0] * 4


def test_group__no_such_column_or_the_class__is_refused():
    for name in ("site", "label"):
        with pytest.raises(ConfigError, match="a further column of the data, got"):
            group_images(make_source(), name, task=TASK, bins=4)


def test_bin_quantities__many_numbers__are_ranges_of_as_many_images_that_hold_them():
    numbers = torch.linspace(-3, 40, 100)
    column = Column(torch.randperm(100, generator=torch.Generator().manual_seed(0)), tuple(map(str, numbers.tolist())))
    binned = bin_quantities(column, bins=4)
    assert binned.values.bincount().tolist() == [25, 25, 25, 25]
    for value, place in zip(binned.values.tolist(), column.values.tolist(), strict=True):
        low, high = binned.names[value].replace("< ", "").split(" to ")
        assert float(low) - 0.01 <= float(numbers[place]) <= float(high) + 0.01
    assert [" to < " in name for name in binned.names] == [True, True, True, False]


def test_bin_quantities__numbers_that_repeat__stay_together():
    values = torch.cat([torch.zeros(50, dtype=torch.int64), torch.arange(1, 21)])
    binned = bin_quantities(Column(values, tuple(map(str, range(21)))), bins=4)
    assert len(binned.values[:50].unique()) == 1
    assert len(binned.names) < 4


def test_bin_quantities__few_values_or_names__is_none():
    few = Column(torch.arange(100) % 10, tuple(map(str, range(10))))
    words = Column(torch.arange(30), tuple(f"site {k}" for k in range(30)))
    assert bin_quantities(few, bins=4) is None
    assert bin_quantities(words, bins=4) is None


def test_suggest_columns__one_letter_off__names_it():
    assert suggest_columns(["backgroud"], ["label", "background"]) == "did you mean background? "
    assert suggest_columns(["xyz"], ["label", "background"]) == ""
