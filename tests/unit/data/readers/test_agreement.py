import pytest
import torch

from auxo.data.fake import oriented_shapes
from auxo.data.readers.agreement import align_columns, align_splits, require_columns
from auxo.data.sources import InMemorySource
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, UnlabelledSplit, ValSplit
from auxo.errors import DataError
from auxo.types import Column

NAMES = ("land", "sky", "water")


def with_site(source: InMemorySource, name: str, values: list[int], names: tuple[str, ...]) -> InMemorySource:
    """A part of a source, as large as there are values, with a further column."""
    part = source.subset(torch.arange(len(values)), name)
    return part.with_columns({**part.columns, "site": Column(torch.tensor(values), names)})


def test_align_columns__other_order__is_mapped_by_name(shapes: InMemorySource) -> None:
    source = with_site(shapes, "mine", [0, 1, 1, 0], ("water", "land"))
    aligned = align_columns(source, {"site": NAMES})
    assert aligned.columns["site"].names == NAMES
    assert aligned.columns["site"].values.tolist() == [2, 0, 0, 2]
    assert source.columns["site"].values.tolist() == [0, 1, 1, 0]
    assert torch.equal(aligned.columns["label"].values, source.columns["label"].values)
    assert (aligned.name, aligned.notes) == ("mine", ())


def test_align_columns__same_names__is_the_source_itself(shapes: InMemorySource) -> None:
    source = with_site(shapes, "mine", [0, 1, 2], NAMES)
    assert align_columns(source, {"site": NAMES}) is source
    assert align_columns(source, {}) is source


def test_align_columns__name_that_no_image_has__may_be_unknown(shapes: InMemorySource) -> None:
    source = with_site(shapes, "mine", [1, 1, 1], ("fire", "land"))
    assert align_columns(source, {"site": NAMES}).columns["site"].values.tolist() == [0, 0, 0]


def test_align_columns__unseen_value__is_refused_or_left_out(shapes: InMemorySource) -> None:
    source = with_site(shapes, "mine", [0, 1, 2, 0], ("fire", "land", "water"))
    source.notes = ("an earlier note",)
    with pytest.raises(DataError, match=r"values of 'site' that train has \(land, sky, water\), got 'fire' at image 0"):
        align_columns(source, {"site": NAMES})
    aligned = align_columns(source, {"site": NAMES}, unknown="ignore")
    assert aligned.columns["site"].values.tolist() == [0, 2]
    assert torch.equal(aligned.fetch(torch.arange(2)), shapes.images[1:3])
    sentence = "left out 2 of 4 images of 'mine': 2 with a value of 'site' that train does not have"
    assert aligned.notes == ("an earlier note", sentence)


def test_require_columns__missing__lists_what_is_there(shapes: InMemorySource) -> None:
    require_columns(shapes, ())
    message = "images with the further columns site, scene, got label in 'oriented-shapes': correct"
    with pytest.raises(DataError, match=message):
        require_columns(shapes, ("site", "scene"))
    with pytest.raises(DataError, match="further columns scene, got label, site in 'mine'"):
        require_columns(with_site(shapes, "mine", [0, 1, 2], NAMES), ("scene",))


def make_splits(shapes: InMemorySource) -> Splits:
    """Every set with an order of its own; the unlabelled images without the column."""
    train = with_site(shapes, "train", [0, 1, 2, 0], NAMES)
    val = with_site(oriented_shapes(8, size=16, seed=1), "val", [0, 1, 0, 1], ("sky", "land"))
    test = with_site(oriented_shapes(8, size=16, seed=2), "test", [0, 1, 0, 1], ("water", "sky"))
    ood = with_site(oriented_shapes(8, size=16, seed=3), "ood", [0, 0, 0, 0], ("sky",))
    hidden = train.without_targets(["label", "site"], "hidden")
    return Splits(
        TrainSplit(train),
        ValSplit(val),
        TestSplit(test),
        ood=(OODSplit(ood),),
        unlabelled=UnlabelledSplit(hidden),
    )


def test_align_splits__learned__mean_the_same_everywhere(shapes: InMemorySource) -> None:
    splits = align_splits(make_splits(shapes), ("site",))
    assert all(split.source.columns["site"].names == NAMES for split in splits.evaluation())
    values = [split.source.columns["site"].values.tolist() for split in splits.evaluation()]
    assert values == [[1, 0, 1, 0], [2, 1, 2, 1], [1, 1, 1, 1]]
    assert splits.unlabelled is not None
    assert splits.unlabelled.source.columns["site"].names == ()


def test_align_splits__nothing_learned__leaves_groups_as_they_are(shapes: InMemorySource) -> None:
    splits = make_splits(shapes)
    assert align_splits(splits, ()).val.source is splits.val.source


def test_align_splits__column_not_asked_for__says_who_learns_it(shapes: InMemorySource) -> None:
    message = "images with values of scene, which the run learns, got label, site in 'train': choose"
    with pytest.raises(DataError, match=message):
        align_splits(make_splits(shapes), ("scene",))
