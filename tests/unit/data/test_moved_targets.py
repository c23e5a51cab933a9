"""Targets with places move as the pixels do, and recolouring leaves them."""

import re
from itertools import pairwise

import pytest
import torch

from auxo.data import InMemorySource, InputPipeline
from auxo.data.augmentations import MOVES, OPERATIONS, draw_operations
from auxo.errors import ShapeError
from auxo.random import Draws, named_generator
from auxo.types import Batch, Column

FILL = 10_000
SIZE = (16, 20)
CONSTANT = 100
MOVING = ("crop", "crop_flip", "crop_resize", "crop_resize_flip", "strong", "simclr", "simclr_second")
IDENTITY = [operation.name for operation in OPERATIONS].index("Identity")


def coded(count=24, size=SIZE, *, channels=3):
    """Images in whose channels every pixel has its row and column, and masks that say the same.

    Codes are dark, so that a view that inverts bright pixels leaves them.
    """
    height, width = size
    rows = torch.arange(height).view(1, height, 1).expand(count, height, width)
    columns = torch.arange(width).view(1, 1, width).expand(count, height, width)
    constants = [torch.full_like(rows, CONSTANT)] * (channels - 2)
    return torch.stack([3 * rows + 20, 3 * columns + 20, *constants], 1).to(torch.uint8), rows * width + columns


def pipeline_of(images, augment, **options):
    labels = torch.arange(len(images)) % 2
    varied = images + torch.arange(2, dtype=torch.uint8).repeat(images.shape[-1] // 2)
    return InputPipeline.from_source(
        InMemorySource("coded", varied, {"label": Column(labels, ("a", "b"))}), augment=augment, **options
    )


def moved(augment, *, base="crop_flip", part=None, coding=None, seed=3, fill=FILL, **targets):
    """What a pipeline makes of a part of the joined batch; ``targets`` are further ones, moved as the mask is."""
    images, masks = coded() if coding is None else coding
    total = len(images)
    first, last = (0, total) if part is None else part
    given = {"label": torch.arange(total), "mask": masks, **targets}
    given = {name: values[first:last] for name, values in given.items()}
    batch = Batch(images[first:last], given, torch.arange(total)[first:last], first, total)
    places = None if fill is None else dict.fromkeys(("mask", *targets), fill)
    return pipeline_of(images, base, place_fill=places)(batch, seed=seed, augment=augment)


def decoded(batch):
    """Pixels in 0..255, and the row and column that each says it was at."""
    pixels = batch.normalisation.to_pixels(batch.images) * 255
    return pixels, (pixels[:, 0] - 20) / 3, (pixels[:, 1] - 20) / 3


def check_origins(batch, chosen=slice(None)):
    """Compare where mask and image say that each pixel comes from; return which come from inside the image."""
    _, rows, columns = (values[chosen] for values in decoded(batch))
    mask = batch.targets["mask"][chosen]
    inside = mask != FILL
    assert torch.allclose(rows[inside], (mask // SIZE[1])[inside].float(), atol=1e-3)
    assert torch.allclose(columns[inside], (mask % SIZE[1])[inside].float(), atol=1e-3)
    return inside


def drawn_kinds(count, seed=3):
    """Which images of a strong view are moved only, and which recoloured only."""
    drawn = draw_operations(Draws(named_generator(seed, "strong")), count)
    chosen = torch.stack([one.chosen for one in drawn], 1)
    moves = torch.tensor([operation.moves for operation in OPERATIONS])[chosen]
    return (moves | (chosen == IDENTITY)).all(1) & moves.any(1), ~moves.any(1) & (chosen != IDENTITY).any(1)


@pytest.mark.parametrize("augment", ["crop", "crop_flip"])
def test_pipeline__crops_and_flips__mask_tells_where_every_pixel_comes_from(augment):
    batch = moved(augment, base=augment)
    inside = check_origins(batch)
    assert 0.5 < inside.float().mean() < 1  # something came from outside
    assert torch.allclose(decoded(batch)[0][:, 2][~inside], torch.tensor(0.0), atol=1e-3)


@pytest.mark.parametrize("augment", ["crop_resize", "crop_resize_flip", "simclr", "simclr_second"])
def test_pipeline__resized_crops__mask_is_of_the_nearest_pixel(augment):
    batch = moved(augment, base="crop_resize_flip", coding=coded(channels=4))  # four channels keep their colours
    _, rows, columns = decoded(batch)
    mask = batch.targets["mask"]
    assert (mask != FILL).all()
    for told, shown in ((mask // SIZE[1], rows), (mask % SIZE[1], columns)):
        distance = (shown - told).abs()
        assert (distance < 0.51).float().mean() > 0.95  # a cut off bicubic kernel bends at the rim
        assert distance.max() < 1
    assert ((rows - torch.arange(SIZE[0]).view(-1, 1)).abs() < 0.51).float().mean() < 0.5  # where a mask left behind is


@pytest.mark.parametrize("base", ["none", "crop_flip"])
def test_pipeline__strong_view_of_moves__mask_tells_where_every_pixel_comes_from(base):
    count = 200
    batch = moved("strong", base=base, coding=coded(count))
    moved_only, _ = drawn_kinds(count)
    assert moved_only.sum() > 8
    inside = check_origins(batch, moved_only)
    pixels, mean = decoded(batch)[0][moved_only], pipeline_of(coded()[0], base).mean * 255
    is_black, is_square = ((pixels - colour.view(-1, 1, 1)).abs().amax(1) < 1e-2 for colour in (0 * mean, mean))
    assert torch.equal(~inside, is_black | is_square)
    assert is_black.any()
    assert is_square.any()


def test_pipeline__strong_view_of_recolouring__covers_the_mask_and_leaves_the_rest():
    count = 200
    coding = coded(count)
    batch = moved("strong", base="none", coding=coding)
    _, recoloured = drawn_kinds(count)
    assert recoloured.sum() > 20
    mask, original = batch.targets["mask"][recoloured], coding[1][recoloured]
    mean = pipeline_of(coding[0], "none").mean * 255
    is_square = ((decoded(batch)[0][recoloured] - mean.view(-1, 1, 1)).abs().amax(1) < 1e-2) & (mask == FILL)
    assert torch.equal(mask, torch.where(is_square, FILL, original))
    assert is_square.any()


def test_operations__that_move__are_those_of_geometry():
    names = ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"]
    assert [operation.name for operation in OPERATIONS if operation.moves] == names
    kept = [(move.name, move.low, move.high, move.moves) for move in MOVES]
    assert kept == [(one.name, one.low, one.high, one.moves) for one in OPERATIONS]


@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=[operation.name for operation in OPERATIONS])
def test_operation__of_each_kind__moves_places_as_it_moves_pixels_or_leaves_them(number):
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(6, 3, 12, 12, generator=generator)
    low, high = OPERATIONS[number].low, OPERATIONS[number].high
    magnitudes = low + (high - low) * torch.rand(6, generator=generator)
    numbers = torch.arange(1, 145).float().view(1, 1, 12, 12).expand(6, -1, -1, -1).contiguous()
    places = MOVES[number].apply(numbers, magnitudes)
    if not OPERATIONS[number].moves:
        assert torch.equal(places, numbers)
        return
    changed = OPERATIONS[number].apply(images, magnitudes)
    source = torch.cat([torch.zeros(6, 3, 1), images.flatten(2)], 2)
    taken = source.gather(2, places.long().flatten(2).expand(-1, 3, -1)).view_as(changed)
    assert torch.equal(taken, changed)
    assert not torch.equal(places, numbers)


@pytest.mark.parametrize("size", [SIZE, (28, 28), (64, 70)])
@pytest.mark.parametrize("augment", MOVING)
def test_pipeline__with_and_without_a_target_with_places__same_images_to_the_bit(augment, size):
    images, masks = coded(size=size)
    masks = masks.to(torch.int16)
    with_mask, without = (moved(augment, coding=(images, masks), fill=fill) for fill in (FILL, None))
    assert torch.equal(with_mask.images, without.images)
    assert torch.equal(without.targets["mask"], masks)
    assert torch.equal(with_mask.targets["label"], torch.arange(len(images)))
    assert with_mask.targets["mask"].dtype == masks.dtype
    assert not torch.equal(with_mask.targets["mask"], masks)


@pytest.mark.parametrize("augment", MOVING)
def test_pipeline__parts_of_a_batch__are_the_whole(augment):
    whole = moved(augment)
    for cuts in ((0, 9, 24), (0, 1, 24), (0, 7, 15, 24)):
        parts = [moved(augment, part=part) for part in pairwise(cuts)]
        assert torch.equal(torch.cat([part.targets["mask"] for part in parts]), whole.targets["mask"])
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)


@pytest.mark.parametrize("augment", MOVING)
def test_pipeline__quantities_and_several_for_every_pixel__move_as_the_mask_to_the_bit(augment):
    masks = coded()[1]
    exact = masks + 2**53 - 200  # beyond what float32, and for some float64, can hold
    depth = masks / 7
    several = torch.stack([depth, -depth, depth.square()], 1)
    batch = moved(augment, fill=-1.0, exact=exact, depth=depth, several=several)
    mask = batch.targets["mask"]
    inside, place = mask >= 0, mask.clamp(min=0)
    assert batch.targets["exact"].dtype == torch.int64
    assert torch.equal(batch.targets["exact"], torch.where(inside, place + 2**53 - 200, -1))
    expected = torch.where(inside, place / 7, -1.0)
    assert torch.equal(batch.targets["depth"], expected)
    stacked = torch.stack([expected, torch.where(inside, -expected, -1.0), (place / 7).square()], 1)
    assert torch.equal(batch.targets["several"], torch.where(inside.unsqueeze(1), stacked, -1.0))


def test_pipeline__fill_that_is_no_number__marks_quantities_from_outside():
    mask = coded()[1] / 7
    batch = moved("crop", coding=(coded()[0], mask), fill=float("nan"))
    assert torch.equal(batch.targets["mask"].isnan(), moved("crop").targets["mask"] == FILL)


@pytest.mark.parametrize("shape", [(24,), (24, 20, 16), (24, 8, 20), (24, 16, 20, 3), (24, 1, 2, 16, 20)])
def test_pipeline__target_without_a_value_for_every_pixel__is_refused_in_one_line(shape):
    masks = torch.zeros(shape, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"a value of mask for every pixel, got the shape .* of 16x20") as caught:
        moved("crop", coding=(coded()[0], masks))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        (torch.uint8, -1),
        (torch.uint8, 256),
        (torch.int64, 0.5),
        (torch.int64, float("nan")),
        (torch.bool, 2),
        (torch.float16, 1e6),
        (torch.float32, 1e39),
        (torch.float32, 2**24 + 1),
        (torch.bfloat16, 257),
    ],
)
def test_pipeline__fill_that_the_type_cannot_hold__is_refused_in_one_line(dtype, fill):
    masks = torch.zeros(24, *SIZE, dtype=dtype)
    with pytest.raises(ShapeError, match=re.escape(f"a fill of mask that {dtype} holds, got {fill}:")) as caught:
        moved("crop", coding=(coded()[0], masks), fill=fill)
    assert "\n" not in str(caught.value)
    assert torch.equal(moved("none", coding=(coded()[0], masks), fill=fill).targets["mask"], masks)  # needs none


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [(torch.float32, 0.1), (torch.float16, 0.1), (torch.float32, float("nan")), (torch.float16, float("-inf"))],
)
def test_pipeline__fill_that_is_rounded_or_no_number__is_taken_by_quantities(dtype, fill):
    mask = torch.ones(24, *SIZE, dtype=dtype)
    moved_mask = moved("crop", coding=(coded()[0], mask), fill=fill).targets["mask"]
    outside = moved("crop").targets["mask"] == FILL
    assert torch.equal(moved_mask[outside].nan_to_num(7.0), torch.full_like(moved_mask[outside], fill).nan_to_num(7.0))
    assert (moved_mask[~outside] == 1).all()


def test_pipeline__more_pixels_than_can_be_counted__is_refused_where_a_target_moves():
    images = torch.zeros(1, 1, 2**12, 2**12 + 8, dtype=torch.uint8)
    pipeline = InputPipeline(
        torch.zeros(1), torch.ones(1), image_shape=(1, *images.shape[2:]), augment="crop", place_fill={"mask": 0}
    )
    batch = Batch(images, {"mask": images[:, 0]}, torch.arange(1))
    expected = "at most 16,777,216 pixels to move a target with, got 4104x4096"
    with pytest.raises(ShapeError, match=expected) as caught:
        pipeline(batch, seed=0)
    assert "\n" not in str(caught.value)
    assert torch.equal(pipeline(batch, seed=None).targets["mask"], images[:, 0])


@pytest.mark.parametrize(("augment", "seed"), [("crop_flip", None), ("none", 3)])
def test_pipeline__evaluation_and_no_augmentation__move_nothing(augment, seed):
    coding = coded()
    assert torch.equal(moved(augment, coding=coding, seed=seed).targets["mask"], coding[1])


@pytest.mark.gpu
@pytest.mark.parametrize("augment", MOVING)
def test_pipeline__on_cuda__moves_targets_as_on_the_cpu(augment):
    images, masks = coded()
    pipeline = pipeline_of(images, "crop_flip", place_fill={"mask": FILL})
    ours, theirs = (
        pipeline.to(device)(
            Batch(images.to(device), {"mask": masks.to(device)}, torch.arange(len(images))), seed=3, augment=augment
        ).targets["mask"]
        for device in ("cpu", "cuda")
    )
    assert (ours != theirs.cpu()).float().mean() < 0.002  # a turned pixel may lie on the border of two
