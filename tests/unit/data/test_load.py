import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.load import load_splits, ood_splits
from auxo.data.sources import InMemorySource
from auxo.data.splits import Splits
from auxo.data.streaming import StreamingSource
from auxo.errors import ConfigError, DataError
from auxo.files.moved import MovedPlaces, finding_moved
from auxo.tasks import Segmentation

Write = Callable[[InMemorySource, Path], Path]


@pytest.fixture
def photos(tmp_path: Path, write_folder: Write) -> str:
    """A folder of 100 images, 25 of each of 4 classes."""
    return str(write_folder(oriented_shapes(100, size=16, seed=0), tmp_path / "photos"))


@pytest.fixture
def elsewhere(tmp_path: Path, write_folder: Write) -> str:
    return str(write_folder(oriented_shapes(12, size=16, seed=1), tmp_path / "elsewhere"))


def sizes(splits: Splits) -> dict[str, int]:
    parts = [splits.train, *splits.evaluation(), *([splits.meta] if splits.meta else [])]
    return {split.name: len(split.source) for split in parts}


def test_load_splits__train_only__cuts_val_and_test(photos: str) -> None:
    splits = load_splits(DataConfig(train=photos, test_fraction=0.2), seed=0)
    assert sizes(splits) == {"train": 70, "val": 10, "test": 20}
    assert splits.train.source.vocabulary["label"] == ("arrow", "corner", "tee", "wedge")
    assert splits.image_shape == (3, 16, 16)
    for split in (splits.train, *splits.evaluation()):
        counts = split.source.columns["label"].values.bincount()
        assert counts.max() - counts.min() <= 1


def test_load_splits__all_given__uses_them_whole(
    tmp_path: Path, photos: str, elsewhere: str, write_folder: Write
) -> None:
    val = str(write_folder(oriented_shapes(8, size=16, seed=2), tmp_path / "val"))
    test = str(write_folder(oriented_shapes(16, size=16, seed=3), tmp_path / "test"))
    splits = load_splits(DataConfig(train=photos, val=val, test=test, ood=(elsewhere,)), seed=0)
    assert sizes(splits) == {"train": 100, "val": 8, "test": 16, "ood/elsewhere": 12}


def test_load_splits__test_given__cuts_val_only(tmp_path: Path, photos: str, write_folder: Write) -> None:
    test = str(write_folder(oriented_shapes(16, size=16, seed=3), tmp_path / "test"))
    assert sizes(load_splits(DataConfig(train=photos, test=test), seed=0)) == {"train": 90, "val": 10, "test": 16}


def test_load_splits__no_test__is_none(photos: str) -> None:
    splits = load_splits(DataConfig(train=photos, test_fraction=0.0), seed=0)
    assert splits.test is None
    assert sizes(splits) == {"train": 90, "val": 10}


def test_load_splits__num_train_and_meta__are_taken_from_what_is_left(photos: str) -> None:
    splits = load_splits(DataConfig(train=photos, num_train=40, meta_fraction=0.25), seed=0)
    assert sizes(splits) == {"train": 30, "val": 10, "test": 10, "meta": 10}
    assert splits.meta is not None
    hashes = [set(s.source.content_hashes()) for s in (splits.train, splits.meta, *splits.evaluation())]
    assert len(set.union(*hashes)) == sum(len(h) for h in hashes) == 60


def test_load_splits__num_train__leaves_val_and_test_as_they_were(photos: str) -> None:
    few, many = (load_splits(DataConfig(train=photos, num_train=n), seed=0) for n in (20, None))
    assert few.val.source.content_hashes() == many.val.source.content_hashes()
    assert few.test is not None
    assert many.test is not None
    assert few.test.source.content_hashes() == many.test.source.content_hashes()
    assert set(few.train.source.content_hashes()) < set(many.train.source.content_hashes())


def test_load_splits__seed__decides_the_parts(photos: str) -> None:
    first, again, other = (load_splits(DataConfig(train=photos), seed=seed) for seed in (0, 0, 1))
    hashes = [splits.val.source.content_hashes() for splits in (first, again, other)]
    assert hashes[0] == hashes[1]
    assert set(hashes[0]) != set(hashes[2])


def test_load_splits__streaming__gives_the_same_parts_as_memory(photos: str, elsewhere: str) -> None:
    stream, memory = (
        load_splits(DataConfig(train=photos, ood=(elsewhere,), meta_fraction=0.2, storage=storage), seed=0)
        for storage in ("stream", "memory")
    )
    assert isinstance(stream.train.source, StreamingSource)
    assert isinstance(memory.train.source, InMemorySource)
    for a, b in zip((stream.train, *stream.evaluation()), (memory.train, *memory.evaluation()), strict=True):
        everything = torch.arange(len(a.source))
        assert torch.equal(a.source.fetch(everything), b.source.fetch(everything))
        assert torch.equal(a.source.columns["label"].values, b.source.columns["label"].values)


def test_load_splits__ood_names_alike__are_numbered(tmp_path: Path, photos: str, write_folder: Write) -> None:
    ood = tuple(
        str(write_folder(oriented_shapes(8, size=16, seed=seed), tmp_path / str(seed) / "city")) for seed in (5, 6)
    )
    splits = load_splits(DataConfig(train=photos, ood=ood), seed=0)
    assert [split.name for split in splits.ood] == ["ood/city", "ood/city-2"]


def test_ood_splits__number_already_taken__takes_the_next(shapes: InMemorySource) -> None:
    sources = [shapes.subset(torch.arange(4), name) for name in ("x", "x", "x-2", "y")]
    assert [split.name for split in ood_splits(sources)] == ["ood/x", "ood/x-2", "ood/x-2-2", "ood/y"]


def test_load_splits__fewer_classes_elsewhere__are_mapped_by_name(
    tmp_path: Path, photos: str, write_folder: Write
) -> None:
    shapes = oriented_shapes(12, size=16, seed=1)
    tees = shapes.subset((shapes.columns["label"].values == 2).nonzero().flatten(), "tees")
    splits = load_splits(DataConfig(train=photos, ood=(str(write_folder(tees, tmp_path / "tees")),)), seed=0)
    assert splits.ood[0].source.columns["label"].values.tolist() == [2, 2, 2]


def test_load_splits__other_image_size__is_brought_to_that_of_train(
    tmp_path: Path, photos: str, write_folder: Write
) -> None:
    large = str(write_folder(oriented_shapes(8, size=24, seed=1), tmp_path / "large"))
    splits = load_splits(DataConfig(train=photos, ood=(large,)), seed=0)
    assert splits.image_shape == splits.ood[0].source.image_shape == (3, 16, 16)
    splits = load_splits(DataConfig(train=photos, ood=(large,), image_size=20), seed=0)
    assert splits.image_shape == splits.ood[0].source.image_shape == (3, 20, 20)


def test_load_splits__same_image_twice__is_refused_or_dropped(tmp_path: Path, photos: str, write_folder: Write) -> None:
    copies = str(write_folder(oriented_shapes(100, size=16, seed=0).subset(torch.arange(8), "x"), tmp_path / "copies"))
    config = DataConfig(train=photos, ood=(copies,), val_fraction=0.2, test_fraction=0.2)
    with pytest.raises(DataError, match=r"no image in two splits.*remove the copies, or pass --data\.on-overlap drop"):
        load_splits(config, seed=0)
    splits = load_splits(DataConfig(train=photos, ood=(copies,), on_overlap="drop"), seed=0)
    assert sum(sizes(splits).values()) == 100
    assert sizes(splits)["ood/copies"] == 8


def test_load_splits__rare_class_left_without_training_images__is_refused(
    tmp_path: Path, photos: str, write_folder: Write
) -> None:
    shapes = oriented_shapes(100, size=16, seed=0)
    only = (shapes.columns["label"].values == 3).nonzero().flatten()
    ood = str(write_folder(shapes.subset(only, "x"), tmp_path / "wedges"))
    with pytest.raises(DataError, match="training images of all 4 classes, got none of 'wedge'"):
        load_splits(DataConfig(train=photos, ood=(ood,), on_overlap="drop"), seed=0)


def test_load_splits__too_few_to_cut__says_which_set(tmp_path: Path, write_folder: Write) -> None:
    tiny = str(write_folder(oriented_shapes(4, size=16, seed=0), tmp_path / "tiny"))
    with pytest.raises(DataError, match=r"enough images in 'tiny' to cut a val set from, got 4"):
        load_splits(DataConfig(train=tiny), seed=0)
    with pytest.raises(DataError, match="at least 4 images, one per class, got a part of 2 out of 4"):
        load_splits(DataConfig(train=tiny, val_fraction=0.5, test_fraction=0.0), seed=0)


def test_load_splits__unknown_scenario__gives_the_nearest() -> None:
    with pytest.raises(ConfigError, match="one of auxo's scenarios, got 'digit'"):
        load_splits(DataConfig(scenario="digit"), seed=0)


def test_load_splits__scenario__applies_num_train_once_and_takes_more_ood(tmp_path: Path, write_folder: Write) -> None:
    plain = load_splits(DataConfig(num_train=200), seed=0)
    some = plain.ood[0].source.subset(torch.arange(20), "mine")
    changed = InMemorySource("mine", 255 - some.images, some.columns)
    mine = str(write_folder(changed, tmp_path / "mine"))
    splits = load_splits(DataConfig(num_train=200, meta_fraction=0.25, ood=(mine,)), seed=0)
    assert len(plain.train.source) == 200
    assert splits.meta is not None
    assert (len(splits.train.source), len(splits.meta.source)) == (150, 50)
    assert [split.name for split in splits.ood] == [*(split.name for split in plain.ood), "ood/mine"]
    found = splits.ood[-1].source.columns["label"].values.tolist()
    assert sorted(found) == sorted(some.columns["label"].values.tolist())


@pytest.mark.skipif("AUXO_DATA" not in os.environ, reason="AUXO_DATA does not name a folder of real images")
def test_load_splits__real_digits__load_and_agree() -> None:
    root = Path(os.environ["AUXO_DATA"])
    config = DataConfig(
        train=str(root / "mnist/test.parquet"), ood=(str(root / "mnistm/test.parquet"),), num_train=2000
    )
    splits = load_splits(config, seed=0)
    assert sizes(splits) == {"train": 2000, "val": 1000, "test": 1000, "ood/mnistm-test": 5000}
    assert splits.task().num_outputs == 10


def test_load_splits__no_copies__cuts_as_recorded(tmp_path: Path) -> None:
    for i in range(60):
        folder = tmp_path / "abc"[i % 3]
        folder.mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    config = DataConfig(train=str(tmp_path), val_fraction=0.2, test_fraction=0.1, num_labelled=21, meta_fraction=0.15)
    splits = load_splits(config, seed=5)
    assert splits.test is not None
    assert splits.meta is not None
    parts = [splits.train, splits.meta, splits.val, splits.test]
    sources = [part.source for part in parts]
    drawn = [[int(Path(source.describe(i)).stem) for i in range(len(source))] for source in sources]
    assert drawn == [  # by auxo before copies stayed together
        [6, 12, 18, 27, 42, 57, 1, 7, 10, 25, 34, 58, 11, 14, 26, 32, 44, 59],
        [0, 28, 8],
        [15, 24, 45, 48, 4, 19, 37, 43, 5, 17, 23, 53],
        [21, 33, 22, 52, 29, 35],
    ]


def test_load_splits__copies_in_a_folder__are_never_divided_whatever_the_seed(
    tmp_path: Path, write_folder: Write
) -> None:
    copied = oriented_shapes(60, size=16, seed=0).subset(torch.tensor([*range(60), *range(12)]), "x")
    folder = str(write_folder(copied, tmp_path / "photos"))
    for seed in range(4):
        config = DataConfig(train=folder, val_fraction=0.2, test_fraction=0.2, meta_fraction=0.2, num_labelled=40)
        splits = load_splits(config, seed=seed)
        assert splits.test is not None
        assert splits.meta is not None
        parts = [set(s.source.content_hashes()) for s in (splits.train, splits.meta, splits.val, splits.test)]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert splits.notes == ("12 copies of 12 images of 'photos' stay in the split of the image",)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__same_image_under_two_labels__names_both_rows(
    tmp_path: Path, photos: str, write_csv: Callable[..., Path], storage: str
) -> None:
    files = sorted(Path(photos).glob("*/*.png"))
    rows = [["path", "label"], *([str(file), file.parent.name] for file in files), [str(files[3]), "wedge"]]
    table = write_csv(rows, tmp_path / "list.csv")
    config = DataConfig(train=str(table), storage=storage)  # type: ignore[arg-type]  # one of two words
    expected = rf"'arrow' of {files[3]} \(line 5 of {table}\) and 'wedge' of {files[3]} \(line 102 of"
    with pytest.raises(DataError, match=expected):
        load_splits(config, seed=0)


def test_load_splits__same_image_under_two_labels_in_parquet__is_refused(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Write
) -> None:
    twice = shapes.subset(torch.tensor([*range(40), 0]), "x")
    label = twice.columns["label"]
    values = label.values.clone()
    values[40] = (values[0] + 1) % 4
    table = write_parquet(
        cast("InMemorySource", twice.with_columns({"label": label._replace(values=values)})),
        tmp_path / "shapes.parquet",
    )
    with pytest.raises(DataError, match=r"one label of every image, got .*row 0 of .* and .*row 40 of"):
        load_splits(DataConfig(train=str(table)), seed=0)


def test_load_splits__same_image_with_two_masks__is_refused(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    root = write_pairs(tmp_path / "street")
    shutil.copy(root / "images" / "000.png", root / "images" / "copy.png")
    shutil.copy(root / "masks" / "000.png", root / "masks" / "copy.png")
    splits = load_splits(DataConfig(train=str(root)), seed=0, task=Segmentation)
    assert "1 copy of 1 image of 'street' stays in the split of the image" in splits.notes
    shutil.copy(root / "masks" / "001.png", root / "masks" / "copy.png")
    with pytest.raises(DataError, match=r"one mask of every image, got another of .*000\.png than of .*copy\.png"):
        load_splits(DataConfig(train=str(root)), seed=0, task=Segmentation)


@pytest.fixture
def patients(photos: str, write_csv: Callable[..., Path]) -> Callable[[str, list[str]], str]:
    """Write a CSV of the hundred images, with a patient for each."""

    def write(name: str, numbers: list[str]) -> str:
        files = sorted(Path(photos).glob("*/*.png"))
        rows = [[str(file), file.parent.name, number] for file, number in zip(files, numbers, strict=False)]
        return str(write_csv([["path", "label", "patient"], *rows], Path(photos).parent / name))

    return write


def test_load_splits__block_column__keeps_blocks_in_one_split(patients: Callable[[str, list[str]], str]) -> None:
    table = patients("list.csv", [f"p{i % 20}" for i in range(100)])
    config = DataConfig(train=table, block_column="patient", val_fraction=0.2, test_fraction=0.2, meta_fraction=0.2)
    splits = load_splits(config, seed=0)
    assert sizes(splits) == {"train": 50, "val": 20, "test": 20, "meta": 10}
    assert splits.test is not None
    assert splits.meta is not None
    parts = [splits.train, splits.meta, splits.val, splits.test]
    found = [set(part.source.columns["patient"].values.tolist()) for part in parts]
    assert sum(map(len, found)) == len(set.union(*found)) == 20
    assert {part.source.blocks for part in parts} == {"patient"}


def test_load_splits__block_in_two_given_sets__is_refused_or_dropped(
    patients: Callable[[str, list[str]], str], write_csv: Callable[..., Path]
) -> None:
    rows = Path(patients("all.csv", [f"p{i % 20}" for i in range(100)])).read_text().splitlines()
    folder = Path(patients("all.csv", [f"p{i % 20}" for i in range(100)])).parent
    (folder / "test.csv").write_text("\n".join([rows[0], *(row for row in rows if row.endswith((",p0", ",p1"))), ""]))
    others = [row for row in rows[1:] if not row.endswith((",p0", ",p1"))]
    moved = [others[0].rsplit(",", 1)[0] + ",p1"]
    (folder / "train.csv").write_text("\n".join([rows[0], *moved, *others[1:], ""]))
    config = DataConfig(train=str(folder / "train.csv"), test=str(folder / "test.csv"), block_column="patient")
    expected = r"no block of 'patient' in two splits, (train|val) and test, got 1 of"
    with pytest.raises(DataError, match=expected):
        load_splits(config, seed=0)
    splits = load_splits(replace(config, on_overlap="drop"), seed=0)
    assert sum(sizes(splits).values()) == 99


def test_load_splits__unlabelled_images_of_a_judged_block__are_refused(
    patients: Callable[[str, list[str]], str],
) -> None:
    rows = Path(patients("all.csv", [f"p{i % 20}" for i in range(100)])).read_text().splitlines()
    folder = Path(patients("all.csv", [f"p{i % 20}" for i in range(100)])).parent
    for name, patients_of in {"train": range(10), "test": range(10, 15), "unlabelled": range(14, 20)}.items():
        endings = tuple(f",p{number}" for number in patients_of)
        own = [row for row in rows[1:] if row.endswith(endings)]
        # One block of the test set has images without labels, too, which are others.
        own = own[::2] if name == "test" else own
        kept = [row for row in own if name != "unlabelled" or row not in (folder / "test.csv").read_text()]
        (folder / f"{name}.csv").write_text("\n".join([rows[0], *kept, ""]))
    places = {name: str(folder / f"{name}.csv") for name in ("train", "test", "unlabelled")}
    with pytest.raises(DataError, match="no block of 'patient' in two splits, unlabelled and test"):
        load_splits(DataConfig(**places, block_column="patient"), seed=0)


def test_load_splits__num_labelled_and_blocks__meta_shares_none_with_the_unlabelled(
    patients: Callable[[str, list[str]], str],
) -> None:
    table = patients("list.csv", [f"p{i % 20}" for i in range(100)])
    config = DataConfig(train=table, block_column="patient", num_labelled=40, meta_fraction=0.3)
    splits = load_splits(config, seed=1)
    assert splits.meta is not None
    assert splits.unlabelled is not None
    apart, rest = (set(each.source.columns["patient"].values.tolist()) for each in (splits.meta, splits.unlabelled))
    assert apart
    assert not apart & rest


def test_load_splits__csv_of_whole_paths_that_moved__has_the_same_images_and_names(
    patients: Callable[[str, list[str]], str], tmp_path: Path
) -> None:
    table = patients("list.csv", [f"p{i % 20}" for i in range(100)])
    config = DataConfig(train=table)
    before = load_splits(config, seed=0)
    digests = before.digests()
    (tmp_path / "disk").mkdir()
    shutil.move(tmp_path / "photos", tmp_path / "disk" / "other-name")
    with finding_moved(MovedPlaces({})), pytest.raises(DataError, match=r"pass --moved \S*/photos/\w+=NEW with"):
        load_splits(config, seed=0)
    with finding_moved(MovedPlaces({str(tmp_path / "photos"): str(tmp_path / "disk" / "other-name")})):
        assert load_splits(config, seed=0).digests() == digests
    shutil.move(table, tmp_path / "disk" / "table.csv")
    places = {str(tmp_path / "photos"): str(tmp_path / "disk" / "other-name"), table: str(tmp_path / "disk/table.csv")}
    with finding_moved(MovedPlaces(places)):
        found = load_splits(config, seed=0)
        assert found.digests() == digests
        assert found.train.source.name == before.train.source.name == "list"
