import os
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import torch

from auxo import registry
from auxo.data import DataConfig, load_splits
from auxo.data.digits_rendering import centre_digits
from auxo.data.fake import oriented_shapes
from auxo.data.sources import InMemorySource
from auxo.errors import DataError

NAME = "mnist-usps-mnistm"
MakeDataset = Callable[[InMemorySource], datasets.Dataset]


def test_registry__key__has_hyphens() -> None:
    entry = registry.entries("data.scenarios")[NAME]
    assert entry.module == "auxo.data.scenarios.mnist_usps_mnistm"
    assert "untested" in entry.source


def test_build__small_copies__has_the_documented_sets(small_root: Path) -> None:
    splits = load_splits(DataConfig(scenario=NAME, root=str(small_root), num_train=120), seed=0)
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {"train": 120, "val": 1000, "test": 40, "ood/usps": 24, "ood/mnistm": 24}
    assert splits.image_shape == (3, 28, 28)
    assert splits.train.source.columns["label"].values.bincount().tolist() == [30] * 4


def test_build__usps__is_drawn_as_mnist_is(small_root: Path) -> None:
    splits = load_splits(DataConfig(scenario=NAME, root=str(small_root), num_train=120), seed=0)
    usps = splits.ood[0].source
    original = oriented_shapes(24, size=16, seed=2)
    expected = centre_digits(original.images[:, 0])[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(usps.fetch(torch.arange(24)), expected)
    assert torch.equal(usps.columns["label"].values, original.columns["label"].values)
    assert "usps/test.parquet" in usps.describe(3)


def test_build__image_without_a_label__is_told_of_usps_too(small_root: Path, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(oriented_shapes(24, size=16, seed=2))
    labels = [None, *dataset["label"][1:]]
    with (small_root / "usps" / "test.parquet").open("wb") as file:
        dataset.remove_columns("label").add_column("label", labels, feature=dataset.features["label"]).to_parquet(file)
    config = DataConfig(scenario=NAME, root=str(small_root), num_train=120, unknown="ignore")
    usps = load_splits(config, seed=0).ood[0].source
    assert (len(usps), usps.notes) == (23, ("left out 1 of 24 images of 'usps-test': 1 without a value of 'label'",))


def test_build__smaller_num_train__is_a_part_of_the_larger(small_root: Path) -> None:
    few, many = (
        load_splits(DataConfig(scenario=NAME, root=str(small_root), num_train=count), seed=0) for count in (40, 160)
    )
    assert set(few.train.source.content_hashes()) <= set(many.train.source.content_hashes())
    assert few.val.source.content_hashes() == many.val.source.content_hashes()


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_build__image_size__resizes_every_set(small_root: Path, storage: str) -> None:
    config = DataConfig(scenario=NAME, root=str(small_root), num_train=40, image_size=20, storage=storage)
    splits = load_splits(config, seed=0)
    assert all(split.source.image_shape == (3, 20, 20) for split in (splits.train, *splits.evaluation()))


def test_build__too_many__is_one_line(small_root: Path) -> None:
    with pytest.raises(DataError, match=r"num-train of at most 200 for mnist, got 4000, with 1000 of its 1200"):
        load_splits(DataConfig(scenario=NAME, root=str(small_root)), seed=0)


def test_build__set_missing__names_the_file(small_root: Path) -> None:
    (small_root / "usps" / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"no file .*usps/test.parquet.*--data.root or AUXO_DATA"):
        load_splits(DataConfig(scenario=NAME, root=str(small_root), num_train=40), seed=0)


@pytest.mark.slow
@pytest.mark.skipif("AUXO_DATA" not in os.environ, reason="AUXO_DATA does not name a folder of real images")
def test_build__real_copies__have_the_sizes_of_the_sets() -> None:
    splits = load_splits(DataConfig(scenario=NAME), seed=0)
    sizes = {split.name: len(split.source) for split in (splits.train, *splits.evaluation())}
    assert sizes == {"train": 4000, "val": 1000, "test": 10_000, "ood/usps": 2007, "ood/mnistm": 5000}
    usps = splits.ood[0].source
    pixels = usps.fetch(torch.arange(len(usps)))[:, 0].double()
    places = torch.arange(28, dtype=torch.float64)
    rows = (pixels.sum(2) * places).sum(1) / pixels.sum((1, 2))
    assert rows.mean().item() == pytest.approx(14, abs=0.1)
