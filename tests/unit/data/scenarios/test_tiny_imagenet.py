from collections.abc import Callable
from pathlib import Path

import pytest

from auxo import registry
from auxo.data import DataConfig, load_splits
from auxo.data.fake import oriented_shapes
from auxo.errors import DataError


def test_build__small_copies__has_the_documented_sets(tmp_path: Path, write_parquet: Callable[..., Path]) -> None:
    for seed, (part, count) in enumerate({"train": 60, "test": 12}.items()):
        write_parquet(oriented_shapes(count, size=64, seed=seed), tmp_path / "tiny_imagenet" / f"{part}.parquet")
    splits = load_splits(DataConfig(scenario="tiny_imagenet", root=str(tmp_path)), seed=0)
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {"train": 54, "val": 6, "test": 12, "ood/corrupted-tiny_imagenet": 60}
    assert splits.image_shape == (3, 64, 64)


def test_build__no_copy__names_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*tiny_imagenet/train\.parquet"):
        load_splits(DataConfig(scenario="tiny_imagenet", root=str(tmp_path)), seed=0)


def test_registry__source__says_that_it_is_untested() -> None:
    assert "untested" in registry.entries("data.scenarios")["tiny_imagenet"].source
