"""What is known of images beside their pixels: columns and maps, cut, hidden, exchanged and checked."""

import hashlib
from dataclasses import replace

import pytest
import torch

from auxo.data import InMemorySource, PlaceMap, Splits, TrainSplit, ValSplit
from auxo.data.columns import shorten
from auxo.data.readers.agreement import align_splits
from auxo.data.sources import target_hashes
from auxo.errors import DataError
from auxo.tasks import Classification, Target
from auxo.types import Column

CLASSES = ("cat", "dog")
CLASS = Column(torch.tensor([0, 1] * 3), CLASSES)
SITE = Column(torch.tensor([0, 1, 2, 0, 1, 2]), ("north", "south", "west"))
MASK = PlaceMap(torch.arange(6).view(6, 1, 1).expand(6, 4, 5) % 3, ("ground", "square", "stripe"), ignore=255)
DEPTH = PlaceMap(torch.rand(6, 4, 5, generator=torch.Generator().manual_seed(0)))
IMAGES = torch.arange(6 * 3 * 4 * 5).view(6, 3, 4, 5).to(torch.uint8)


def make(**options):
    given = {"columns": {"label": CLASS, "site": SITE}, "maps": {"mask": MASK, "depth": DEPTH}, **options}
    return InMemorySource("set", IMAGES, **given)


def test_fetch_targets__labels_columns_and_maps__are_all_there_in_the_order_asked():
    order = torch.tensor([4, 0, 4])
    found = make().fetch_targets(order)
    assert found.keys() == {"label", "site", "mask", "depth"}
    assert (found["label"].tolist(), found["site"].tolist()) == ([0, 0, 0], [1, 0, 1])
    assert torch.equal(found["mask"], MASK.values[order])
    assert torch.equal(found["depth"], DEPTH.values[order])
    assert found["depth"].dtype == torch.float32


def test_vocabulary__source__says_what_the_numbers_of_columns_and_maps_stand_for():
    assert make().vocabulary == {"label": CLASSES, "site": SITE.names, "mask": MASK.names, "depth": ()}


def test_subset__of_a_subset__takes_columns_and_maps_along():
    part = make().subset(torch.tensor([5, 3, 1]), "part").subset(torch.tensor([2, 0]), "smaller")
    assert part.columns["site"] == (part.columns["site"].values, SITE.names)
    assert part.columns["site"].values.tolist() == [1, 2]
    assert torch.equal(part.maps["mask"].values, MASK.values[[1, 5]])
    assert (part.maps["mask"].names, part.maps["mask"].ignore) == (MASK.names, 255)


def test_without_targets__task_of_classes__hides_the_label_and_nothing_else():
    source = make()
    hidden = source.without_targets(["label"], "hidden")
    found = hidden.fetch_targets(torch.arange(6))
    assert hidden.name == "hidden"
    assert (found["label"].tolist(), hidden.vocabulary["label"]) == ([-1] * 6, ())
    assert torch.equal(found["site"], SITE.values)
    assert torch.equal(found["mask"], MASK.values)
    assert source.columns["label"].values.tolist() == [0, 1] * 3


def test_without_targets__task_with_places__hides_the_map_and_leaves_the_label():
    hidden = make().without_targets(["mask"], "hidden")
    found = hidden.fetch_targets(torch.arange(6))
    assert (found["mask"] == 255).all()
    assert found["mask"].shape == (6, 4, 5)
    assert found["label"].tolist() == [0, 1] * 3
    assert torch.equal(found["depth"], DEPTH.values)
    assert hidden.vocabulary == {"label": CLASSES, "site": SITE.names, "mask": (), "depth": ()}
    assert hidden.maps.keys() == {"mask", "depth"}
    assert "mask" not in hidden.columns


def test_without_targets__target_that_the_source_does_not_have__is_made_and_hidden():
    found = make().without_targets(["breed"], "hidden").fetch_targets(torch.tensor([2]))
    assert found["breed"].tolist() == [-1]


def test_without_targets__images__are_the_same_and_from_the_same_places():
    source = make(origins=[f"file {number}" for number in range(6)])
    hidden = source.without_targets(["label"], "hidden").subset(torch.tensor([3]), "one")
    assert hidden.describe(0) == "file 3"
    assert hidden.content_hashes() == source.content_hashes()[3:4]


def test_with_columns__others__replace_all_of_the_sources_own_and_leave_maps():
    source = make()
    other = source.with_columns({"site": SITE._replace(values=SITE.values.flip(0))})
    assert other.fetch_targets(torch.arange(6)).keys() == {"site", "mask", "depth"}
    assert other.columns["site"].values.tolist() == [2, 1, 0, 2, 1, 0]
    assert source.columns.keys() == {"label", "site"}


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (
            Column(torch.tensor([0, 1]), ("a", "b")),
            "as many values of 'site' as images, got 2 values of 'site' for 6 images in 'set'",
        ),
        (
            Column(torch.tensor([0, 1, 0, 2, 0, 0]), ("a", "b")),
            r"values of 'site' in 0\.\.1, got 2 at image 3 of 'set'",
        ),
        (Column(torch.tensor([0, 1, 0, -1, 0, 0]), ("a", "b")), r"values of 'site' in 0\.\.1, got -1 at image 3"),
        (Column(torch.zeros(6, dtype=torch.int64), ()), "-1 for 'site', whose numbers have no names, got 0 at image 0"),
    ],
)
@pytest.mark.parametrize("way", ["made", "exchanged"])
def test_columns__of_other_length_or_values__are_refused_in_one_line(column, says, way):
    with pytest.raises(DataError, match=says) as caught:
        make(columns={"site": column}) if way == "made" else make().with_columns({"site": column})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (torch.zeros(5, 4, 5, dtype=torch.int64), "as many mask as images, got 5 mask for 6 images in 'set'"),
        (
            torch.zeros(6, 5, 4, dtype=torch.int64),
            r"a value of mask for every pixel, got \(5, 4\) for images of \(4, 5",
        ),
        (torch.full((6, 4, 5), 3), r"values of mask in 0\.\.2, or 255, got 3 in image 0 of 'set'"),
        (torch.full((6, 4, 5), -1), r"values of mask in 0\.\.2, or 255, got -1 in image 0 of 'set'"),
        (torch.full((6, 2, 4, 5), 3), r"values of mask in 0\.\.2, or 255, got 3 in image 0 of 'set'"),
        (torch.zeros(6, 2, 5, 4), r"a value of mask for every pixel, got \(2, 5, 4\) for images of \(4, 5\)"),
        (torch.zeros(6, 1, 2, 4, 5), r"a value of mask for every pixel, got \(1, 2, 4, 5\) for images"),
        (torch.zeros(6, 4, 5, dtype=torch.bool), r"a value to ignore of mask that torch\.bool holds, got 255"),
        (torch.zeros(6, 4, 5, dtype=torch.int8), r"a value to ignore of mask that torch\.int8 holds, got 255"),
    ],
)
def test_maps__of_other_shape_or_values__are_refused_in_one_line(values, says):
    with pytest.raises(DataError, match=says) as caught:
        make(maps={"mask": MASK._replace(values=values)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_maps__places_that_say_nothing__may_be_of_any_whole_number_type(dtype):
    values = MASK.values.to(dtype).clone()
    values[:, 0, 0] = 255
    found = make(maps={"mask": MASK._replace(values=values)}).fetch_targets(torch.tensor([1]))
    assert (found["mask"].dtype, int(found["mask"][0, 0, 0])) == (dtype, 255)


def test_maps__quantities_whose_type_cannot_hold_what_hides_them__are_refused():
    with pytest.raises(DataError, match=r"a value to ignore of depth that torch\.uint8 holds, got -1"):
        make(maps={"depth": PlaceMap(torch.zeros(6, 4, 5, dtype=torch.uint8))})


def test_maps__stacks__are_fetched_cut_and_hidden_as_others():
    values = torch.rand(6, 2, 4, 5, generator=torch.Generator().manual_seed(1))
    source = make(maps={"flow": PlaceMap(values)})
    order = torch.tensor([3, 1])
    assert torch.equal(source.fetch_targets(order)["flow"], values[order])
    assert torch.equal(source.subset(order, "part").fetch_targets(torch.tensor([1]))["flow"], values[1:2])
    assert (source.without_targets(["flow"], "hidden").fetch_targets(order)["flow"] == -1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int64, torch.uint8])
def test_target_hashes__every_type__tell_values_apart_and_are_of_the_bytes(dtype):
    values = (torch.arange(6 * 20).view(6, 4, 5) % 2).to(dtype)
    changed = values.clone()
    changed[5, 3, 4] = 1 - changed[5, 3, 4].int()
    one, again, other = (
        target_hashes(make(maps={"map": PlaceMap(each, ignore=1)}), "map") for each in (values, values.clone(), changed)
    )
    assert one == again != other
    if dtype != torch.bfloat16:
        assert one == (hashlib.blake2b(values.numpy().tobytes(), digest_size=16).hexdigest(),)


def digests(columns):
    source = make(maps={}, columns={"label": CLASS, **columns})
    parts = source.subset(torch.tensor([0, 1, 2, 3]), "a"), source.subset(torch.tensor([4, 5]), "b")
    return lambda learned=(): Splits(TrainSplit(parts[0]), ValSplit(parts[1]), test=None, learned=learned).digests()


def test_digests__columns_that_results_are_grouped_by__change_nothing():
    other = {"site": SITE._replace(values=SITE.values.flip(0)), "more": SITE}
    assert digests({})() == digests({"site": SITE})() == digests(other)()


class Site(Classification):
    """The site of an image, and nothing of its class."""

    @classmethod
    def from_source(cls, source):
        return cls(source.vocabulary["site"], *source.image_shape)

    @property
    def targets(self):
        return (Target("site", self.class_names),)


def test_digests__labels_that_are_not_learned__change_nothing():
    found = []
    for column in ({"label": CLASS}, {"label": Column(torch.tensor([1, 0] * 3), CLASSES)}, {}):
        source = make(columns={**column, "site": SITE}, maps={})
        splits = Splits(TrainSplit(source), ValSplit(source), test=None, task_kind=Site)
        found.append(splits.digests()["train"])
    assert len(set(found)) == 1
    other = make(maps={}, columns={"site": SITE._replace(values=SITE.values.flip(0))})
    assert Splits(TrainSplit(other), ValSplit(other), test=None, task_kind=Site).digests()["train"] != found[0]


def test_digests__classes__stay_what_they_are():
    assert digests({})() == {"train": "v2:c85858324f502f91", "val": "v2:827ed70734b0e6d9"}


def test_digests__column_that_is_learned__counts_with_its_names():
    flipped = {"site": SITE._replace(values=SITE.values.flip(0))}
    renamed = {"site": SITE._replace(names=("a", "b", "c"))}
    found = [digests(columns)(("site",))["train"] for columns in ({"site": SITE}, flipped, renamed)]
    assert len(set(found)) == 3
    assert digests({"site": SITE, "more": SITE})(("site",))["train"] == found[0]


def splits_with_maps(val_maps):
    """Splits that learn a map beside the label."""
    splits = Splits(TrainSplit(make(maps={"mask": MASK})), ValSplit(make(maps=val_maps)), test=None)
    return replace(align_splits(splits, ("mask",)), learned=("mask",))


def test_splits__learned_column_with_places__says_how_it_is_told_and_moved():
    splits = splits_with_maps({"mask": MASK})
    assert splits.columns() == {"mask": Target("mask", MASK.names, has_places=True, ignore=255)}
    assert splits.places() == {"mask": 255}


def test_splits__learned_column_with_places_of_other_numbers__is_refused():
    with pytest.raises(DataError, match=r"the values of 'mask' of 'set', .* got \['stripe', 'square', 'ground'\]"):
        splits_with_maps({"mask": MASK._replace(names=MASK.names[::-1])})


def test_splits__learned_column_with_places_in_some_splits_only__is_refused():
    with pytest.raises(DataError, match="a target 'mask' of every image, got none in 'set'"):
        splits_with_maps({})


def test_shorten__many_names__counts_the_rest() -> None:
    assert shorten(["a", "b"]) == "a, b"
    assert shorten([str(i) for i in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
