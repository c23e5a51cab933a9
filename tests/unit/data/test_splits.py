from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxo.data.config import DataConfig
from auxo.data.cuts import stratified_indices, stratified_parts, subsample
from auxo.data.fake import oriented_shapes
from auxo.data.readers import read_streaming
from auxo.data.sources import InMemorySource
from auxo.data.splits import MetaSplit, OODSplit, Splits, TestSplit, TrainSplit, ValSplit, check_disjoint
from auxo.errors import DataError
from auxo.tasks import Classification, Target
from auxo.types import Column


@given(
    labels=st.lists(st.integers(0, 6), min_size=8, max_size=200),
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=5),
    seed=st.integers(0, 2**40),
)
def test_stratified_indices__any_labels__parts_are_disjoint_sized_and_proportional(
    labels: list[int], cuts: list[float], seed: int
) -> None:
    numbers = torch.tensor(labels)
    classes = numbers.unique()
    room = len(labels)
    sizes = []
    for cut in cuts:
        size = int(cut * room)
        sizes.append(size if size >= len(classes) else 0)
        room -= sizes[-1]
    parts = stratified_indices(numbers, sizes, seed=seed)
    assert [len(part) for part in parts] == sizes
    together = torch.cat(parts)
    assert len(together.unique()) == len(together)
    for part, size in zip(parts, sizes, strict=True):
        assert torch.equal(part, part.sort().values)
        for label in classes:
            exact = size * int((numbers == label).sum()) / len(labels)
            assert abs(int((numbers[part] == label).sum()) - exact) <= 1
    rest_size = len(labels) - sum(sizes)
    for label in classes:
        rest = int((numbers == label).sum()) - int((numbers[together] == label).sum())
        assert abs(rest - rest_size * int((numbers == label).sum()) / len(labels)) <= 1


def test_stratified_indices__balanced_labels__gives_exact_counts() -> None:
    labels = torch.arange(500) % 10
    parts = stratified_indices(labels, [400, 50, 50], seed=0)
    assert [labels[part].bincount().tolist() for part in parts] == [[40] * 10, [5] * 10, [5] * 10]


def test_stratified_indices__seed__decides_which_and_only_which() -> None:
    labels = torch.arange(100) % 4
    first, again, other = (stratified_indices(labels, [40], seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    drawn = torch.stack(
        [torch.zeros(100).index_fill(0, stratified_indices(labels, [40], seed=s)[0], 1) for s in range(300)]
    )
    assert (drawn.mean(0) - 0.4).abs().max() < 0.15


def test_stratified_indices__labels_with_gaps__are_accepted() -> None:
    labels = torch.tensor([5, 5, 900, 900])
    (part,) = stratified_indices(labels, [2], seed=0)
    assert labels[part].tolist() == [5, 900]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([6, 5], r"at most 10 images together, got 11 asked for \(6 \+ 5\)"),
        ([1], "at least 2 images, one per class, got a part of 1 out of 10"),
        ([-1], "got a part of -1"),
    ],
)
def test_stratified_indices__too_small__says_so(sizes: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stratified_indices(torch.arange(10) % 2, sizes, seed=0)


def test_stratified_indices__nothing_from_nothing__is_nothing() -> None:
    (part,) = stratified_indices(torch.empty(0, dtype=torch.int64), [0], seed=0)
    assert part.tolist() == []


def test_stratified_parts__names__are_given(shapes: InMemorySource) -> None:
    parts = stratified_parts(shapes, [20, 8], ["a", "b"], seed=0, task=Classification)
    assert [(part.name, len(part)) for part in parts] == [("a", 20), ("b", 8)]
    assert not set(parts[0].content_hashes()) & set(parts[1].content_hashes())


def test_subsample__number__is_kept_in_proportion(shapes: InMemorySource) -> None:
    part = subsample(shapes, 8, seed=0, task=Classification)
    assert part.columns["label"].values.bincount().tolist() == [2, 2, 2, 2]
    assert part.name == shapes.name
    assert subsample(shapes, None, seed=0, task=Classification) is shapes
    assert subsample(shapes, 40, seed=0, task=Classification) is shapes


def test_subsample__more_than_there_are__is_refused(shapes: InMemorySource) -> None:
    with pytest.raises(DataError, match=r"at most 40 training images from 'oriented-shapes', got data\.num-train 41"):
        subsample(shapes, 41, seed=0, task=Classification)


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
