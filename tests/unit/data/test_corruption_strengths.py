"""The published strengths of corruptions, and the formulas that only they use, against numpy and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from auxo.data import corruption_formulas as formulas
from auxo.data.corruption_strengths import TABLES
from auxo.data.corruptions import KINDS, SEVERITIES, corrupt
from auxo.random import named_generator

# As the makers print them for their sizes; lengths of the second set are in pixels of 64.
PUBLISHED = {
    "cifar10_c": {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "jpeg_compression": (80, 65, 58, 50, 40),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    },
    "tiny_imagenet_c": {
        "gaussian_noise": (0.04, 0.08, 0.12, 0.15, 0.18),
        "shot_noise": (250, 100, 50, 30, 15),
        "impulse_noise": (0.01, 0.02, 0.05, 0.08, 0.14),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "jpeg_compression": (65, 58, 50, 40, 25),
        "pixelate": (0.9, 0.8, 0.7, 0.6, 0.5),
    },
}
SIZES = {"cifar10_c": 32, "tiny_imagenet_c": 64}
WEAKER = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "zoom_blur", "brightness", "pixelate",
    "jpeg_compression",
)  # fmt: skip


def smooth(count: int, size: int = 32) -> Tensor:
    noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (functional.interpolate(noise, size=size, mode="bicubic").clamp(0, 1) * 255).byte()


@pytest.mark.parametrize("name", SIZES)
def test_tables__of_one_number__are_the_published_ones(name: str) -> None:
    assert tuple(TABLES[name]) == KINDS
    for kind, numbers in PUBLISHED[name].items():
        expected = [math.floor(SIZES[name] * n) / SIZES[name] for n in numbers] if kind == "pixelate" else [*numbers]
        assert [value for (value,) in TABLES[name][kind].strengths] == expected


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_corrupt__published_strengths__change_every_image_the_same_way_at_every_severity(kind: str, name: str) -> None:
    clean = smooth(3, SIZES[name])
    for severity in SEVERITIES:
        spoiled = corrupt(clean, kind, severity, seed=0, strengths=name)
        assert (spoiled != clean).flatten(1).any(1).all()
        assert torch.equal(spoiled, corrupt(clean, kind, severity, seed=0, strengths=name))


@pytest.mark.parametrize("kind", WEAKER)
def test_corrupt__severity_3_of_auxo__is_beyond_severity_5_of_cifar10_c(kind: str) -> None:
    clean = smooth(8)
    ours, theirs = (
        (corrupt(clean, kind, severity, seed=0, strengths=name).float() - clean.float()).abs().mean()
        for name, severity in (("auxo", 3), ("cifar10_c", 5))
    )
    assert ours > 1.05 * theirs


def test_corrupt__measured__has_the_published_noise_contrast_and_brightness() -> None:
    grey = torch.full((4, 3, 32, 32), 128, dtype=torch.uint8)
    noisy = corrupt(grey, "gaussian_noise", 5, seed=0, strengths="cifar10_c").double() / 255
    assert noisy.std().item() == pytest.approx(0.10, rel=0.03)
    hit = (corrupt(grey, "impulse_noise", 5, seed=0, strengths="cifar10_c") != 128).double().mean()
    assert hit.item() == pytest.approx(0.07, rel=0.1)
    assert corrupt(grey, "brightness", 1, seed=0, strengths="cifar10_c").unique().tolist() == [141]
    images = smooth(1).double()
    fainter = corrupt(smooth(1), "contrast", 5, seed=0, strengths="cifar10_c").double()
    assert (fainter.std() / images.std()).item() == pytest.approx(0.15, rel=0.1)


@pytest.mark.parametrize(("radius", "softness"), [(0.5, 0.6), (1.5, 0.1), (2.3, 0.4)])
def test_soft_disk_blur__one_bright_pixel__becomes_the_softened_disk(radius: float, softness: float) -> None:
    image = np.zeros((32, 32))
    image[16, 16] = 1.0
    rows, columns = np.mgrid[-8:9, -8:9]
    disk = ((rows**2 + columns**2) <= radius**2).astype(float)
    around = np.exp(-(np.array([-1.0, 0.0, 1.0]) ** 2) / (2 * softness**2))
    kernel = ndimage.convolve(disk / disk.sum(), np.outer(around, around) / around.sum() ** 2, mode="constant")
    expected = ndimage.convolve(image, kernel, mode="mirror")
    ours = formulas.soft_disk_blur(
        torch.from_numpy(image).float().expand(1, 3, -1, -1), torch.Generator(), radius, softness
    )
    np.testing.assert_allclose(ours[0, 0].numpy(), expected, atol=1e-6)


def test_trail_blur__one_bright_pixel__becomes_half_a_gaussian_to_one_side() -> None:
    images = torch.zeros(20, 3, 64, 64)
    images[:, :, 32, 32] = 1.0
    blurred = formulas.trail_blur(images, named_generator(0, "trail"), 6.0, 1.25).double()[:, 0]
    steps = np.arange(2 * 12 + 1)  # twice as long as at 32 pixels
    weights = np.exp(-(steps**2) / (2 * 2.5**2))
    length = (weights / weights.sum() * steps).sum()
    places = torch.arange(64.0, dtype=torch.float64) - 32
    total, across, down = blurred.sum((1, 2)), blurred.sum(1) @ places, blurred.sum(2) @ places
    assert torch.allclose(total, torch.ones_like(total), atol=1e-4)
    assert torch.allclose((across**2 + down**2).sqrt(), torch.full_like(total, length), rtol=1e-3)
    angles = torch.atan2(down, -across)  # the pixel is seen from where it moved
    assert angles.abs().max() < math.pi / 4 + 1e-3
    assert angles.std() > 0.3


@pytest.mark.parametrize("strengths", [(0.0, 0.0, 0.08), (0.08, 0.06, 0.06)])
def test_elastic_transform_of_corners__equals_a_rendering_by_scipy(strengths: tuple[float, float, float]) -> None:
    strength, smoothness, shift = strengths
    image = smooth(1).double().numpy()[0, 0] / 255
    ours = formulas.elastic_transform_of_corners(
        torch.from_numpy(image).expand(1, 3, -1, -1).float(), named_generator(0, "elastic"), *strengths
    )
    draws = named_generator(0, "elastic")
    moves = 32 * shift * (2 * torch.rand((1, 3, 2), generator=draws)[0].double().numpy() - 1)
    noise = 2 * torch.rand((1, 2, 32, 32), generator=draws)[0].double().numpy() - 1
    before = np.array([[26.0, 26.0], [26.0, 6.0], [6.0, 6.0]])  # columns and rows
    back = np.linalg.solve(np.hstack([before + moves, np.ones((3, 1))]), before)
    rows, columns = np.mgrid[0:32, 0:32].astype(float)
    from_columns, from_rows = (np.stack([columns, rows, np.ones_like(rows)], -1) @ back).transpose(2, 0, 1)
    moved = ndimage.map_coordinates(image, [from_rows, from_columns], order=1, mode="reflect")
    if strength:
        across, down = (32 * strength * ndimage.gaussian_filter(n, 32 * smoothness, mode="mirror") for n in noise)
        moved = ndimage.map_coordinates(moved, [rows + down, columns + across], order=1, mode="reflect")
    np.testing.assert_allclose(ours[0, 1].numpy(), moved, atol=2e-3)


def test_glass_blur_in_rounds__two__take_colours_from_up_to_two_pixels_before() -> None:
    ramp = torch.arange(32.0).expand(1, 3, 32, 32)
    shuffled = formulas.glass_blur_in_rounds(ramp, named_generator(0, "glass"), 0.05, 1.0, 2.0)
    moved = (shuffled - ramp)[0, 0, :, 4:]
    assert moved.round().unique().tolist() == [-2.0, -1.0, 0.0]
    assert moved.mean().item() == pytest.approx(-1.0, abs=0.1)
