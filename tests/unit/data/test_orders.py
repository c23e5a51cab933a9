"""What a pass shows: the numbers of shuffled orders, and the properties that the others promise."""

import pytest
import torch

from auxo.data import AbstractOrder, Balanced, Shuffled, Stratified
from auxo.errors import ConfigError
from auxo.random import named_generator

SIZES = {
    "two": [30, 70],
    "equal": [25, 25, 25, 25],
    "rare": [1, 99],
    "unequal": [57, 31, 8, 3, 1],
    "many": [1] * 13 + [2] * 7 + [40],
    "one": [12],
    "single": [1],
}


def make_targets(sizes: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """A column of values, mixed, that occur so often."""
    values = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return {"label": values[torch.randperm(len(values), generator=named_generator(seed, "targets"))]}


def show(order: AbstractOrder, targets: dict[str, torch.Tensor], number: int = 0, seed: int = 0) -> torch.Tensor:
    """The positions of a pass, of the length that was promised."""
    count = len(next(iter(targets.values())))
    positions = order.positions(targets, count=count, seed=seed, number=number)
    assert positions.dtype == torch.int64
    assert positions.shape == (order.length(targets, count=count),)
    return positions


def count_shown(values: torch.Tensor) -> torch.Tensor:
    """How often each value is among the first t, in row t."""
    one_hot = torch.nn.functional.one_hot(values)
    return torch.cat([torch.zeros_like(one_hot[:1]), one_hot.cumsum(0)])


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (0, 3), (7, 1)])
def test_shuffled__a_pass__has_the_numbers_of_the_stream_called_order(seed: int, number: int) -> None:
    expected = torch.randperm(40, generator=named_generator(seed, "order", number))
    assert torch.equal(Shuffled().positions({}, count=40, seed=seed, number=number), expected)
    assert Shuffled().length({}, count=40) == 40


@pytest.mark.parametrize("order", [Shuffled(), Stratified(), Balanced()])
def test_orders__a_pass__depends_on_seed_and_number_alone(order: AbstractOrder) -> None:
    targets = make_targets([30, 10])
    first = show(order, targets)
    torch.manual_seed(5)
    show(order, targets, number=4)
    assert torch.equal(show(order, targets), first)
    assert not torch.equal(show(order, targets, number=1), first)
    assert not torch.equal(show(order, targets, seed=1), first)


@pytest.mark.parametrize("number", [0, 1, 5])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_stratified__any_beginning__has_every_share_to_less_than_one_image(sizes: list[int], number: int) -> None:
    targets = make_targets(sizes)
    positions = show(Stratified(), targets, number)
    count = len(positions)
    assert torch.equal(positions.sort().values, torch.arange(count))
    shown = count_shown(targets["label"][positions])
    # In whole numbers, lest rounding hide an image: |shown - t * size / count| < 1, and < 2 between any two.
    off = shown * count - torch.arange(count + 1)[:, None] * torch.tensor(sizes)
    assert int(off.abs().max()) < count or count == 1
    assert int((off.max(0).values - off.min(0).values).max()) < 2 * count


@pytest.mark.parametrize("batch_size", [1, 6, 16, 50])
def test_stratified__equally_frequent_values__differ_by_one_image_in_any_run(batch_size: int) -> None:
    targets = make_targets(SIZES["equal"])
    labels = targets["label"][show(Stratified(), targets)]
    for run in labels.unfold(0, batch_size, 1):
        counts = run.bincount(minlength=4)
        assert counts.max() - counts.min() <= 1


def test_stratified__passes__shuffle_the_images_of_a_value() -> None:
    targets = make_targets([40, 20])
    passes = [show(Stratified(), targets, number) for number in range(2)]
    shown = [positions[targets["label"][positions] == 0].tolist() for positions in passes]
    assert shown[0] != shown[1]
    assert sorted(shown[0]) == sorted(shown[1])
    assert shown[0] != sorted(shown[0])


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_balanced__every_pass__shows_all_cells_equally_often_to_within_one(sizes: list[int]) -> None:
    targets = make_targets(sizes)
    every = torch.zeros(len(sizes), dtype=torch.int64)
    for number in range(5):
        counts = targets["label"][show(Balanced(), targets, number)].bincount(minlength=len(sizes))
        assert counts.sum() == sum(sizes)
        assert counts.max() - counts.min() <= 1
        every += counts
        assert every.max() - every.min() <= 1  # the cells of a round that is not full take turns over the passes


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_balanced__images_of_a_cell__are_all_shown_before_one_is_shown_again(sizes: list[int]) -> None:
    targets = make_targets(sizes)
    positions = torch.cat([show(Balanced(), targets, number) for number in range(4)])
    for cell, size in enumerate(sizes):
        own = positions[targets["label"][positions] == cell]
        for whole in own.split(size):  # each round over the cell, across the ends of passes
            assert len(whole.unique()) == len(whole)
        if size > 20 and len(own) >= 2 * size:
            assert not torch.equal(own[:size], own[size : 2 * size])


def test_balanced__any_batch__has_the_cells_in_rounds() -> None:
    targets = make_targets([57, 31, 12])
    labels = targets["label"][show(Balanced(), targets)]
    for whole in labels[:99].split(3):
        assert sorted(whole.tolist()) == [0, 1, 2]
    assert len({tuple(whole.tolist()) for whole in labels[:99].split(3)}) == 6


def test_balanced__two_columns__balance_the_cells_that_have_images() -> None:
    label = torch.tensor([0] * 30 + [1] * 6)
    background = torch.tensor([0] * 28 + [1] * 2 + [3] * 6)  # three cells, of at most eight
    targets = {"label": label, "background": background}
    positions = show(Balanced(by=("label", "background")), targets)
    cells, counts = torch.stack([label, background], 1)[positions].unique(dim=0, return_counts=True)
    assert cells.tolist() == [[0, 0], [0, 1], [1, 3]]
    assert counts.tolist() == [12, 12, 12]


@pytest.mark.parametrize(
    ("order", "targets", "message"),
    [
        (Stratified(by="colour"), make_targets([2, 2]), "a known column to order images by, got 'colour' where"),
        (Balanced(by=("label", "colour")), make_targets([2, 2]), "got 'colour' where there are label: name another"),
        (Balanced(), {}, "got 'label' where none is known: name another, or give the data this column"),
    ],
)
def test_orders__missing_column__is_refused_in_one_line(
    order: AbstractOrder, targets: dict[str, torch.Tensor], message: str
) -> None:
    for call in (order.length, lambda *args, **kw: order.positions(*args, **kw, seed=0, number=0)):
        with pytest.raises(ConfigError, match=message) as caught:
            call(targets, count=4)
        assert "\n" not in str(caught.value)


def test_balanced__by_nothing__is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one column to balance by, got none"):
        Balanced(by=())


def test_balanced__one_column__may_be_named_without_a_tuple() -> None:
    assert Balanced("label") == Balanced(("label",))
    targets = {"label": torch.tensor([0] * 9 + [1])}
    assert torch.equal(show(Balanced("label"), targets), show(Balanced(("label",)), targets))
