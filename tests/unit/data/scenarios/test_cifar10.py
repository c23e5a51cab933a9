import os
from pathlib import Path

import pytest
import torch

from auxo.data import DataConfig, load_splits


def test_build__small_copies__has_the_documented_sets(small_root: Path) -> None:
    splits = load_splits(DataConfig(scenario="cifar10", root=str(small_root)), seed=0)
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {"train": 54, "val": 6, "test": 40, "ood/corrupted-cifar10": 200}
    assert splits.image_shape == (3, 32, 32)


def test_build__corrupted__carries_the_labels_of_its_images(small_root: Path) -> None:
    splits = load_splits(DataConfig(scenario="cifar10", root=str(small_root)), seed=0)
    assert splits.test is not None
    corrupted = splits.ood[0].source
    assert torch.equal(corrupted.columns["label"].values, splits.test.source.columns["label"].values.repeat(5))
    assert corrupted.describe(0) == "image 0 of 'corrupted-cifar10' (defocus_blur-1)"


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_build__storage__gives_the_same_pixels(small_root: Path, storage: str) -> None:
    reference = load_splits(DataConfig(scenario="cifar10", root=str(small_root)), seed=0)
    splits = load_splits(DataConfig(scenario="cifar10", root=str(small_root), storage=storage), seed=0)
    for one, other in zip(reference.evaluation(), splits.evaluation(), strict=True):
        everything = torch.arange(len(one.source))
        assert torch.equal(one.source.fetch(everything), other.source.fetch(everything))


def test_build__num_train__keeps_validation(small_root: Path) -> None:
    few = load_splits(DataConfig(scenario="cifar10", root=str(small_root), num_train=8), seed=0)
    assert few.train.source.columns["label"].values.bincount().tolist() == [2, 2, 2, 2]
    assert len(few.val.source) == 6


@pytest.mark.skipif("AUXO_DATA" not in os.environ, reason="AUXO_DATA does not name a folder of real images")
def test_build__real_copy__has_ten_classes_and_2500_corrupted_images() -> None:
    splits = load_splits(DataConfig(scenario="cifar10", num_train=1000), seed=0)
    assert len(splits.task().class_names) == 10
    assert splits.train.source.columns["label"].values.bincount().tolist() == [100] * 10
    assert len(splits.ood[0].source) == 2500
    assert splits.ood[0].source.columns["label"].values.bincount().tolist() == [250] * 10
