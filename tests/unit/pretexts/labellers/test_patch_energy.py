"""Texture energy: against scipy's filters, what it does not depend on, and that images agree."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from auxo.data import InputPipeline
from auxo.errors import DataError
from auxo.pretexts.labellers.patch_energy import PatchEnergy, _find_filters, _measure_energies
from auxo.types import Batch


def read_batch(stage, places):
    pipeline = InputPipeline.from_source(stage.source)
    return pipeline(Batch(stage.source.fetch(places), {}, places), seed=None)


def test_energies__of_some_images__are_those_of_scipy(stage):
    places = torch.arange(3)
    filters = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    found = _measure_energies(read_batch(stage, places), filters, 3).numpy()
    grey = stage.source.fetch(places).double().numpy().mean(1) / 255
    for number, image in enumerate(grey):
        for k, kernel in enumerate(filters[:, 0].double().numpy()):
            response = ndimage.correlate(image, kernel, mode="mirror") ** 2
            expected = np.sqrt(ndimage.uniform_filter(response, 3, mode="mirror"))
            np.testing.assert_allclose(found[number, k], expected, rtol=1e-3, atol=1e-3)


def test_filters__of_patches__are_orthonormal_without_a_mean_and_of_falling_variance():
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(500, 25, generator=generator) @ torch.randn(25, 25, generator=generator) + 3
    filters = _find_filters(patches, 6).flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(filters.sum(1), torch.zeros(6), atol=1e-4, rtol=0)
    variances = (patches @ filters.T).var(0)
    assert (variances.diff() < 0).all()


def test_labels__of_scenes_of_textures__are_pure_and_alike_in_all_images(stage, masks, purity):
    labels = stage.make(PatchEnergy.Config(clusters=6))
    assert purity(labels, masks) > 0.85
    # Two images by themselves: a label has the class that it has in all others.
    majority = [masks[labels == number].mode().values for number in range(6)]
    for label, mask in zip(labels, masks, strict=True):
        right = torch.stack(majority)[label.long()] == mask
        assert right.float().mean() > 0.75


def test_labels__of_one_texture_in_two_images__are_the_same(make_stage, stage):
    labeller = PatchEnergy.Config(clusters=3).fit(stage.images, stage.start, stage.tools)
    columns = torch.arange(24.0)
    wave = 60 * torch.sin(1.6 * columns).expand(1, 24, 24)
    one, other = 128 + wave.expand(3, -1, -1), torch.tensor([150.0, 90, 110])[:, None, None] + 0.7 * wave.flip(2)
    images = torch.stack([one, other]).to(torch.uint8)
    batch = InputPipeline.from_source(stage.source)(Batch(images, {}, torch.arange(2)), seed=None)
    first, second = labeller.label(batch)
    inner = slice(6, -6)
    assert torch.equal(first[inner, inner], second[inner, inner])
    assert len(first[inner, inner].unique()) == 1


def test_labels__with_a_margin__leave_out_pixels_at_borders_and_are_purer(stage, masks, purity):
    whole, part = (stage.make(PatchEnergy.Config(clusters=6, margin=margin)) for margin in (0.0, 0.05))
    assert (whole >= 0).all()
    kept = part >= 0
    assert 0.05 < kept.float().mean() < 0.95
    assert torch.equal(part[kept], whole[kept])
    assert purity(part, masks) > purity(whole, masks)


def test_learn__images_smaller_than_half_a_patch__are_refused(stage):
    with pytest.raises(DataError, match="images of more pixels than half a patch or window, got 24x24"):
        stage.make(PatchEnergy.Config(patch=51))


def test_learn__images_of_one_colour__are_refused_in_one_line(make_stage):
    flat = make_stage()
    images = torch.full_like(flat.source.images, 7)
    flat.source.images.copy_(images)
    with pytest.raises(DataError, match="pixels that differ for 6 clusters"):
        flat.make(PatchEnergy.Config())
