import os
from collections.abc import Callable
from pathlib import Path

import pytest

from auxo.data import DataConfig, load_splits
from auxo.data.fake import oriented_shapes


@pytest.fixture
def copies(tmp_path: Path, write_parquet: Callable[..., Path]) -> str:
    for seed, (part, count) in enumerate({"train": 60, "test": 12}.items()):
        write_parquet(oriented_shapes(count, size=80, seed=seed), tmp_path / "imagenette" / f"{part}.parquet")
    return str(tmp_path)


def test_build__small_copies__has_the_documented_sets_of_64_pixels(copies: str) -> None:
    splits = load_splits(DataConfig(scenario="imagenette", root=copies), seed=0)
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {"train": 54, "val": 6, "test": 12, "ood/corrupted-imagenette": 60}
    assert all(split.source.image_shape == (3, 64, 64) for split in (splits.train, *splits.evaluation()))


def test_build__image_size__is_the_users(copies: str) -> None:
    splits = load_splits(DataConfig(scenario="imagenette", root=copies, image_size=48), seed=0)
    assert all(split.source.image_shape == (3, 48, 48) for split in (splits.train, *splits.evaluation()))


@pytest.mark.slow
@pytest.mark.skipif("AUXO_DATA" not in os.environ, reason="AUXO_DATA does not name a folder of real images")
def test_build__real_copy__has_ten_classes() -> None:
    splits = load_splits(DataConfig(scenario="imagenette"), seed=0)
    assert len(splits.task().class_names) == 10
    assert splits.train.source.columns["label"].values.bincount().tolist() == [54] * 10
    assert splits.image_shape == (3, 64, 64)
