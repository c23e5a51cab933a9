import pytest
import torch

from auxo.data.fake import oriented_shapes
from auxo.data.sources import InMemorySource, PlaceMap
from auxo.data.together import number_blocks, number_units, put_copies_last, settle_copies
from auxo.errors import DataError
from auxo.types import Column


@pytest.fixture
def copied(shapes: InMemorySource) -> InMemorySource:
    """Forty images, three copies of the first and one of the tenth."""
    return shapes.subset(torch.tensor([*range(40), 0, 0, 0, 9]), "photos")


def test_number_units__copies_and_blocks__what_is_linked_has_one_number(copied: InMemorySource) -> None:
    assert len(number_units(copied).unique()) == 40
    blocks = Column(torch.arange(44) // 4, tuple(map(str, range(11))))
    source = copied.with_columns({**copied.columns, "video": blocks})
    source.blocks = "video"
    units = number_units(source)
    assert units[0] == units[3] == units[40] == units[43] == units[9] == units[8]  # blocks 0, 10 and 2
    assert len(units.unique()) == 9


def test_number_blocks__images_without_one__are_alone(shapes: InMemorySource) -> None:
    assert torch.equal(number_blocks(shapes), torch.arange(40))
    hidden = shapes.with_columns({"video": Column(torch.full((40,), -1), ())})
    hidden.blocks = "video"
    assert len(number_blocks(hidden).unique()) == 40


def test_settle_copies__same_labels__counts_them_in_one_line(copied: InMemorySource, shapes: InMemorySource) -> None:
    assert settle_copies(copied, ["label"], unknown="refuse").notes == (
        "4 copies of 2 images of 'photos' stay in the split of the image",
    )
    assert settle_copies(shapes, ["label"], unknown="refuse").notes == ()


def test_settle_copies__two_labels__are_refused_with_both_places_or_left_out(copied: InMemorySource) -> None:
    label = copied.columns["label"]
    values = label.values.clone()
    values[41] = (values[0] + 1) % len(label.names)
    source = copied.with_columns({"label": label._replace(values=values)})
    one, two = (label.names[int(values[place])] for place in (0, 41))
    expected = rf"one label of every image, got '{one}' of .* 0 .* and '{two}' of .* 0 .*, which are the same image"
    with pytest.raises(DataError, match=expected):
        settle_copies(source, ["label"], unknown="refuse")
    left = settle_copies(source, ["label"], unknown="ignore")
    assert len(left) == 40
    assert left.notes == (
        "left out 4 of 44 images of 'photos': 4 that have copies with another target",
        "1 copy of 1 image of 'photos' stays in the split of the image",
    )


def test_settle_copies__two_masks__are_refused() -> None:
    masks = torch.zeros(3, 16, 16, dtype=torch.uint8)
    images = oriented_shapes(2, size=16, seed=0).images[[0, 1, 0]]

    def make() -> InMemorySource:
        return InMemorySource("scenes", images, maps={"mask": PlaceMap(masks.clone(), ("road", "car"), 255)})

    assert len(settle_copies(make(), ["mask"], unknown="refuse")) == 3
    masks[2, 5, 5] = 1
    with pytest.raises(DataError, match="one mask of every image, got another of image 0 of 'scenes' than of image 2"):
        settle_copies(make(), ["mask"], unknown="refuse")


@pytest.fixture
def order() -> torch.Tensor:
    return torch.randperm(20, generator=torch.Generator().manual_seed(0))


def test_put_copies_last__no_copies__changes_nothing(order: torch.Tensor) -> None:
    assert torch.equal(put_copies_last(order, torch.arange(20)), order)


def test_put_copies_last__five_copies__stand_behind_all_others(order: torch.Tensor) -> None:
    copies = torch.arange(20) % 15
    moved = put_copies_last(order, copies)
    assert len(copies[moved[:15]].unique()) == 15
    assert moved.sort().values.tolist() == list(range(20))
