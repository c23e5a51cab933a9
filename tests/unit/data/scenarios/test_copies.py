from collections.abc import Callable
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
import torch

from auxo.data import DataConfig
from auxo.data.fake import SHAPES, oriented_shapes
from auxo.data.loader import in_memory
from auxo.data.scenarios._copies import KnownSet, cut_train_and_val
from auxo.data.sources import InMemorySource
from auxo.errors import DataError
from auxo.tasks import Classification


def test_read__no_root__takes_the_hubs_part_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_dataset: Callable[..., datasets.Dataset], capsys: object
) -> None:
    monkeypatch.delenv("AUXO_DATA", raising=False)
    parts = {"train": oriented_shapes(12, size=16, seed=0), "test": oriented_shapes(8, size=16, seed=1)}
    saved = datasets.DatasetDict({k: make_dataset(v).rename_column("image", "img") for k, v in parts.items()})
    datasets.disable_progress_bars()
    saved.save_to_disk(str(tmp_path / "saved"))
    datasets.enable_progress_bars()
    known = KnownSet(name="x", hub=str(tmp_path / "saved"), hub_image_column="img")
    test = in_memory(known.read("test", DataConfig(), image_size=None))
    assert isinstance(test, InMemorySource)
    assert torch.equal(test.images, parts["test"].images)
    assert test.vocabulary["label"] == SHAPES


def test_read__no_root__takes_the_hubs_label_column_and_names_of_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_dataset: Callable[..., datasets.Dataset]
) -> None:
    monkeypatch.delenv("AUXO_DATA", raising=False)
    datasets.disable_progress_bars()
    valid = make_dataset(oriented_shapes(8, size=16, seed=1)).rename_column("label", "fine_label")
    datasets.DatasetDict({"train": valid.select(range(4)), "valid": valid}).save_to_disk(str(tmp_path / "saved"))
    datasets.enable_progress_bars()
    known = KnownSet(name="x", hub=str(tmp_path / "saved"), hub_label_column="fine_label", hub_parts=("train", "valid"))
    assert [len(known.read(part, DataConfig(), image_size=None)) for part in ("train", "test")] == [4, 8]


def test_read__users_columns__do_not_concern_a_known_set(small_root: Path) -> None:
    config = DataConfig(root=str(small_root), image_column="photo", label_column="kind")
    source = KnownSet(name="cifar10", hub="none/none").read("test", config, image_size=16)
    assert source.image_shape == (3, 16, 16)
    assert len(source) == 40


def test_read__hub_out_of_reach__tells_about_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUXO_DATA", raising=False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as caught:
        KnownSet(name="cifar10", hub="uoft-cs/cifar10").read("train", DataConfig(), image_size=None)
    message = str(caught.value)
    assert "\n" not in message
    assert "hf://uoft-cs/cifar10:train" in message
    assert "cifar10/train.parquet by --data.root or AUXO_DATA" in message


def test_read__column_that_the_hubs_set_lacks__is_not_the_networks_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_dataset: Callable[..., datasets.Dataset]
) -> None:
    monkeypatch.delenv("AUXO_DATA", raising=False)
    datasets.disable_progress_bars()
    whole = make_dataset(oriented_shapes(8, size=16, seed=1)).add_column("domain", ["sketch", "photo"] * 4)
    datasets.DatasetDict({"train": whole, "test": whole}).save_to_disk(str(tmp_path / "saved"))
    datasets.enable_progress_bars()
    known = KnownSet(name="x", hub=str(tmp_path / "saved"))
    source = known.read("test", DataConfig(columns=("domain",)), image_size=None)
    assert source.columns["domain"].names == ("photo", "sketch")
    with pytest.raises(DataError, match=r"a column 'site', got the columns image, label, domain .*--data\.columns"):
        known.read("test", DataConfig(columns=("site",)), image_size=None)


def test_read__environment__is_the_default_root(small_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXO_DATA", str(small_root))
    assert len(KnownSet(name="usps", hub="none/none").read("test", DataConfig(), image_size=None)) == 24


def test_cut_train_and_val__no_number__uses_all(small_root: Path) -> None:
    source = KnownSet(name="cifar10", hub="none/none").read("train", DataConfig(root=str(small_root)), image_size=None)
    train, val = cut_train_and_val(source, "cifar10", num_train=None, num_val=8, seed=0, task=Classification)
    assert (train.name, len(train), val.name, len(val)) == ("cifar10-train", 52, "cifar10-val", 8)
    assert sorted([*train.rows.tolist(), *val.rows.tolist()]) == list(range(60))
