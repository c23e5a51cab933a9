"""Which pixels are drawn."""

import pytest
import torch

from auxo.pretexts.pixels import PixelSampling, draw_pixels, shrink_labels
from auxo.random import Draws, named_generator


def draws(seed=0):
    return Draws(named_generator(seed, "pixels"))


def scattered(count=5, side=12, num_labels=4, seed=0):
    return torch.randint(-1, num_labels, (count, side, side), generator=torch.Generator().manual_seed(seed))


def count_groups(sample):
    _, counts = torch.stack([sample.images, sample.labels]).unique(dim=1, return_counts=True)
    return counts.tolist()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_draw_pixels__known_labels__are_drawn_as_they_stand_and_no_pixel_twice(dtype):
    labels = scattered()
    sample = draw_pixels(labels.to(dtype), sampling=PixelSampling(), draws=draws())
    assert torch.equal(labels.flatten(1)[sample.images, sample.places], sample.labels)
    assert len({*zip(sample.images.tolist(), sample.places.tolist(), strict=True)}) == len(sample.images)
    assert count_groups(sample) == [8] * 20
    assert sample.ranks.tolist() == [*range(8)] * 20
    assert all(part.dtype == torch.int64 for part in sample)


def test_draw_pixels__ignored_and_rare_labels__are_never_drawn():
    labels = torch.full((2, 8, 8), -1)
    labels[0, 0], labels[0, 1], labels[1, :2, :5] = 0, -7, 3
    sampling = PixelSampling(per_label=50, min_pixels=8)
    sample = draw_pixels(labels, sampling=sampling, draws=draws())
    assert count_groups(sample) == [8, 10]
    assert sample.labels.tolist() == [0] * 8 + [3] * 10
    rarer = draw_pixels(labels, sampling=PixelSampling(per_label=50, min_pixels=9), draws=draws())
    assert rarer.labels.tolist() == [3] * 10
    assert draw_pixels(torch.full_like(labels, -1), sampling=sampling, draws=draws()).images.tolist() == []
    assert draw_pixels(labels, sampling=PixelSampling(min_pixels=60), draws=draws()).images.tolist() == []


def test_draw_pixels__other_images_and_names__leave_the_draw_of_an_image_as_it_is():
    labels = scattered()
    sample = draw_pixels(labels, sampling=PixelSampling(), draws=draws())
    changed = torch.cat([labels[:2], torch.full_like(labels[2:], 9)])
    again = draw_pixels(changed + 5 * (changed >= 0), sampling=PixelSampling(), draws=draws())
    assert torch.equal(again.places[again.images < 2], sample.places[sample.images < 2])


def test_draw_pixels__many_draws__take_every_pixel_equally_often():
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    sampling, source = PixelSampling(per_label=4), draws()
    places = torch.cat([draw_pixels(labels, sampling=sampling, draws=source).places for _ in range(400)])
    counts = torch.bincount(places, minlength=16).double()
    # 100 each, with a standard deviation of sqrt(400 / 4 * 3 / 4) = 8.7
    assert (counts - 100).abs().max() < 4.5 * 8.7


def test_draw_pixels__above_the_limit__fewer_of_each_are_drawn():
    labels = scattered()  # 20 groups
    for limit, each in ((160, 8), (159, 7), (60, 3), (59, 2), (40, 2)):
        sample = draw_pixels(labels, sampling=PixelSampling(max_samples=limit), draws=draws())
        assert count_groups(sample) == [each] * 20


def test_draw_pixels__two_of_each_above_the_limit__leaves_groups_out_at_random():
    labels, source, seen = scattered(), draws(), set()
    for _ in range(30):
        sample = draw_pixels(labels, sampling=PixelSampling(max_samples=11), draws=source)
        assert count_groups(sample) == [2] * 5
        seen |= {*zip(sample.images.tolist(), sample.labels.tolist(), strict=True)}
    assert len(seen) == 20


def test_draw_pixels__labels_of_very_different_frequency__are_drawn_alike():
    labels = torch.zeros(1, 40, 40, dtype=torch.int64)
    labels[0, 0, :12] = 1
    sample = draw_pixels(labels, sampling=PixelSampling(), draws=draws())
    assert count_groups(sample) == [8, 8]


@pytest.mark.parametrize("size", [(4, 3), (5, 7), (8, 9), (1, 1)])
def test_shrink_labels__any_size__is_nearest_of_torch(size):
    labels = torch.randint(-1, 30_000, (2, 8, 9), generator=torch.Generator().manual_seed(0), dtype=torch.int16)
    expected = torch.nn.functional.interpolate(labels[:, None].double(), size=size, mode="nearest")[:, 0]
    assert torch.equal(shrink_labels(labels, size).double(), expected)
