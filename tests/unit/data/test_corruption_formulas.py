import pytest
import torch
from torch import Tensor

from auxo.data import corruption_formulas as formulas


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def grey(value: float, count: int = 40, size: int = 32) -> Tensor:
    return torch.full((count, 3, size, size), value)


def point(size: int = 33) -> Tensor:
    images = torch.zeros(1, 3, size, size)
    images[:, :, size // 2, size // 2] = 1
    return images


def test_gaussian_noise__grey__has_the_named_deviation(generator: torch.Generator) -> None:
    noise = formulas.gaussian_noise(grey(0.5), generator, 0.2) - 0.5
    assert noise.mean().item() == pytest.approx(0, abs=0.003)
    assert noise.std().item() == pytest.approx(0.2, abs=0.003)


def test_shot_noise__grey__has_the_variance_of_a_count(generator: torch.Generator) -> None:
    spoiled = formulas.shot_noise(grey(0.5), generator, 20.0)
    assert spoiled.mean().item() == pytest.approx(0.5, abs=0.003)
    assert spoiled.var().item() == pytest.approx(0.5 / 20, rel=0.03)


def test_impulse_noise__grey__sets_the_named_share(generator: torch.Generator) -> None:
    spoiled = formulas.impulse_noise(grey(0.5), generator, 0.3)
    assert (spoiled == 0).float().mean().item() == pytest.approx(0.15, abs=0.005)
    assert (spoiled == 1).float().mean().item() == pytest.approx(0.15, abs=0.005)


def test_defocus_blur__point__becomes_a_disk_of_that_area(generator: torch.Generator) -> None:
    radius = 4.0
    images = point()
    spread = formulas.defocus_blur(images, generator, radius * 32 / 33)[0, 0]
    assert spread.sum().item() == pytest.approx(1, abs=1e-5)
    assert spread.max().item() == pytest.approx(1 / (torch.pi * radius**2), rel=0.01)
    rows, columns = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    assert (rows.hypot(columns)[spread > 0] <= radius + 0.71).all()


def test_defocus_blur__tiny_radius__changes_nothing(generator: torch.Generator) -> None:
    torch.testing.assert_close(formulas.defocus_blur(point(), generator, 0.4), point())


@pytest.mark.parametrize("reach", [0.9, 2.2])
def test_glass_blur__no_blur__moves_colours_no_further_than_the_reach(generator: torch.Generator, reach: float) -> None:
    ramp = torch.arange(32.0)[None, None, None, :].expand(1, 3, 32, 32) / 31
    moved = formulas.glass_blur(ramp, generator, 1e-3, reach) - ramp
    assert moved.abs().max().item() * 31 == pytest.approx(round(reach), abs=1e-3)
    assert (moved[:, 0] == moved[:, 1]).all()


def test_motion_blur__vertical_edge__is_smeared_over_the_line(generator: torch.Generator) -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, :, 16:] = 1
    spoiled = formulas.motion_blur(images, generator, 5.0)
    row = spoiled[0, 0, 16]
    assert (row.diff() >= -1e-6).all()
    assert row[9].item() == pytest.approx(0, abs=1e-6)
    assert row[23].item() == pytest.approx(1, abs=1e-6)
    assert 0.2 < row[14].item() < 0.5


def test_zoom_blur__centre__stays_and_rim_spreads_outwards(generator: torch.Generator) -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 12:20, 12:20] = 1
    spoiled = formulas.zoom_blur(images, generator, 1.5)[0, 0]
    assert spoiled[15, 15].item() == pytest.approx(1)
    assert 0 < spoiled[15, 20].item() < 1
    assert spoiled[15, 25].item() == pytest.approx(0, abs=1e-6)


def test_snow__no_flake_reaches_the_threshold__only_whitens(generator: torch.Generator) -> None:
    spoiled = formulas.snow(grey(0.4, count=2), generator, 0.1, 0.01, 1.5, 0.6, 2.0, 0.8)
    assert spoiled == pytest.approx(torch.full_like(spoiled, 0.8 * 0.4 + 0.2 * (1.5 * 0.4 + 0.5)), abs=1e-5)


def test_snow__flakes__fall_alike_from_both_sides(generator: torch.Generator) -> None:
    flakes = formulas.snow(grey(0.0, count=2), generator, 0.2, 0.3, 1.5, 0.5, 2.0, 1.0)
    assert flakes.max() > 0.2
    torch.testing.assert_close(flakes, flakes.rot90(2, (2, 3)))


def test_frost__black__shows_ice_of_the_named_brightness(generator: torch.Generator) -> None:
    ice = formulas.frost(grey(0.0, count=4), generator, 1.0, 0.5)
    assert ice.amax((1, 2, 3)) == pytest.approx(torch.full((4,), 0.5), abs=1e-5)
    assert ice.amin() >= 0
    assert (ice[:, 2] >= ice[:, 0]).all()


def test_fog__white__is_dimmed_where_there_is_no_cloud(generator: torch.Generator) -> None:
    fog = formulas.fog(grey(1.0, count=4), generator, 1.5, 2.0)
    assert fog.amin((1, 2, 3)) == pytest.approx(torch.full((4,), 1 / 2.5), abs=1e-5)
    assert fog.amax((1, 2, 3)) == pytest.approx(torch.ones(4), abs=1e-5)


def test_fog__black__stays_black(generator: torch.Generator) -> None:
    assert formulas.fog(grey(0.0, count=2), generator, 1.5, 2.0).abs().max() == 0


def test_brightness__colour__raises_the_value_and_keeps_the_hue(generator: torch.Generator) -> None:
    images = torch.tensor([0.4, 0.2, 0.1])[None, :, None, None].expand(1, 3, 2, 2)
    brighter = formulas.brightness(images, generator, 0.4)
    torch.testing.assert_close(brighter[0, :, 0, 0], torch.tensor([0.8, 0.4, 0.2]))
    assert formulas.brightness(grey(0.9, count=1), generator, 0.4).max().item() == pytest.approx(1)


def test_contrast__two_values__are_drawn_to_their_mean(generator: torch.Generator) -> None:
    images = torch.tensor([0.2, 0.6]).expand(1, 3, 2, 2)
    torch.testing.assert_close(formulas.contrast(images, generator, 0.5), torch.tensor([0.3, 0.5]).expand(1, 3, 2, 2))


@pytest.mark.parametrize("displacement", [0.5, 1.5])
def test_elastic_transform__ramp__moves_by_the_named_length(generator: torch.Generator, displacement: float) -> None:
    ramp = torch.arange(64.0)[None, None, None, :].expand(60, 3, 64, 64) / 63
    moved = (formulas.elastic_transform(ramp, generator, displacement) - ramp)[:, 0, 16:48, 16:48] * 63
    assert moved.square().mean().sqrt().item() == pytest.approx(displacement * 64 / 32, rel=0.05)


def test_pixelate__half__averages_blocks_of_four(generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 8, 12, generator=generator)
    blocks = images.unflatten(2, (4, 2)).unflatten(4, (6, 2)).mean((3, 5))
    expected = blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(formulas.pixelate(images, generator, 0.5), expected)


def test_pixelate__odd_share__keeps_the_mean(generator: torch.Generator) -> None:
    images = torch.rand(1, 3, 28, 28, generator=generator)
    boxes = formulas.pixelate(images, generator, 0.3)
    assert boxes[0, 0].unique().numel() == 8 * 8
    assert boxes.mean().item() == pytest.approx(images.mean().item(), abs=0.02)


def test_jpeg_compression__smooth_image__is_kept_and_noise_is_not(generator: torch.Generator) -> None:
    ramp = torch.linspace(0.2, 0.8, 32).expand(1, 3, 32, 32)
    assert (formulas.jpeg_compression(ramp, generator, 90.0) - ramp).abs().max() < 0.03
    noise = torch.rand(1, 3, 32, 32, generator=generator)
    assert (formulas.jpeg_compression(noise, generator, 10.0) - noise).abs().mean() > 0.1
