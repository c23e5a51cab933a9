"""Ways of spoiling an image, one or two for each of fifteen kinds.

Each is a function of float images in 0..1, a generator and its strengths.
Images have shape ``(images, 3, height, width)``. Every draw is made on the CPU, one per image or pixel, and moved, so
that all devices see the same numbers. Lengths are in pixels of an image whose shorter side is 32 and grow with that
side. Results may leave 0..1; the caller clips them.

Where a kind has two formulas, the second reads the numbers that the makers of CIFAR-10-C and Tiny-ImageNet-C give it.
"""

import math

import torch
from kornia.color import hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv
from kornia.enhance import jpeg_codec_differentiable
from kornia.filters import filter2d, gaussian_blur2d
from kornia.filters import motion_blur as kornia_motion_blur
from kornia.geometry.transform import elastic_transform2d
from torch import Tensor
from torch.nn import functional

_ZOOM_STEPS = 9
_DISK_SAMPLES = 15
_ELASTIC_SMOOTHNESS_PIXELS = 2.5
_ICE_COLOUR = (0.85, 0.93, 1.0)


def gaussian_noise(images: Tensor, generator: torch.Generator, deviation: float) -> Tensor:
    """Add to every value a normal number: ``x + deviation * n``."""
    return images + deviation * torch.randn(images.shape, generator=generator).to(images.device)


def shot_noise(images: Tensor, generator: torch.Generator, photons: float) -> Tensor:
    """Count light in packets: ``Poisson(photons * x) / photons``; black stays black."""
    return torch.poisson(images.cpu() * photons, generator=generator).to(images.device) / photons


def impulse_noise(images: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """Set that share of the values to 0 or 1, half of them each."""
    draws = torch.rand(images.shape, generator=generator).to(images.device)
    return images.masked_fill(draws < share / 2, 0.0).masked_fill(draws > 1 - share / 2, 1.0)


def defocus_blur(images: Tensor, _: torch.Generator, radius: float) -> Tensor:
    """Average over a disk; a pixel at its rim weighs as much as the disk covers of it."""
    radius = _scale_length(images, radius)
    half = math.ceil(radius)
    width = 2 * half + 1
    offsets = (torch.arange(width * _DISK_SAMPLES) + 0.5) / _DISK_SAMPLES - width / 2
    inside = (offsets[:, None].square() + offsets.square() <= radius**2).float()
    disk = functional.avg_pool2d(inside[None], _DISK_SAMPLES)
    return filter2d(images, (disk / disk.sum()).to(images.device))


def soft_disk_blur(images: Tensor, _: torch.Generator, radius: float, softness: float) -> Tensor:
    """Average over the whole pixels within a disk, whose rim is softened by a Gaussian of three by three pixels."""
    radius, softness = _scale_length(images, radius), _scale_length(images, softness)
    half = int(radius) + 1
    offsets = torch.arange(-half, half + 1).float()
    disk = (offsets[:, None].square() + offsets.square() <= radius**2).float()
    around = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / (2 * softness**2))
    kernel = torch.outer(around, around) / around.sum() ** 2
    soft = functional.conv2d(disk[None, None], kernel[None, None], padding=1)[0]
    return filter2d(images, (soft / soft.sum()).to(images.device))


def glass_blur(images: Tensor, generator: torch.Generator, deviation: float, reach: float) -> Tensor:
    """Blur, give every pixel the colour of a random neighbour, and blur again.

    The neighbour is a uniform draw from ``-reach..reach`` per axis, rounded to whole pixels. The paper swaps neighbours
    one after the other; here all pixels draw at once, so a colour may appear twice.
    """
    count, _, height, width = images.shape
    images = _gaussian_blur(images, deviation)
    shifts = _scale_length(images, reach) * (2 * torch.rand((2, count, height, width), generator=generator) - 1)
    return _gaussian_blur(_fetch_neighbours(images, shifts.round().long()), deviation)


def glass_blur_in_rounds(
    images: Tensor, generator: torch.Generator, deviation: float, reach: float, rounds: float
) -> Tensor:
    """Blur, give every pixel the colour of a random neighbour so many times, and blur again.

    The neighbour is a uniform draw of whole pixels from ``-reach`` to ``reach - 1`` per axis.
    """
    count, _, height, width = images.shape
    images, whole = _gaussian_blur(images, deviation), max(1, round(_scale_length(images, reach)))
    for _ in range(round(rounds)):
        shifts = torch.randint(-whole, whole, (2, count, height, width), generator=generator)
        images = _fetch_neighbours(images, shifts)
    return _gaussian_blur(images, deviation)


def motion_blur(images: Tensor, generator: torch.Generator, half_length: float) -> Tensor:
    """Average along a line of ``2 * half_length + 1`` pixels, at an angle within 45 degrees of the horizontal."""
    return _blur_along(images, generator, half_length, centre_degrees=0.0)


def trail_blur(images: Tensor, generator: torch.Generator, radius: float, deviation: float) -> Tensor:
    """Smear to one side along a line within 45 degrees of the horizontal, by half a Gaussian: :func:`_smear_along`."""
    return _smear_along(images, generator, radius, deviation, centre_degrees=0.0)


def zoom_blur(images: Tensor, _: torch.Generator, largest: float) -> Tensor:
    """Average the image enlarged by factors from 1 to ``largest``."""
    factors = torch.linspace(1.0, largest, _ZOOM_STEPS).tolist()
    return torch.stack([_enlarge_middle(images, factor) for factor in factors]).mean(0)


def snow(
    images: Tensor,
    generator: torch.Generator,
    mean: float,
    deviation: float,
    flake_size: float,
    threshold: float,
    half_length: float,
    kept: float,
) -> Tensor:
    """Whiten the image and add streaks of flakes, once as drawn and once turned by half a turn.

    ``kept * x + (1 - kept) * max(x, 1.5 * grey(x) + 0.5) + flakes``, with flakes = normal noise (``mean``,
    ``deviation``) enlarged by ``flake_size``, zero below ``threshold``, and blurred along a steep line.
    """
    flakes = _make_flakes(images, generator, mean, deviation, flake_size, threshold)
    return _lay_snow(images, _blur_along(flakes, generator, half_length, centre_degrees=90.0), kept)


def snow_with_trails(
    images: Tensor,
    generator: torch.Generator,
    mean: float,
    deviation: float,
    flake_size: float,
    threshold: float,
    radius: float,
    trail: float,
    kept: float,
) -> Tensor:
    """Whiten the image and add flakes as :func:`snow` does, smeared along a steep line as :func:`_smear_along` does."""
    flakes = _make_flakes(images, generator, mean, deviation, flake_size, threshold)
    return _lay_snow(images, _smear_along(flakes, generator, radius, trail, centre_degrees=90.0), kept)


def _make_flakes(
    images: Tensor, generator: torch.Generator, mean: float, deviation: float, flake_size: float, threshold: float
) -> Tensor:
    """Return normal noise, enlarged, without what is below a threshold, in 0..1."""
    count, _, height, width = images.shape
    noise = torch.randn((count, 1, height, width), generator=generator).to(images.device)
    flakes = _enlarge_middle(mean + deviation * noise, flake_size)
    return flakes.masked_fill(flakes < threshold, 0.0).clamp(max=1.0)


def _lay_snow(images: Tensor, flakes: Tensor, kept: float) -> Tensor:
    """Return whitened images with flakes, once as drawn and once turned by half a turn."""
    whitened = torch.maximum(images, 1.5 * rgb_to_grayscale(images) + 0.5)
    return kept * images + (1 - kept) * whitened + flakes + flakes.rot90(2, (2, 3))


def frost(images: Tensor, generator: torch.Generator, kept: float, ice: float) -> Tensor:
    """Lay ice over the image: ``kept * x + ice * crystals``.

    The paper pastes photographs of frost. Ours is drawn: veins ``(1 - |n|)^2`` of smooth noise ``n`` at several
    scales, stretched to 0..1 and tinted bluish white.
    """
    octaves = [(1 - layer.abs()).square() for layer in _make_noise(images, generator)]
    crystals = _stretch_range(torch.stack([layer * 0.7**level for level, layer in enumerate(octaves)]).sum(0))
    colour = torch.tensor(_ICE_COLOUR, device=images.device)[:, None, None]
    return kept * images + ice * crystals * colour


def fog(images: Tensor, generator: torch.Generator, density: float, decay: float) -> Tensor:
    """Add a cloud and dim the whole: ``(x + density * cloud) * m / (m + density)``, ``m`` the largest value of ``x``.

    The cloud is noise at scales halving from the whole image down, each weaker by ``decay``, stretched to 0..1: the
    paper's diamond-square fractal in another rendering.
    """
    octaves = _make_noise(images, generator)
    cloud = _stretch_range(torch.stack([layer / decay**level for level, layer in enumerate(octaves)]).sum(0))
    largest = images.amax((1, 2, 3), keepdim=True)
    return (images + density * cloud) * largest / (largest + density)


def brightness(images: Tensor, _: torch.Generator, shift: float) -> Tensor:
    """Add ``shift`` to the value of hue, saturation and value, up to 1."""
    hue, saturation, value = rgb_to_hsv(images).unbind(1)
    return hsv_to_rgb(torch.stack([hue, saturation, (value + shift).clamp(max=1.0)], 1))


def contrast(images: Tensor, _: torch.Generator, factor: float) -> Tensor:
    """Draw every channel towards its mean: ``mean + factor * (x - mean)``."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + factor * (images - mean)


def elastic_transform(images: Tensor, generator: torch.Generator, displacement: float) -> Tensor:
    """Move every pixel along a smooth random field of that root-mean-square length per axis.

    The paper's random affine map before it is left out.
    """
    count, _, height, width = images.shape
    smoothness = _scale_length(images, _ELASTIC_SMOOTHNESS_PIXELS)
    noise = 2 * torch.rand((count, 2, height, width), generator=generator).to(images.device) - 1
    deviation = math.sqrt(1 / 3) / (2 * smoothness * math.sqrt(math.pi))  # of the noise once smoothed
    length = _scale_length(images, displacement) / deviation
    kernel = 2 * math.ceil(3 * smoothness) + 1
    return elastic_transform2d(
        images,
        noise,
        kernel_size=(kernel, kernel),
        sigma=(smoothness, smoothness),
        alpha=(2 * length / width, 2 * length / height),
        padding_mode="reflection",
    )


def elastic_transform_of_corners(
    images: Tensor, generator: torch.Generator, strength: float, smoothness: float, shift: float
) -> Tensor:
    """Move three points about the centre, the image with them, and then every pixel along a smooth random field.

    All in parts of the shorter side: the points, a third of it from the centre, move by up to ``shift`` per axis; the
    field is uniform noise in -1..1, smoothed by a Gaussian of deviation ``smoothness``, times ``strength``.
    """
    side = min(images.shape[2:])
    moves = side * shift * (2 * torch.rand((len(images), 3, 2), generator=generator) - 1)
    images = _sample_images(images, _places_before(images, moves.to(images.device)))
    noise = 2 * torch.rand((len(images), 2, *images.shape[2:]), generator=generator).to(images.device) - 1
    if strength == 0:
        return images
    deviation = side * smoothness
    kernel = 2 * min(math.ceil(3 * deviation), side - 1) + 1
    field = side * strength * gaussian_blur2d(noise, (kernel, kernel), (deviation, deviation), "reflect")
    return _sample_images(images, _pixel_centres(images) + field.permute(0, 2, 3, 1))


def pixelate(images: Tensor, _: torch.Generator, share: float) -> Tensor:
    """Shrink to that share of the side by averaging over boxes, and enlarge again by repeating pixels."""
    height, width = images.shape[2:]
    rows, columns = _box_weights(height, share).to(images.device), _box_weights(width, share).to(images.device)
    return functional.interpolate(rows @ images @ columns.T, size=(height, width), mode="nearest-exact")


def jpeg_compression(images: Tensor, _: torch.Generator, quality: float) -> Tensor:
    """Encode and decode as JPEG of that quality (1..100), computed on the device without a file."""
    return jpeg_codec_differentiable(images, torch.tensor([quality], device=images.device))


def _scale_length(images: Tensor, length: float) -> float:
    """Return a length in this image's pixels from one in pixels of a 32-pixel image."""
    return length * min(images.shape[2:]) / 32


def _gaussian_blur(images: Tensor, deviation: float) -> Tensor:
    """Blur by a Gaussian of that width, in pixels of a 32-pixel image."""
    deviation = _scale_length(images, deviation)
    kernel = 2 * math.ceil(3 * deviation) + 1
    return gaussian_blur2d(images, kernel, (deviation, deviation))


def _blur_along(images: Tensor, generator: torch.Generator, half_length: float, *, centre_degrees: float) -> Tensor:
    """Blur each image along a line within 45 degrees of ``centre_degrees``."""
    degrees = centre_degrees + 90 * torch.rand(len(images), generator=generator) - 45
    kernel = 2 * max(1, round(_scale_length(images, half_length))) + 1
    direction = torch.zeros(len(images), device=images.device)
    return kornia_motion_blur(images, kernel, degrees.to(images.device), direction, mode="bilinear")


def _smear_along(
    images: Tensor, generator: torch.Generator, radius: float, deviation: float, *, centre_degrees: float
) -> Tensor:
    """Average each image over itself moved by 0, 1, 2, ... ``2 * radius`` pixels along a line.

    The weights are half a Gaussian, and the line is within 45 degrees of ``centre_degrees``. So the deviation decides,
    not the radius: a move of three deviations hardly counts.
    """
    degrees = centre_degrees + 90 * torch.rand(len(images), generator=generator) - 45
    angles = torch.deg2rad(degrees).to(images.device)
    line = torch.stack([angles.cos(), -angles.sin()], 1)[:, None, None]
    count, deviation = 2 * math.ceil(_scale_length(images, radius)) + 1, _scale_length(images, deviation)
    weights = torch.exp(-torch.arange(count).square() / (2 * deviation**2))
    centres = _pixel_centres(images)
    moved = (
        weight * _sample_images(images, centres + step * line, padding="border")
        for step, weight in enumerate((weights / weights.sum()).tolist())
        if weight > 1e-6  # far below one of 256 levels
    )
    total = torch.zeros_like(images)
    for each in moved:  # one at a time: there may be dozens
        total += each
    return total


def _fetch_neighbours(images: Tensor, shifts: Tensor) -> Tensor:
    """Return images whose pixels have the colours of others, so many rows and columns away; at most from the edge."""
    channels, height, width = images.shape[1:]
    rows = (torch.arange(height)[:, None] + shifts[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + shifts[1]).clamp(0, width - 1)
    origins = (rows * width + columns).to(images.device).flatten(1)[:, None].expand(-1, channels, -1)
    fetched: Tensor = images.flatten(2).gather(2, origins).unflatten(2, (height, width))
    return fetched


def _pixel_centres(images: Tensor) -> Tensor:
    """Return the column and row of every pixel, shape ``(1, height, width, 2)``."""
    rows, columns = (torch.arange(size, device=images.device, dtype=images.dtype) for size in images.shape[2:])
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None]


def _places_before(images: Tensor, moves: Tensor) -> Tensor:
    """Return where each pixel was before three points moved and the image with them, as columns and rows.

    Args:
        images: whose pixels.
        moves: shape ``(images, 3, 2)``; of the points, in pixels.
    """
    height, width = images.shape[2:]
    reach = min(height, width) // 3
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], device=images.device)
    before = torch.tensor([width // 2, height // 2], device=images.device) + reach * signs
    after = torch.cat([before + moves, torch.ones_like(moves[..., :1])], 2)
    back = torch.linalg.solve(after, before.expand_as(moves))  # (x, y, 1) of after to (x, y) of before
    centres = _pixel_centres(images)
    whole = torch.cat([centres, torch.ones_like(centres[..., :1])], -1)
    places: Tensor = (whole.flatten(1, 2) @ back).unflatten(1, (height, width))
    return places


def _sample_images(images: Tensor, places: Tensor, *, padding: str = "reflection") -> Tensor:
    """Return the images at these columns and rows, by bilinear interpolation."""
    sizes = torch.tensor([images.shape[3], images.shape[2]], device=images.device)
    grid = ((2 * places + 1) / sizes - 1).expand(len(images), -1, -1, -1)
    return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _enlarge_middle(images: Tensor, factor: float) -> Tensor:
    """Return the middle of the images, enlarged by ``factor`` to the same size."""
    corners = torch.tensor([[[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]]], device=images.device)
    grid = functional.affine_grid(corners.expand(len(images), -1, -1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _box_weights(size: int, share: float) -> Tensor:
    """Return the matrix that averages ``size`` places into that share of them, shape ``(boxes, size)``."""
    boxes = max(1, round(size * share))
    edges = torch.arange(boxes + 1) * (size / boxes)
    places = torch.arange(size)
    overlaps = torch.minimum(edges[1:, None], places + 1.0) - torch.maximum(edges[:-1, None], places.float())
    return overlaps.clamp(min=0) * (boxes / size)


def _make_noise(images: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Return smooth noise in -1..1 on grids of 2, 4, 8, ... cells up to the image's size, one channel each."""
    height, width = images.shape[2:]
    layers, cells = [], 2
    while cells <= max(height, width):
        noise = 2 * torch.rand((len(images), 1, cells, cells), generator=generator).to(images.device) - 1
        layers.append(functional.interpolate(noise, size=(height, width), mode="bilinear", align_corners=True))
        cells *= 2
    return layers


def _stretch_range(layers: Tensor) -> Tensor:
    """Map each image's values to 0..1."""
    lowest, highest = layers.amin((1, 2, 3), keepdim=True), layers.amax((1, 2, 3), keepdim=True)
    return (layers - lowest) / (highest - lowest).clamp(min=torch.finfo(layers.dtype).eps)
