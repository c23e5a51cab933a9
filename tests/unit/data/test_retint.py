"""Tint and contrast of each image drawn anew: what stays, the ranges, and that maps move as with the run's own view."""

import torch

from auxo.data.fake import oriented_shapes
from auxo.data.pipeline import InputPipeline
from auxo.data.two_views import retint_images
from auxo.random import Draws, named_generator
from auxo.types import Batch


def noise(count, size):
    """Pixels of no pattern, multiples of 1/255."""
    return torch.randint(256, (count, 3, *size), generator=torch.Generator().manual_seed(0)).float() / 255


def test_retint_images__any_tint_and_contrast__change_nothing():
    images, mean, std = noise(9, (6, 8)).double(), torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.1, 0.2, 0.3])
    changed = images * torch.linspace(0.2, 3, 9).view(-1, 1, 1, 1) + torch.rand(9, 3, 1, 1, dtype=torch.float64)
    first, second = (
        retint_images(each, Draws(named_generator(3, "test")), mean=mean, std=std) for each in (images, changed)
    )
    assert torch.allclose(first, second, atol=1e-12)
    assert not torch.allclose(first, retint_images(images, Draws(named_generator(4, "test")), mean=mean, std=std))


def test_retint_images__drawn__lie_in_the_ranges_and_fill_them():
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.1, 0.2, 0.3])
    seen = retint_images(noise(4000, (5, 5)), Draws(named_generator(0, "test")), mean=mean, std=std)
    tint = (seen.mean((2, 3)) - mean) / std
    contrast = (seen - seen.mean((2, 3), keepdim=True)).square().mean((1, 2, 3)).sqrt() / 0.2
    for values, low, high in ((tint, -1, 1), (contrast, 0.5, 1.5)):
        assert low - 1e-4 <= values.min() < low + 0.01
        assert high - 0.01 < values.max() <= high + 1e-4
        assert abs(values.mean() - (low + high) / 2) < 0.03
    assert torch.corrcoef(torch.cat([tint, contrast[:, None]], 1).T).triu(1).abs().max() < 0.06


def test_retint_images__blank_image__stays_blank():
    blank, one = torch.full((2, 1, 4, 4), 0.3), torch.ones(1)
    seen = retint_images(blank, Draws(named_generator(0, "test")), mean=one, std=one)
    assert (seen.amax((1, 2, 3)) == seen.amin((1, 2, 3))).all()


def test_forward__retint__moves_pixels_and_maps_as_the_runs_own_augmentation():
    images, marks = oriented_shapes(8, size=16, seed=0).images, torch.arange(256, dtype=torch.int16).view(1, 16, 16)
    pipeline = InputPipeline(torch.full((3,), 0.5), torch.ones(3), image_shape=(3, 16, 16), augment="crop_flip")
    batch = Batch(images, {"map": marks.repeat(8, 1, 1)}, torch.arange(8))
    own, seen = (pipeline.with_places({"map": -1})(batch, seed=1, augment=name) for name in (None, "retint"))
    assert torch.equal(own.targets["map"], seen.targets["map"])
    first, second = (each.images - each.images.mean((2, 3), keepdim=True) for each in (own, seen))
    for one, other in zip(first, second, strict=True):  # equal up to a factor
        assert torch.allclose(one / one.norm(), other / other.norm(), atol=1e-5)
