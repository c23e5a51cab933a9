import pytest
import torch
from torch import Tensor

from auxo.data.corruptions import KINDS, SEVERITIES, corrupt, corrupt_at_all_severities
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError, ShapeError

PAPER_KINDS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)


def bars(count: int, size: int = 28) -> Tensor:
    """White bars and coloured squares on a faintly textured ground, so that every corruption has something to spoil."""
    texture = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    images = (20 * texture).to(torch.uint8)
    for i in range(count):
        images[i, :, size // 6 : -size // 6, size // 4 + i % 8 : size // 4 + i % 8 + size // 8] = 250
        images[i, i % 3, size // 2 : size // 2 + size // 4, size // 8 : size // 2] = 120
    return images


@pytest.fixture(params=["bars", "textures"])
def images(request: pytest.FixtureRequest) -> Tensor:
    return bars(24) if request.param == "bars" else oriented_shapes(24, size=48, seed=1).images


def test_kinds__are_the_papers_fifteen_in_order() -> None:
    assert KINDS == PAPER_KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt__any_kind__keeps_shape_and_type_and_leaves_the_input(kind: str) -> None:
    clean = bars(3, size=32)
    before = clean.clone()
    spoiled = corrupt(clean, kind, 3, seed=0)
    assert spoiled.shape == clean.shape
    assert spoiled.dtype == torch.uint8
    assert torch.equal(clean, before)
    assert (spoiled != clean).flatten(1).any(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt__higher_severity__is_further_from_the_clean_images(kind: str, images: Tensor) -> None:
    distances = [(corrupt(images, kind, s, seed=0).float() - images.float()).abs().mean().item() for s in SEVERITIES]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(SEVERITIES)


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt__same_seed__gives_the_same_pixels(kind: str) -> None:
    clean = bars(4)
    torch.manual_seed(1)
    once = corrupt(clean, kind, 4, seed=7)
    torch.manual_seed(2)
    assert torch.equal(once, corrupt(clean, kind, 4, seed=7))


@pytest.mark.parametrize(
    "kind",
    ["gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"]
    + ["elastic_transform"],
)
def test_corrupt__random_kind__differs_between_seeds_and_images(kind: str) -> None:
    clean = bars(1).repeat(2, 1, 1, 1)
    spoiled = corrupt(clean, kind, 4, seed=0)
    assert not torch.equal(spoiled[0], spoiled[1])
    assert not torch.equal(spoiled, corrupt(clean, kind, 4, seed=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(28, 64), (8, 8), (33, 19)])
def test_corrupt__any_size__is_rendered(kind: str, height: int, width: int) -> None:
    clean = torch.randint(0, 256, (2, 3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for severity in (1, 5):
        assert corrupt(clean, kind, severity, seed=0).shape == clean.shape


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt__black_and_white_images__stay_in_range(kind: str) -> None:
    clean = torch.stack([torch.zeros(3, 28, 28), torch.full((3, 28, 28), 255.0)]).to(torch.uint8)
    spoiled = corrupt(clean, kind, 5, seed=0).float()
    assert spoiled[0].mean() < 160  # a number outside 0..1 would wrap around in uint8
    assert spoiled[1].mean() > 90


def test_corrupt__no_image__returns_none() -> None:
    assert corrupt(torch.zeros(0, 3, 28, 28, dtype=torch.uint8), "frost", 1, seed=0).shape == (0, 3, 28, 28)


def test_corrupt__unknown_kind__names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="got 'motion_blurr': did you mean motion_blur"):
        corrupt(bars(1), "motion_blurr", 1, seed=0)


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_corrupt__unknown_severity__is_refused(severity: int) -> None:
    with pytest.raises(ConfigError, match=f"severity from 1 .* got {severity}"):
        corrupt(bars(1), "fog", severity, seed=0)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8, dtype=torch.uint8)],
)
def test_corrupt__wrong_type_or_shape__is_refused(images: Tensor) -> None:
    with pytest.raises(ShapeError, match="uint8 images of shape"):
        corrupt(images, "fog", 1, seed=0)


def test_corrupt_at_all_severities__counts__kinds_come_equally_often() -> None:
    clean = bars(30)
    result = corrupt_at_all_severities(clean, seed=0)
    assert result.images.shape == (150, 3, 28, 28)
    assert result.sources.tolist() == list(range(30)) * 5
    for severity in SEVERITIES:
        names = result.names[30 * (severity - 1) : 30 * severity]
        assert sorted(names) == sorted(f"{kind}-{severity}" for kind in KINDS for _ in range(2))


def test_corrupt_at_all_severities__names__say_what_was_done() -> None:
    clean = bars(15)
    result = corrupt_at_all_severities(clean, seed=0)
    place = result.names.index("contrast-4")
    source = clean[result.sources[place]][None]
    assert torch.equal(result.images[place], corrupt(source, "contrast", 4, seed=5)[0])  # contrast draws nothing
    assert result.origins("set")[place] == f"image {place} of 'set' (contrast-4)"


def test_corrupt_at_all_severities__one_image__meets_five_kinds() -> None:
    names = corrupt_at_all_severities(bars(1), seed=0).names
    assert len({name.rpartition("-")[0] for name in names}) == 5
