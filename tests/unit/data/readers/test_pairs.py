"""Folders of images and masks: how they are paired, and what is said of pairs that are none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.readers import read_source, read_unlabelled
from auxo.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, write_pairs: Write) -> Path:
    return write_pairs(tmp_path / "street")


def read(root: Path, **options: object):
    return read_source(str(root), DataConfig(**options), mask="mask")


@pytest.mark.parametrize("masks", ["masks", "annotations", "labels"])
def test_read_pairs__folder_of_masks__may_have_three_names(tmp_path: Path, write_pairs: Write, masks: str) -> None:
    source = read(write_pairs(tmp_path / "street", masks=masks))
    assert (source.name, len(source), source.image_shape) == ("street", 12, (3, 16, 20))


def test_read_pairs__two_forms_of_one_letter__are_a_pair(root: Path) -> None:
    (root / "images" / "000.png").rename(root / "images" / "caf\u00e9.png")
    (root / "masks" / "000.png").rename(root / "masks" / "cafe\u0301.png")
    assert len(read(root)) == 12


def test_read_pairs__suffixes_and_folders_below__pair_by_name(root: Path) -> None:
    plain = read(root)
    for folder, suffix in (("images", ".bmp"), ("masks", ".tif")):
        (root / folder / "town").mkdir()
        (root / folder / "003.png").rename(root / folder / "town" / "003.png")
        (root / folder / "000.png").rename(root / folder / f"000{suffix}")  # what it is, the content says
        (root / folder / ".hidden").write_bytes(b"x")
    moved = read(root)
    order = [plain.content_hashes().index(content) for content in moved.content_hashes()]
    everything = torch.arange(12)
    assert sorted(order) == everything.tolist()
    found = moved.fetch_targets(everything)["mask"]
    assert torch.equal(found, plain.fetch_targets(torch.tensor(order))["mask"])


def test_read_pairs__further_columns__come_from_the_table(root: Path, write_csv: Write) -> None:
    rows = [[f"images/{i:03d}.png", "day" if i % 2 else "night"] for i in range(12)]
    write_csv([["path", "time"], *rows], root / "labels.csv")
    source = read(root, columns=("time",))
    assert source.columns["time"].names == ("day", "night")
    assert source.columns["time"].values.tolist() == [1, 0] * 6


def test_read_pairs__image_without_a_mask__is_named_or_left_out(root: Path) -> None:
    (root / "masks" / "005.png").unlink()
    with pytest.raises(DataError, match=r"a mask for every image, got none for .*images/005.png: .* --data.unknown"):
        read(root)
    source = read(root, unknown="ignore")
    assert len(source) == 11
    assert source.notes == ("left out 1 of 12 images of 'street': 1 without a mask",)
    assert all("005" not in source.describe(i) for i in range(11))


def test_read_pairs__mask_without_an_image__is_named_or_left_out(root: Path) -> None:
    (root / "images" / "005.png").unlink()
    with pytest.raises(DataError, match=r"an image in .*images for every mask, got none for .*masks/005.png"):
        read(root)
    source = read(root, unknown="ignore")
    assert len(source) == 11
    assert source.notes == ("left out 1 masks of 'street' that have no image",)


def test_read_pairs__two_files_of_one_stem__are_named(root: Path) -> None:
    (root / "masks" / "005.bmp").write_bytes((root / "masks" / "005.png").read_bytes())
    with pytest.raises(DataError, match=r"differ in more than the suffix, got .*005.bmp and .*005.png"):
        read(root)


def test_read_pairs__folders_of_classes__says_what_pairs_are(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"the folders images and masks \(or annotations, labels\), got cat, dog in"):
        read(tmp_path)


def test_read_pairs__two_folders_of_masks__are_refused(root: Path) -> None:
    (root / "labels").mkdir()
    with pytest.raises(DataError, match=r"one folder of masks, got .*street/masks and .*street/labels: move"):
        read(root)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_read_pairs__empty_folder__is_named(root: Path, folder: str) -> None:
    for file in (root / folder).iterdir():
        file.unlink()
    with pytest.raises(DataError, match=rf"images in the folder, got none in .*{folder} or below"):
        read(root)


def test_read_folder__pairs_for_a_task_of_classes__says_which_task_they_are_for(root: Path) -> None:
    with pytest.raises(DataError, match=r"one folder of images per class, got the pairs .* auxo train segmenter"):
        read_source(str(root), DataConfig())


@pytest.mark.parametrize("has_pairs", [True, False])
def test_read_unlabelled__pairs_or_plain_folder__has_hidden_masks(root: Path, has_pairs: bool) -> None:
    source = read_unlabelled(str(root if has_pairs else root / "images"), DataConfig(), mask="mask")
    assert len(source) == 12
    assert source.vocabulary == {"mask": ()}
    assert (source.fetch_targets(torch.arange(12))["mask"] == 255).all()


def test_read_pairs__folder_within_the_images__goes_with_that_of_the_masks(tmp_path: Path, write_pairs: Write) -> None:
    root = write_pairs(tmp_path / "street")
    (root / "classes.csv").write_text("name,index\nsky,0\ntree,1\nroad,2\n")
    for folder in ("images", "masks"):
        for part, numbers in (("train", range(8)), ("val", range(8, 12))):
            (root / folder / part).mkdir()
            for i in numbers:
                (root / folder / f"{i:03d}.png").rename(root / folder / part / f"{i:03d}.png")
    source = read(root / "images" / "train")
    assert len(source) == 8
    assert source.name == "images-train"
    assert source.vocabulary["mask"] == ("sky", "tree", "road")
    assert len(read(root / "images")) == 12
    with pytest.raises(DataError, match=r"one set of images, got .*, which is divided into images/train, images/val"):
        read(root)


def test_read_pairs__ending_of_all_masks__does_not_count(root: Path) -> None:
    expected = read(root)
    for file in sorted((root / "masks").iterdir()):
        file.rename(file.with_stem(f"{file.stem}_mask"))
    source = read(root)
    everything = torch.arange(12)
    assert torch.equal(source.fetch_targets(everything)["mask"], expected.fetch_targets(everything)["mask"])
    (root / "masks" / "003_mask.png").rename(root / "masks" / "003.png")
    with pytest.raises(DataError, match=r"an image in .* for every mask, got none for .*000_mask.png"):
        read(root)
