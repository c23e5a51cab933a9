import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from auxo.data import DataConfig, load_splits
from auxo.data.fake import oriented_shapes
from auxo.data.scenarios.cifar100 import _CIFAR100


def test_build__small_copies__has_the_documented_sets(tmp_path: Path, write_parquet: Callable[..., Path]) -> None:
    for seed, (part, count) in enumerate({"train": 60, "test": 40}.items()):
        write_parquet(oriented_shapes(count, size=32, seed=seed), tmp_path / "cifar100" / f"{part}.parquet")
    splits = load_splits(DataConfig(scenario="cifar100", root=str(tmp_path)), seed=0)
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {"train": 54, "val": 6, "test": 40, "ood/corrupted-cifar100": 200}
    assert splits.image_shape == (3, 32, 32)


@pytest.mark.skipif("AUXO_DATA" not in os.environ, reason="AUXO_DATA does not name a folder of real images")
def test_build__real_copy__has_a_hundred_classes() -> None:
    splits = load_splits(DataConfig(scenario="cifar100", num_train=400), seed=0)
    assert len(splits.task().class_names) == 100
    assert splits.train.source.columns["label"].values.bincount().tolist() == [4] * 100
    assert splits.ood[0].source.columns["label"].values.bincount().tolist() == [25] * 100


def count_within(lower, upper):
    """How many classes of one level lie in each class of a higher one, each in one alone."""
    owners = {}
    for low, high in zip(lower, upper, strict=True):
        owners.setdefault(low, set()).add(high)
    assert all(len(found) == 1 for found in owners.values())
    counts = Counter(next(iter(found)) for found in owners.values())
    return [counts[number] for number in range(len(counts))]


def test_levels__of_the_classes__sizes_and_numbers_of_sub_classes_of_the_released_code():
    levels = {name: level.of_class for name, level in _CIFAR100.levels.items()}
    fine, coarse, ten, three = range(100), levels["coarse"], levels["level10"], levels["level3"]
    assert [len(set(level)) for level in (three, ten, coarse, fine)] == [3, 10, 20, 100]
    assert count_within(ten, three) == [5, 1, 4]
    assert count_within(coarse, three) == [10, 3, 7]
    assert count_within(fine, three) == [50, 15, 35]
    assert count_within(coarse, ten) == [3, 2, 2, 2, 1, 3, 3, 1, 1, 2]
    assert count_within(fine, ten) == [15, 10, 10, 10, 5, 15, 15, 5, 5, 10]
    assert count_within(fine, coarse) == [5] * 20


@pytest.mark.skipif("AUXO_DATA" not in os.environ, reason="AUXO_DATA does not name a folder of real images")
def test_levels__of_the_real_copy__the_label_and_the_columns_that_are_asked_for() -> None:
    columns = ("fine", "coarse", "coarse_label")
    config = DataConfig(scenario="cifar100", num_train=400, label_column="level10", columns=columns)
    source = load_splits(config, seed=0).train.source
    assert len(source.vocabulary["label"]) == 10
    columns = source.columns
    assert torch.equal(columns["coarse"].values, columns["coarse_label"].values)
    assert columns["coarse"].names == columns["coarse_label"].names
    assert columns["fine"].names[:2] == ("apple", "aquarium_fish")
    level = _CIFAR100.levels["level10"]
    assert torch.equal(torch.tensor(level.of_class)[columns["fine"].values], columns["label"].values)
