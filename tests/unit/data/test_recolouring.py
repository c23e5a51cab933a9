"""What the run's own augmentation goes on with: colour jitter, RandAugment, erased rectangles."""

from dataclasses import replace

import pytest
import torch

from auxo.data.augmentations import Recolouring
from auxo.data.pipeline import InputPipeline
from auxo.data.two_views import draw_rectangles
from auxo.errors import ConfigError
from auxo.random import Draws, named_generator
from auxo.types import Batch

MEAN = torch.tensor([0.2, 0.4, 0.6])


def make_batch(count: int = 64, *, size: int = 24) -> Batch:
    images = torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mask = torch.arange(size * size).remainder(250).view(1, size, size).expand(count, -1, -1)
    return Batch(images, {"mask": mask.to(torch.uint8)}, torch.arange(count))


def make_pipeline(**options: float) -> InputPipeline:
    recolouring = Recolouring(**options)  # type: ignore[arg-type]
    return InputPipeline(
        MEAN, torch.ones(3), image_shape=(3, 24, 24), place_fill={"mask": 255}, recolouring=recolouring
    )


@pytest.mark.parametrize("options", [{"jitter_prob": 0.5}, {"num_operations": 2}, {"erase_prob": 0.5}])
def test_forward__parts_of_a_batch__are_changed_as_the_whole(options: dict[str, float]) -> None:
    pipeline, whole = make_pipeline(**options), make_batch()
    expected = pipeline(whole, seed=3)
    parts = [
        replace(
            whole,
            images=whole.images[place],
            targets={"mask": whole.targets["mask"][place]},
            indices=whole.indices[place],
            first=place.start,
            total=64,
        )
        for place in (slice(0, 40), slice(40, 64))
    ]
    found = [pipeline(part, seed=3) for part in parts]
    torch.testing.assert_close(torch.cat([part.images for part in found]), expected.images, rtol=0, atol=1e-6)
    assert torch.equal(torch.cat([part.targets["mask"] for part in found]), expected.targets["mask"])
    assert not torch.equal(pipeline(whole, seed=4).images, expected.images)


@pytest.mark.parametrize("options", [{"jitter_prob": 1.0}, {"num_operations": 2}, {"erase_prob": 1.0}])
def test_forward__evaluation_and_views_that_name_another__are_left_alone(options: dict[str, float]) -> None:
    pipeline, batch = make_pipeline(**options), make_batch(8)
    plain = (batch.images / 255) - MEAN.view(-1, 1, 1)
    torch.testing.assert_close(pipeline(batch, seed=None).images, plain)
    torch.testing.assert_close(pipeline(batch, seed=0, augment="none").images, plain)


def test_forward__erased__is_a_rectangle_of_the_mean_and_no_pixel_of_the_mask() -> None:
    batch = make_batch(400)
    found = make_pipeline(erase_prob=0.5)(batch, seed=0)
    plain = (batch.images / 255) - MEAN.view(-1, 1, 1)
    is_hidden = found.targets["mask"] == 255
    assert torch.equal(is_hidden, (found.images == 0).all(1))
    torch.testing.assert_close(found.images, plain.masked_fill(is_hidden.unsqueeze(1), 0))
    assert torch.equal(found.targets["mask"][~is_hidden], batch.targets["mask"][~is_hidden])
    rows, columns = is_hidden.any(2).sum(1), is_hidden.any(1).sum(1)
    assert torch.equal(rows * columns, is_hidden.sum((1, 2)))  # it is full, so one rectangle
    is_erased = rows > 0
    assert 0.42 < is_erased.double().mean() < 0.58
    area = (rows * columns)[is_erased] / 24**2
    assert 0.01 < area.min() < 0.04  # whole pixels
    assert 0.28 < area.max() < 0.36


def test_draw_rectangles__many__are_within_the_ranges_of_the_paper() -> None:
    draws = Draws(named_generator(0, "x"), first=0, total=500)
    hidden = draw_rectangles(draws, 500, (200, 300), prob=1.0)[:, 0]
    rows, columns = hidden.any(2).sum(1).double(), hidden.any(1).sum(1).double()
    area, aspect = rows * columns / (200 * 300), columns / rows
    assert (area > 0.019).all()
    assert (area < 0.335).all()
    assert abs(area.mean() - 0.175) < 0.012  # uniform from 0.02 to 0.33
    assert (aspect > 0.29).all()
    assert (aspect < 3.4).all()
    assert abs(aspect.log().mean()) < 0.1


def test_forward__colour_jitter__moves_no_pixel() -> None:
    batch = make_batch(32)
    found = make_pipeline(jitter_prob=0.5)(batch, seed=0)
    assert torch.equal(found.targets["mask"], batch.targets["mask"])
    plain = (batch.images / 255) - MEAN.view(-1, 1, 1)
    is_changed = (found.images - plain).abs().amax((1, 2, 3)) > 1e-4
    assert 6 < int(is_changed.sum()) < 26


def test_forward__rand_augment__moves_the_mask_with_the_image() -> None:
    batch = make_batch(64)
    found = make_pipeline(num_operations=2)(batch, seed=0)
    moved = (found.targets["mask"] != batch.targets["mask"]).flatten(1).any(1)
    assert 10 < int(moved.sum()) < 60  # five of fourteen operations move, and each image has two


def test_checked__colours_of_one_channel__are_refused() -> None:
    pipeline = InputPipeline(
        torch.zeros(1), torch.ones(1), image_shape=(1, 8, 8), recolouring=Recolouring(num_operations=2)
    )
    with pytest.raises(ConfigError, match=r"3 channels for data\.colour-jitter and data\.rand-augment, got 1"):
        pipeline.checked(None)
