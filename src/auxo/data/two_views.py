"""Augmentations of self-supervised learning: resized crops, colour distortion, blur, solarisation, tints drawn anew."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from kornia.filters import gaussian_blur2d
from torch import Tensor

from auxo.data.augmentations import OPERATIONS, Operation, apply_operations
from auxo.random import Draws
from auxo.types import Images

STANDARD_ASPECT = (3 / 4, 4 / 3)
"""Range of width over height of the parts of an image."""
_ATTEMPTS = 10
_JITTER_PROB = 0.8
_GREY_PROB = 0.2
_MIN_BLURRED_PIXELS = 64


class SimCLRView(NamedTuple):
    """What one of two views differs in.

    Args:
        blur_prob: part of the images that are blurred, in [0, 1].
        solarize_prob: part of the images whose bright pixels are inverted, in [0, 1].
    """

    blur_prob: float
    solarize_prob: float


SIMCLR_VIEWS = {"simclr": SimCLRView(1.0, 0.0), "simclr_second": SimCLRView(0.1, 0.2)}
"""The first and the second view, by the name of their augmentation."""


class Crops(NamedTuple):
    """Which part of every image is scaled to the image's own size, on the CPU.

    Args:
        starts: shape ``(n, 2)``; first row and column of the part, whole numbers.
        sizes: shape ``(n, 2)``; its height and width, pixels.
        is_flipped: shape ``(n,)``; whether it is mirrored left to right.
    """

    starts: Float[Tensor, "n 2"]
    sizes: Int[Tensor, "n 2"]
    is_flipped: Bool[Tensor, " n"]


def draw_crops(
    draws: Draws,
    count: int,
    size: tuple[int, int],
    *,
    flip_prob: float,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = STANDARD_ASPECT,
) -> Crops:
    """Return a random part for each of so many images of a size, height and width.

    Ten parts are drawn, of a uniform area and a log-uniform aspect ratio, in whole pixels. The first that fits is
    taken, or, if none does, as much of the image as the aspect ratio allows; its position is uniform.

    Source: "Going Deeper with Convolutions" (Szegedy et al., CVPR 2015), section 6, with the ranges of SimCLR (Chen et
    al., ICML 2020, arXiv 2002.05709, appendix A). The released code of BiSSL (arXiv 2410.02387) has an option for the
    smallest crop that sets the range of the aspect ratio instead, to (0.5, 1), so that no part is wider than high.

    Args:
        draws: of the joined batch; the same numbers are drawn whatever the options.
        count: images.
        size: height and width of an image.
        flip_prob: part of the images that are mirrored left to right, in [0, 1].
        area: range of the part's area over the image's, in (0, 1].
        aspect: range of the part's width over its height, > 0.
    """
    sizes = _crop_sizes(draws, count, size, area, aspect)
    places = draws.uniform(count, (2,))
    is_flipped = draws.uniform(count) < flip_prob
    return Crops((places * (torch.tensor(size) - sizes + 1)).floor(), sizes, is_flipped)


def crop_images(images: Images, crops: Crops) -> Images:
    """Return the parts of images, scaled to the images' own size by bicubic interpolation.

    Args:
        images: in [0, 1].
        crops: of these images.
    """
    height, width = images.shape[-2:]

    def resampling(axis: int, size: int) -> Tensor:
        return _cubic_weights(crops.starts[:, axis].to(images), crops.sizes[:, axis].to(images), size)

    rows, columns = resampling(0, height), resampling(1, width)
    columns = torch.where(crops.is_flipped.to(images.device).view(-1, 1, 1), columns.flip(1), columns)
    return (rows.unsqueeze(1) @ images.contiguous() @ columns.unsqueeze(1).mT).clamp(0, 1)


def crop_places(places: Float[Tensor, "n 1 height width"], crops: Crops) -> Float[Tensor, "n 1 height width"]:
    """Return what lies at the nearest pixel of every pixel of the scaled parts.

    Args:
        places: of whole images, one number a pixel.
        crops: of these images.
    """

    def nearest(axis: int, size: int) -> Tensor:
        steps = (torch.arange(size) + 0.5) / size
        return (crops.starts[:, axis, None] + steps * crops.sizes[:, axis, None]).floor().long().to(places.device)

    rows, columns = nearest(0, places.shape[-2]), nearest(1, places.shape[-1])
    columns = torch.where(crops.is_flipped.to(places.device)[:, None], columns.flip(1), columns)
    images = torch.arange(len(places), device=places.device).view(-1, 1, 1)
    return places[:, 0][images, rows.unsqueeze(2), columns.unsqueeze(1)].unsqueeze(1)


def draw_rectangles(
    draws: Draws, count: int, size: tuple[int, int], *, prob: float
) -> Bool[Tensor, "count 1 height width"]:
    """Return which pixels of each image are in a rectangle that hides them, on the CPU.

    Its area is uniform in 2 to 33 % of the image's, its width over its height log-uniform in 0.3 to 3.3, its position
    uniform among those inside.

    Source: Random Erasing Data Augmentation (Zhong et al., AAAI 2020, arXiv 1708.04896), whose height over width is
    uniform; drawn as the parts of :func:`draw_crops` here.

    Args:
        draws: of the joined batch.
        count: images.
        size: height and width of an image.
        prob: part of the images that have one, in [0, 1].
    """
    found = draw_crops(draws, count, size, flip_prob=0.0, area=(0.02, 0.33), aspect=(0.3, 3.3))
    is_erased = draws.uniform(count) < prob

    def is_inside(axis: int) -> Tensor:
        places = torch.arange(size[axis]) - found.starts[:, axis, None]
        return (places >= 0) & (places < found.sizes[:, axis, None])

    rows, columns = is_inside(0) & is_erased[:, None], is_inside(1)
    return rows.view(count, 1, -1, 1) & columns.view(count, 1, 1, -1)


def recolour_view(images: Images, draws: Draws, *, view: SimCLRView) -> Images:
    """Return a view of crops, none of whose pixels moves: other colours, now and then grey, blurred and solarised.

    The operations, in this order: :func:`colour_jitter` with probability 0.8; grey with 0.2; a Gaussian blur of a
    standard deviation uniform in [0.1, 2] pixels; pixels from 0.5 upwards inverted. Images whose shorter side is below
    64 pixels are never blurred, as SimCLR leaves the blur out for CIFAR-10; the kernel of larger ones is about a tenth
    of the shorter side wide. Images of other than three channels have no colours: jitter and grey are left out.

    Source: BYOL (Grill et al., NeurIPS 2020, arXiv 2006.07733, appendix B) after SimCLR (Chen et al., ICML 2020, arXiv
    2002.05709, appendix A; github.com/google-research/simclr for the blur). BiSSL (arXiv 2410.02387) trains its
    pretexts, SimCLR among them, with the same two views.

    Args:
        images: in [0, 1].
        draws: of the joined batch, after the crops were drawn.
        view: how often to blur and to solarise.
    """
    if images.shape[1] == 3:
        images = colour_jitter(images, draws, prob=_JITTER_PROB)
        images = _apply_sometimes(images, draws, _GREY, _GREY_PROB)
    if min(images.shape[-2:]) >= _MIN_BLURRED_PIXELS:
        images = _apply_sometimes(images, draws, _BLUR, view.blur_prob)
    return _apply_sometimes(images, draws, _HALF_SOLARIZE, view.solarize_prob)


def retint_images(
    images: Images, draws: Draws, *, mean: Float[Tensor, " channels"], std: Float[Tensor, " channels"]
) -> Images:
    """Return images whose tint and contrast were taken out, and both drawn anew; no pixel moves.

    The mean of every channel is taken off, and what is left divided by its standard deviation over all channels. The
    new contrast is uniform in 0.5 to 1.5 times the mean deviation of the channels of the training images, the new tint
    of each channel uniform within one deviation around its mean there. So what an image's pixels have in common says
    nothing of it. Values may leave [0, 1]: cutting them off would hide texture.

    Args:
        images: in [0, 1].
        draws: of the joined batch.
        mean: of each channel of the training images.
        std: their standard deviation.

    Source: ours.
    """
    images = images.contiguous()  # sums round alike in any memory format
    count, channels = images.shape[:2]
    contrast = 0.5 + draws.uniform(count).to(images)
    tint = 2 * draws.uniform(count, (channels,)).to(images) - 1
    centred = images - images.mean((2, 3), keepdim=True)
    deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1 / 255)  # a blank image stays blank
    new_mean = (mean + tint * std).view(count, channels, 1, 1)
    return centred / deviation * (contrast.view(-1, 1, 1, 1) * std.mean()) + new_mean


def colour_jitter(
    images: Float[Tensor, "n 3 height width"], draws: Draws, *, prob: float
) -> Float[Tensor, "n 3 height width"]:
    """Return images of another brightness, contrast, saturation and hue.

    The four operations of :data:`JITTER` follow one another in an order of each image's own.

    Args:
        images: in [0, 1].
        draws: of the joined batch.
        prob: part of the images that are changed, in [0, 1].
    """
    count, kinds = len(images), len(JITTER)
    is_changed = draws.uniform(count) < prob
    order, strength = draws.uniform(count, (kinds,)).argsort(1), draws.uniform(count, (kinds,))
    for place in range(kinds):
        chosen = torch.where(is_changed, order[:, place], kinds)
        magnitude = strength.gather(1, order[:, place : place + 1]).squeeze(1)
        images = apply_operations(images, chosen, magnitude, operations=(*JITTER, _IDENTITY))
    return images


def _apply_sometimes(images: Images, draws: Draws, operation: Operation, prob: float) -> Images:
    """Apply an operation with a probability, its magnitude uniform over its range."""
    count = len(images)
    is_changed, strength = draws.uniform(count) < prob, draws.uniform(count)
    return apply_operations(images, is_changed.long(), strength, operations=(_IDENTITY, operation)) if prob else images


def _crop_sizes(
    draws: Draws, count: int, image: tuple[int, int], area: tuple[float, float], aspect: tuple[float, float]
) -> Int[Tensor, "count 2"]:
    """Return height and width of each image's part, in pixels, on the CPU."""
    height, width = image
    drawn = draws.uniform(count, (2, _ATTEMPTS))
    areas = (area[0] + (area[1] - area[0]) * drawn[:, 0]) * (height * width)
    low, high = (math.log(end) for end in aspect)
    ratios = (low + (high - low) * drawn[:, 1]).exp()
    sizes = torch.stack([(areas / ratios).sqrt().round(), (areas * ratios).sqrt().round()], 1).long()
    fits = ((sizes > 0) & (sizes <= torch.tensor(image).view(1, 2, 1))).all(1)
    first = fits.int().argmax(1).view(-1, 1, 1).expand(-1, 2, 1)
    whole = torch.tensor([min(height, round(width / aspect[0])), min(width, round(height * aspect[1]))])
    return torch.where(fits.any(1, keepdim=True), sizes.gather(2, first).squeeze(2), whole)


def _cubic_weights(
    starts: Float[Tensor, " n"], lengths: Float[Tensor, " n"], size: int
) -> Float[Tensor, "n size size"]:
    """Return how much each of ``size`` pixels (last axis) counts in each pixel that a part is scaled to.

    The kernel is that of Keys (1981) with the slope -1/2, as Pillow has it; what it reaches outside the part does not
    count.
    """
    pixels = torch.arange(size, device=starts.device, dtype=starts.dtype)
    start, length = starts.view(-1, 1, 1), lengths.view(-1, 1, 1)
    centres = start + (pixels.view(-1, 1) + 0.5) * (length / size) - 0.5
    far = (centres - pixels).abs()
    weights = torch.where(far < 1, (1.5 * far - 2.5) * far.square() + 1, ((2.5 - 0.5 * far) * far - 4) * far + 2)
    is_counted = (far < 2) & (pixels >= start) & (pixels < start + length)
    weights = torch.where(is_counted, weights, 0)
    return weights / weights.sum(2, keepdim=True)


def _blur_images(images: Images, sigmas: Float[Tensor, " n"]) -> Images:
    """Blur, each image by its own deviation in pixels; the image goes on outside as in a mirror."""
    taps = 2 * (min(images.shape[-2:]) // 20) + 1
    return gaussian_blur2d(images, (taps, taps), sigmas.view(-1, 1).expand(-1, 2)).clamp(0, 1)


def _turn_hue(images: Images, turns: Float[Tensor, " n"]) -> Images:
    """Turn the hue by a part of the circle; largest and smallest value of a pixel stay."""
    high, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    spread = high - low
    red, green, blue = images.split(1, 1)
    divisor = spread.clamp(min=1e-12)
    blue_or_green = torch.where(high == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sixths = torch.where(high == red, (green - blue) / divisor, blue_or_green)
    turned = sixths + 6 * turns.view(-1, 1, 1, 1)
    distance = torch.cat([turned + 5, turned + 3, turned + 1], 1) % 6
    return high - spread * torch.minimum(distance, 4 - distance).clamp(0, 1)


_POOL = {operation.name: operation for operation in OPERATIONS}
_IDENTITY = _POOL["Identity"]
_GREY = _POOL["Color"]._replace(low=0.0, high=0.0)
_BLUR = Operation("GaussianBlur", 0.1, 2.0, _blur_images)
_HALF_SOLARIZE = _POOL["Solarize"]._replace(low=0.5, high=0.5)
JITTER = (
    _POOL["Brightness"]._replace(low=0.6, high=1.4),
    _POOL["Contrast"]._replace(low=0.6, high=1.4),
    _POOL["Color"]._replace(low=0.8, high=1.2),
    Operation("Hue", -0.1, 0.1, _turn_hue),
)
"""The operations of :func:`colour_jitter` with the ranges of BYOL; the hue's are parts of the colour circle."""
