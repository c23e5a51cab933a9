"""Targets with places move as the pixels do, and recolouring leaves them."""

import pytest
import torch

from auxo.data import InMemorySource, InputPipeline
from auxo.data.augmentations import MOVES, OPERATIONS
from auxo.types import Batch

FILL = 1000
MOVING = ("crop", "crop_flip", "crop_resize", "crop_resize_flip", "strong", "simclr", "simclr_second")


def coded(count=24, height=16, width=20):
    """Images in whose channels every pixel has its row and column, and masks that say the same."""
    rows = torch.arange(height).view(1, height, 1).expand(count, height, width)
    columns = torch.arange(width).view(1, 1, width).expand(count, height, width)
    images = torch.stack([8 * rows + 60, 8 * columns + 60, torch.full_like(rows, 128)], 1).to(torch.uint8)
    masks = (rows * width + columns).to(torch.int16)
    return images, masks


def pipeline_of(images, augment, **options):
    labels = torch.arange(len(images)) % 2
    source = InMemorySource("coded", images + torch.arange(2, dtype=torch.uint8).repeat(10), labels, ("a", "b"))
    return InputPipeline.from_source(source, augment=augment, **options)


def moved(augment, *, base="crop_flip", first=0, last=None, images=None, masks=None, seed=3, **options):
    """What a pipeline makes of a part of the joined batch."""
    if images is None:
        images, masks = coded()
    total = len(images)
    part = slice(first, total if last is None else last)
    targets = {"label": torch.arange(total)[part], "mask": masks[part]}
    batch = Batch(images[part], targets, torch.arange(total)[part], first, total)
    pipeline = pipeline_of(images, base, **({"place_fill": {"mask": FILL}} | options))
    return pipeline(batch, seed=seed, augment=augment)


def pixels_of(batch):
    return batch.normalisation.to_pixels(batch.images) * 255


@pytest.mark.parametrize("augment", ["crop", "crop_flip"])
def test_pipeline__crops_and_flips__mask_tells_where_every_pixel_comes_from(augment):
    batch = moved(augment, base=augment)
    pixels, mask = pixels_of(batch), batch.targets["mask"].long()
    inside = mask != FILL
    assert 0.5 < inside.float().mean() < 1  # something came from outside
    rows, columns = (pixels[:, 0] - 60) / 8, (pixels[:, 1] - 60) / 8
    assert torch.allclose(rows[inside], (mask // 20)[inside].float(), atol=1e-3)
    assert torch.allclose(columns[inside], (mask % 20)[inside].float(), atol=1e-3)
    assert torch.allclose(pixels[:, 2][~inside], torch.tensor(0.0), atol=1e-3)


@pytest.mark.parametrize("augment", ["crop_resize", "crop_resize_flip"])
def test_pipeline__resized_crops__mask_is_within_a_pixel_of_the_image(augment):
    batch = moved(augment, base=augment)
    pixels, mask = pixels_of(batch), batch.targets["mask"].long()
    assert (mask != FILL).all()
    rows, columns = (pixels[:, 0] - 60) / 8, (pixels[:, 1] - 60) / 8
    assert ((rows - mask // 20).abs() < 1).float().mean() > 0.98  # bicubic kernels overshoot at the rim
    assert ((columns - mask % 20).abs() < 1).float().mean() > 0.98
    left_behind = torch.arange(16 * 20).view(16, 20)
    assert ((rows - left_behind // 20).abs() < 1).float().mean() < 0.9


def test_pipeline__random_operations__move_and_cover_the_mask():
    images, masks = coded()
    batch = moved("strong", base="none", images=images, masks=masks)
    mask = batch.targets["mask"].long()
    changed = (mask != masks.long()).flatten(1).any(1)
    assert changed.float().mean() > 0.5
    assert (mask == FILL).any()  # squares, and what came from outside
    assert set(mask.unique().tolist()) <= {FILL, *range(16 * 20)}


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


@pytest.mark.parametrize("augment", MOVING)
def test_pipeline__with_and_without_a_target_with_places__same_images_to_the_bit(augment):
    images, masks = coded()
    with_mask = moved(augment, images=images, masks=masks)
    without = moved(augment, images=images, masks=masks, place_fill=None)
    assert torch.equal(with_mask.images, without.images)
    assert torch.equal(without.targets["mask"], masks)
    assert torch.equal(with_mask.targets["label"], torch.arange(len(images)))
    assert with_mask.targets["mask"].dtype == masks.dtype


@pytest.mark.parametrize("augment", MOVING)
def test_pipeline__two_parts_of_a_batch__are_the_whole(augment):
    whole, one, other = moved(augment), moved(augment, last=9), moved(augment, first=9)
    assert torch.equal(torch.cat([one.targets["mask"], other.targets["mask"]]), whole.targets["mask"])


def test_pipeline__evaluation__moves_nothing():
    images, masks = coded()
    batch = pipeline_of(images, "crop_flip", place_fill={"mask": FILL})(
        Batch(images, {"mask": masks}, torch.arange(len(images))), seed=None
    )
    assert torch.equal(batch.targets["mask"], masks)
