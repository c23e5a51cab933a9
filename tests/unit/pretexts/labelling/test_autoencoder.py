"""The autoencoder whose latents are clustered: shapes, what it learns, and that it is the same each time."""

import pytest
import torch

from auxo.data.fake import oriented_shapes
from auxo.interfaces import StageStart
from auxo.pretexts.labelling import Autoencoder, encode_images

START = StageStart({}, seed=3, device=torch.device("cpu"))


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 28, 28), (1, 30, 17), (2, 8, 32)])
def test_network__images_of_any_size__gives_them_anew(channels, height, width):
    network = Autoencoder(channels, height=height, width=width)
    images = torch.rand(2, channels, height, width)
    assert network(images).shape == images.shape
    assert network.encoder(images).shape == (2, 32)


def test_latents__trained__tell_more_of_the_images_than_first_weights_do(read):
    images = oriented_shapes(240, size=28, seed=5).images
    pixels = images.double().flatten(1) / 255
    left = []
    for steps in (0, 60):
        latents = encode_images(read(images), START, steps=steps).double()
        assert latents.shape == (240, 32)
        design = torch.cat([latents, torch.ones(240, 1, dtype=torch.float64)], dim=1)
        residual = pixels - design @ torch.linalg.lstsq(design, pixels).solution
        left.append(float(residual.square().mean() / (pixels - pixels.mean(0)).square().mean()))
    assert left[1] < 0.85 * left[0]


def test_latents__computed_twice__are_the_same_and_of_another_seed_are_not(read):
    reader = read(oriented_shapes(20, size=28, seed=5).images)
    first, second = (encode_images(reader, START, steps=3) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, encode_images(reader, StageStart({}, seed=4, device=START.device), steps=3))


def test_latents__of_large_images__are_those_of_their_means_over_squares(read):
    large = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = large.float().view(6, 3, 32, 2, 32, 2).mean(dim=(3, 5)).round().to(torch.uint8)
    assert torch.equal(encode_images(read(large), START, steps=1), encode_images(read(small), START, steps=1))
