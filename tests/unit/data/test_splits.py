from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.readers import read_streaming
from auxo.data.sources import InMemorySource
from auxo.data.splits import MetaSplit, OODSplit, Splits, TestSplit, TrainSplit, ValSplit, check_disjoint
from auxo.errors import DataError
from auxo.tasks import Classification, Target
from auxo.types import Column


def take(source: InMemorySource, *places: int) -> InMemorySource:
    return source.subset(torch.tensor(places), source.name)


def make_splits(
    shapes: InMemorySource,
    *,
    train: tuple[int, ...] = (0, 1, 2, 3),
    val: tuple[int, ...] = (4, 5),
    test: tuple[int, ...] = (6, 7),
    meta: tuple[int, ...] = (8, 9),
    ood: tuple[tuple[int, ...], ...] = ((10, 11), (11, 12)),
) -> Splits:
    return Splits(
        train=TrainSplit(take(shapes, *train)),
        val=ValSplit(take(shapes, *val)),
        test=TestSplit(take(shapes, *test)),
        meta=MetaSplit(take(shapes, *meta)),
        ood=tuple(OODSplit(take(shapes, *places)) for places in ood),
    )


def test_splits__properties__describe_the_task(shapes: InMemorySource) -> None:
    splits = make_splits(shapes)
    assert splits.task().class_names == shapes.vocabulary["label"]
    assert (splits.task().channels, splits.task().height, splits.task().width) == (3, 16, 16)
    names = ["val", "test", "ood/oriented-shapes", "ood/oriented-shapes"]
    assert [split.name for split in splits.evaluation()] == names
    assert (splits.train.name, MetaSplit(shapes).name) == ("train", "meta")


def test_splits__without_test__evaluates_val_and_ood(shapes: InMemorySource) -> None:
    splits = Splits(train=TrainSplit(shapes), val=ValSplit(shapes), test=None)
    assert [split.name for split in splits.evaluation()] == ["val"]


def test_splits__image_shapes_differ__tells_the_option(shapes: InMemorySource) -> None:
    with pytest.raises(DataError, match=r"16x16 pixels .* got 24x24 .*--data\.image-size N"):
        Splits(train=TrainSplit(shapes), val=ValSplit(oriented_shapes(4, size=24, seed=0)), test=None)


def test_splits__classes_differ__is_refused(shapes: InMemorySource) -> None:
    other = InMemorySource(
        "other", shapes.images, {"label": Column(shapes.columns["label"].values, ("a", "b", "c", "d"))}
    )
    with pytest.raises(DataError, match="expected the values of 'label' of 'oriented-shapes'"):
        Splits(train=TrainSplit(shapes), val=ValSplit(other), test=None)


def test_check_disjoint__disjoint__changes_nothing(shapes: InMemorySource) -> None:
    splits = make_splits(shapes)
    checked = check_disjoint(splits)
    assert checked == splits


@pytest.mark.parametrize(
    ("overlap", "first", "second"),
    [
        ({"val": (4, 3)}, "train", "val"),
        ({"test": (6, 3)}, "train", "test"),
        ({"meta": (8, 3)}, "train", "meta"),
        ({"ood": ((10, 3),)}, "train", "ood/oriented-shapes"),
        ({"test": (6, 4)}, "val", "test"),
        ({"meta": (8, 4)}, "meta", "val"),
        ({"ood": ((10, 6),)}, "test", "ood/oriented-shapes"),
        ({"ood": ((10, 8),)}, "meta", "ood/oriented-shapes"),
    ],
)
def test_check_disjoint__overlap__error_counts_and_names_the_pair(
    shapes: InMemorySource, overlap: dict[str, tuple[int, ...]], first: str, second: str
) -> None:
    splits = make_splits(shapes, **overlap)
    with pytest.raises(DataError, match=f"splits, {first} and {second}, got 1 of {first} also elsewhere") as caught:
        check_disjoint(splits)
    place = next(p for p in (3, 4, 6, 8) if f"image {p} of" in str(caught.value))
    assert f"image {place} of 'oriented-shapes' = image {place} of 'oriented-shapes'" in str(caught.value)


def test_check_disjoint__drop__removes_copies_from_the_training_side(shapes: InMemorySource) -> None:
    splits = make_splits(
        shapes, train=(0, 1, 2, 3, 4), meta=(8, 9, 3, 6), val=(4, 5, 7), test=(6, 7, 10), ood=((10, 11, 0),)
    )
    checked = check_disjoint(splits, "drop")
    assert checked.test is not None
    assert checked.meta is not None
    kept = [checked.train, checked.meta, checked.val, checked.test, *checked.ood]
    origins = [[split.source.describe(i).split()[1] for i in range(len(split.source))] for split in kept]
    assert origins == [["1", "2"], ["8", "9", "3"], ["4", "5"], ["6", "7"], ["10", "11", "0"]]
    assert check_disjoint(checked) == checked


def test_check_disjoint__drop_leaves_nothing__is_refused(shapes: InMemorySource) -> None:
    splits = make_splits(shapes, val=(6, 7))
    with pytest.raises(DataError, match="images in val that no other split has"):
        check_disjoint(splits, "drop")


def test_check_disjoint__memory_and_streaming__are_compared_by_pixels(
    tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path]
) -> None:
    root = write_folder(take(shapes, 3, 4, 5, 6), tmp_path / "elsewhere")
    streaming = read_streaming(str(root), DataConfig(), vocabulary={"label": shapes.vocabulary["label"]})
    splits = Splits(
        train=TrainSplit(take(shapes, 0, 1, 2, 3)),
        val=ValSplit(take(shapes, 8, 9)),
        test=None,
        ood=(OODSplit(streaming),),
    )
    with pytest.raises(DataError, match=r"got 1 of train also elsewhere, first image 3 of .* = .*000\.png"):
        check_disjoint(splits)


def test_digests__same_images__are_equal_and_do_not_depend_on_what_decides_nothing(shapes: InMemorySource) -> None:
    splits = make_splits(shapes)
    assert list(splits.digests()) == ["train", "meta", "val"]
    assert make_splits(shapes, test=(6, 13), ood=()).digests() == splits.digests()


@pytest.mark.parametrize(
    ("role", "places"), [("train", (0, 1, 2, 13)), ("train", (1, 0, 2, 3)), ("val", (4,)), ("meta", (8, 9, 13))]
)
def test_digests__other_images_in_a_split__differ_there_only(
    shapes: InMemorySource, role: str, places: tuple[int, ...]
) -> None:
    ours, theirs = make_splits(shapes).digests(), make_splits(shapes, **{role: places}).digests()
    assert [name for name in ours if ours[name] != theirs[name]] == [role]


def test_digests__other_labels__differ(shapes: InMemorySource) -> None:
    other = InMemorySource(
        shapes.name,
        shapes.images,
        {"label": Column(shapes.columns["label"].values.flip(0), shapes.vocabulary["label"])},
    )
    ours, theirs = (Splits(TrainSplit(each), ValSplit(shapes), test=None).digests() for each in (shapes, other))
    assert ours["train"] != theirs["train"]
    assert ours["val"] == theirs["val"]


def test_splits__target_that_no_set_has__is_refused_by_name() -> None:
    class Depth(Classification):
        @property
        def targets(self) -> tuple[Target, ...]:
            return (Target("depth", has_places=True),)

    train, val = (oriented_shapes(16, size=8, seed=seed) for seed in range(2))
    with pytest.raises(DataError, match=r"a target 'depth' of every image, got none in '.*', which has label: give"):
        Splits(train=TrainSplit(train), val=ValSplit(val), test=None, task_kind=Depth)
