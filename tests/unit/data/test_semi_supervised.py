"""Few labels: which are kept, and that the others reach nobody."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.load import load_splits
from auxo.data.readers import read_unlabelled
from auxo.data.semi_supervised import hide_targets
from auxo.data.sources import InMemorySource, PlaceMap
from auxo.data.splits import Splits, TestSplit, TrainSplit, UnlabelledSplit, ValSplit, check_disjoint
from auxo.data.streaming import StreamingSource
from auxo.errors import ConfigError, DataError
from auxo.tasks import Classification, Segmentation
from auxo.types import Column

Write = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path, write_folder: Write) -> str:
    """A folder of 100 images, 25 of each of 4 classes."""
    return str(write_folder(oriented_shapes(100, size=16, seed=0), tmp_path / "photos"))


def make_splits(num_train: int = 40) -> Splits:
    source = oriented_shapes(80, size=16, seed=0)
    train, val, test = (
        source.subset(torch.arange(*part), name)
        for name, part in (("a", (0, num_train)), ("b", (40, 60)), ("c", (60, 80)))
    )
    return Splits(TrainSplit(train), ValSplit(val), TestSplit(test))


@pytest.mark.parametrize("size", [4, 6, 20, 40])
def test_hide_targets__number__is_drawn_evenly_and_all_images_stay_unlabelled(size: int) -> None:
    splits = make_splits()
    hidden = hide_targets(splits, size, seed=0)
    counts = hidden.train.source.columns["label"].values.bincount(minlength=4)
    assert counts.sum() == size
    assert counts.max() - counts.min() <= 1
    assert hidden.unlabelled is not None
    assert hidden.unlabelled.source.content_hashes() == splits.train.source.content_hashes()
    assert (hidden.unlabelled.source.columns["label"].values == -1).all()
    assert hidden.unlabelled.source.vocabulary["label"] == ()
    train = splits.train.source
    whole = dict(zip(train.content_hashes(), train.columns["label"].values.tolist(), strict=True))
    labelled = hidden.train.source
    assert [whole[content] for content in labelled.content_hashes()] == labelled.columns["label"].values.tolist()


def test_hide_targets__uneven_classes__are_drawn_evenly_all_the_same() -> None:
    source = oriented_shapes(80, size=16, seed=0)
    labels = torch.tensor([0] * 50 + [1] * 20 + [2] * 5 + [3] * 5)
    uneven = InMemorySource("uneven", source.images, {"label": Column(labels, source.vocabulary["label"])})
    splits = replace(make_splits(), train=TrainSplit(uneven))
    assert hide_targets(splits, 20, seed=0).train.source.columns["label"].values.bincount().tolist() == [5] * 4
    expected = r"at least 6 training images of every class for data.num-labelled 24, got 5 of 'tee' in 'uneven'"
    with pytest.raises(DataError, match=expected):
        hide_targets(splits, 24, seed=0)


class Sites(Classification):
    """Classes whose images are drawn by a further column, in numbers with gaps."""

    @classmethod
    def strata(cls, source: InMemorySource) -> Column:
        return Column(10 * source.columns["site"].values - 5, ())


def test_hide_targets__strata_that_are_no_classes__are_drawn_evenly_and_named_by_an_image() -> None:
    source = oriented_shapes(80, size=16, seed=0)
    site = Column(torch.tensor([0] * 20 + [2] * 53 + [5] * 7), tuple("abcdef"))
    splits = replace(make_splits(), train=TrainSplit(source.with_columns({**source.columns, "site": site})))
    splits = replace(splits, task_kind=Sites)
    assert hide_targets(splits, 20, seed=0).train.source.columns["site"].values.bincount().tolist() in (
        [7, 0, 7, 0, 0, 6],
        [7, 0, 6, 0, 0, 7],
        [6, 0, 7, 0, 0, 7],
    )
    expected = (
        "at least 8 training images of every kind for data.num-labelled 24, got 7 like image 73 of 'oriented-shapes' in"
    )
    with pytest.raises(DataError, match=expected):
        hide_targets(splits, 24, seed=0)
    with pytest.raises(DataError, match=r"data\.num-labelled of at least 3, one image per kind, got 2"):
        hide_targets(splits, 2, seed=0)


def test_hide_targets__seed__decides() -> None:
    first, again, other = (hide_targets(make_splits(), 8, seed=seed).train.source for seed in (0, 0, 1))
    assert first.content_hashes() == again.content_hashes()
    assert first.content_hashes() != other.content_hashes()


def test_hide_targets__fewer_than_classes__is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.num-labelled of at least 4, one image per class, got 3"):
        hide_targets(make_splits(), 3, seed=0)


def test_config__one_label__is_refused() -> None:
    with pytest.raises(ConfigError, match=r"num-labelled >= 2, got 1"):
        DataConfig(num_labelled=1)


def test_load_splits__num_labelled_of_num_train__with_meta_apart(photos: str) -> None:
    config = DataConfig(train=photos, num_train=60, num_labelled=24, meta_fraction=0.5)
    splits = load_splits(config, seed=0)
    assert splits.meta is not None
    assert splits.unlabelled is not None
    assert (len(splits.train.source), len(splits.meta.source), len(splits.unlabelled.source)) == (12, 12, 48)
    train, meta, unlabelled = (
        set(split.source.content_hashes()) for split in (splits.train, splits.meta, splits.unlabelled)
    )
    assert train <= unlabelled
    assert not meta & unlabelled
    assert list(splits.digests()) == ["train", "meta", "unlabelled", "val"]
    assert splits.task().class_counts == (3, 3, 3, 3)


def test_load_splits__without_the_options__has_no_unlabelled_split_and_the_same_digests(photos: str) -> None:
    splits = load_splits(DataConfig(train=photos), seed=0)
    assert splits.unlabelled is None
    assert list(splits.digests()) == ["train", "val"]


def test_digests__other_unlabelled_images__differ(photos: str) -> None:
    ours = load_splits(DataConfig(train=photos, num_labelled=8), seed=0)
    fewer = ours.unlabelled.source.subset(torch.arange(10), "fewer")
    theirs = replace(ours, unlabelled=UnlabelledSplit(fewer))
    differing = {name for name, digest in ours.digests().items() if theirs.digests()[name] != digest}
    assert differing == {"unlabelled"}


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__own_images__are_read_whatever_their_folders(
    tmp_path: Path, photos: str, png: Callable[..., bytes], storage: str
) -> None:
    root = tmp_path / "more"
    for number, place in enumerate(("a.png", "deep/er/b.png", "deep/c.png", ".hidden/d.png")):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = oriented_shapes(4, size=16, seed=7).images[number]
        path.write_bytes(png(pixels.permute(1, 2, 0).numpy()))
    (root / "loop").symlink_to(root)
    splits = load_splits(DataConfig(train=photos, unlabelled=str(root), storage=storage), seed=0)
    assert splits.unlabelled is not None
    source = splits.unlabelled.source
    assert isinstance(source, InMemorySource if storage == "memory" else StreamingSource)
    assert [source.describe(i) for i in range(3)] == [str(root / p) for p in ("a.png", "deep/c.png", "deep/er/b.png")]
    assert source.fetch(torch.arange(3)).shape == (3, 3, 16, 16)
    assert source.columns["label"].values.tolist() == [-1, -1, -1]
    assert len(splits.train.source) == 80


def test_load_splits__scenario_with_own_images__has_both(tmp_path: Path, png: Callable[..., bytes]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(png(size=(28, 28)))
    config = DataConfig(num_train=100, unlabelled=str(tmp_path / "mine"), num_labelled=20)  # the latter is ignored
    splits = load_splits(config, seed=0)
    assert splits.unlabelled is not None
    assert (len(splits.unlabelled.source), len(splits.train.source)) == (1, 100)


def test_read_unlabelled__parquet_and_csv__need_no_labels(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Write, write_csv: Write, png: Callable[..., bytes]
) -> None:
    parquet = write_parquet(shapes, tmp_path / "set.parquet")
    source = read_unlabelled(str(parquet), DataConfig(label_column="absent"))
    assert (len(source), source.vocabulary["label"]) == (40, ())
    assert torch.equal(source.fetch(torch.arange(40)), shapes.images)
    (tmp_path / "one.png").write_bytes(png())
    table = write_csv([["path"], ["one.png"]], tmp_path / "set.csv")
    assert len(read_unlabelled(str(table), DataConfig())) == 1
    empty = write_csv([["path", "label"], ["", "x"]], tmp_path / "empty.csv")
    with pytest.raises(DataError, match="a path in every row, got an empty path in line 2"):
        read_unlabelled(str(empty), DataConfig())


@pytest.mark.parametrize("name", ["notes.txt", None])
def test_read_unlabelled__other_file_or_nothing__is_named(tmp_path: Path, name: str | None) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    if name is not None:
        (folder / name).touch()
    with pytest.raises(DataError, match="images in the folder, got none in"):
        read_unlabelled(str(tmp_path), DataConfig())


def test_load_splits__own_images_of_another_size__are_brought_to_that_of_train(
    tmp_path: Path, photos: str, png: Callable[..., bytes]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(png(size=(20, 16)))
    splits = load_splits(DataConfig(train=photos, unlabelled=str(tmp_path / "mine")), seed=0)
    assert splits.unlabelled is not None
    assert splits.unlabelled.source.image_shape == splits.image_shape == (3, 16, 16)


def test_splits__unlabelled_images_whose_target_can_be_read__are_refused() -> None:
    message = "an unlabelled split without the task's targets, got label in 'oriented-shapes'"
    with pytest.raises(DataError, match=message):
        replace(make_splits(), unlabelled=UnlabelledSplit(oriented_shapes(8, size=16, seed=0)))


def test_source__labels_without_classes__are_refused() -> None:
    images = oriented_shapes(4, size=16, seed=0).images
    with pytest.raises(DataError, match="-1 for 'label', whose numbers have no names, got 0 at image 1"):
        InMemorySource("x", images, {"label": Column(torch.tensor([-1, 0, -1, -1]), ())})


def test_check_disjoint__unlabelled_and_train__may_share_images() -> None:
    splits = hide_targets(make_splits(), 8, seed=0)
    assert check_disjoint(splits) == splits


@pytest.mark.parametrize("role", ["val", "test"])
def test_check_disjoint__unlabelled_and_held_out__is_an_error_or_drops_the_unlabelled_copy(role: str) -> None:
    splits = make_splits()
    held_out = splits.val if role == "val" else splits.test
    assert held_out is not None
    whole = oriented_shapes(80, size=16, seed=0)
    first = 40 if role == "val" else 60
    places = torch.cat([torch.arange(30, 40), torch.arange(first, first + 5)])
    pictures = whole.subset(places, "u").without_targets(["label"], "u")
    splits = replace(splits, unlabelled=UnlabelledSplit(pictures))
    expected = f"no image in two splits, unlabelled and {role}, got 5 of unlabelled also elsewhere"
    with pytest.raises(DataError, match=expected):
        check_disjoint(splits)
    dropped = check_disjoint(splits, "drop")
    assert dropped.unlabelled is not None
    assert len(dropped.unlabelled.source) == 10
    assert not set(dropped.unlabelled.source.content_hashes()) & set(held_out.source.content_hashes())
    assert len(dropped.train.source) == 40
    assert len(held_out.source) == 20


def write_bands(write_pairs: Write, folder: Path, **options: object) -> Splits:
    config = DataConfig(train=str(write_pairs(folder, 30)), **options)
    return load_splits(config, seed=0, task=Segmentation)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__masks__are_hidden_and_kept_where_asked(tmp_path: Path, write_pairs: Write, storage: str) -> None:
    splits = write_bands(write_pairs, tmp_path / "pairs", num_labelled=4, keep_hidden=True, storage=storage)
    assert (len(splits.train.source), len(splits.unlabelled.source)) == (4, 24)
    targets = splits.unlabelled.source.fetch_targets(torch.arange(24))
    assert (targets["mask"] == 255).all()
    assert set(targets["hidden_mask"].unique().tolist()) == {0, 1, 2}
    assert splits.places() == {"mask": 255, "hidden_mask": 255}
    contents = splits.unlabelled.source.content_hashes()
    for image, mask in zip(
        splits.train.source.content_hashes(), splits.train.source.fetch_targets(torch.arange(4))["mask"], strict=True
    ):
        assert torch.equal(targets["hidden_mask"][contents.index(image)], mask)
    without = write_bands(write_pairs, tmp_path / "pairs", num_labelled=4, storage=storage)
    assert without.unlabelled.source.fetch_targets(torch.arange(24)).keys() == {"mask"}
    assert without.digests()["train"] == splits.digests()["train"]
    assert without.digests()["unlabelled"] != splits.digests()["unlabelled"]  # they are looked at


def test_digests__another_mask__is_another_set(tmp_path: Path, write_pairs: Write) -> None:
    before = write_bands(write_pairs, tmp_path / "pairs").digests()
    for file in (tmp_path / "pairs" / "masks").iterdir():
        pixels = np.array(Image.open(file))
        pixels[0, 0] = 255
        Image.fromarray(pixels).save(file)
    after = load_splits(DataConfig(train=str(tmp_path / "pairs")), seed=0, task=Segmentation).digests()
    assert all(before[name] != after[name] for name in ("train", "val"))


def test_load_splits__imbalance_of_masks__is_refused(tmp_path: Path, write_pairs: Write) -> None:
    with pytest.raises(DataError, match=r"kinds of images for data.imbalance exp, got none in 'pairs'"):
        write_bands(write_pairs, tmp_path / "pairs", imbalance="exp")


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_load_splits__own_images_beside_masks__have_hidden_ones(
    tmp_path: Path, write_pairs: Write, storage: str
) -> None:
    own = write_pairs(tmp_path / "more", 5, first=50) / "images"
    splits = write_bands(write_pairs, tmp_path / "pairs", unlabelled=str(own), storage=storage)
    assert len(splits.unlabelled.source) == 5
    assert (splits.unlabelled.source.fetch_targets(torch.arange(5))["mask"] == 255).all()


def test_keep_hidden__classes__stay_as_a_column() -> None:
    hidden = hide_targets(make_splits(), 8, seed=0, keep_hidden=True).unlabelled.source
    assert (hidden.columns["label"].values == -1).all()
    assert torch.equal(hidden.columns["hidden_label"].values, make_splits().train.source.columns["label"].values)


def test_load_splits__more_labelled_than_there_are__is_refused(tmp_path: Path, write_pairs: Write) -> None:
    with pytest.raises(DataError, match=r"no more than the training images, got 25 for 24 in 'pairs'"):
        write_bands(write_pairs, tmp_path / "pairs", num_labelled=25)


@pytest.mark.parametrize("seed", range(5))
def test_hide_targets__masks__show_every_class_and_fewer_are_a_part_of_more(seed: int) -> None:
    masks = torch.zeros(40, 8, 8, dtype=torch.uint8)
    masks[:, 4:] = torch.arange(40).view(-1, 1, 1) % 2
    masks[17, 0, 0], masks[23, 0, 0], masks[:, 1, 1] = 2, 3, 255
    pixels = torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    source = InMemorySource("rare", pixels, maps={"mask": PlaceMap(masks, ("a", "b", "rare", "rarer"), 255)})
    splits = Splits(TrainSplit(source), ValSplit(source.subset(torch.arange(4), "val")), None, task_kind=Segmentation)
    drawn = [hide_targets(splits, size, seed=seed).train.source for size in (3, 4, 20)]
    chosen = [set(each.fetch(torch.arange(len(each)))[:, 0, 0, 0].tolist()) for each in drawn]
    assert chosen[0] < chosen[1] < chosen[2]
    assert {17, 23} < chosen[1]
    assert [len(each) for each in chosen] == [3, 4, 20]
    assert min(drawn[1].count_places("mask")) > 0


def test_find_places__masks__say_what_each_image_shows() -> None:
    masks = torch.tensor([[[0, 255], [1, 1]], [[2, 2], [2, 2]]], dtype=torch.uint8).repeat_interleave(4, 1)
    source = InMemorySource(
        "two",
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        maps={"mask": PlaceMap(masks.repeat_interleave(4, 2), ("a", "b", "c"), 255)},
    )
    assert source.find_places("mask").tolist() == [[True, True, False], [False, False, True]]
    assert source.count_places("mask") == (16, 32, 64)
