import os
from collections.abc import Callable
from pathlib import Path

import pytest

from auxo.data import DataConfig, load_splits
from auxo.data.fake import oriented_shapes


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
