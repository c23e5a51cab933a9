"""Strong augmentation: random operations and a grey square, drawn anew for every image and applied to whole batches."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from kornia.color import rgb_to_grayscale
from kornia.enhance import equalize
from torch import Tensor
from torch.nn import functional

from auxo.random import Draws

_Images = Float[Tensor, "n 3 height width"]
_AnyImages = Float[Tensor, "n channels height width"]
_Magnitudes = Float[Tensor, " n"]


class Operation(NamedTuple):
    """One operation of RandAugment.

    Args:
        name: as in the paper.
        low: smallest magnitude.
        high: largest magnitude.
        apply: maps images in [0, 1], shape ``(n, channels, height, width)``, and one magnitude for each, shape
            ``(n,)``, to images in [0, 1].
        moves: whether it moves pixels, so that a target with places must move too; others recolour them.
    """

    name: str
    low: float
    high: float
    apply: Callable[[_AnyImages, _Magnitudes], _AnyImages]
    moves: bool = False


class Drawn(NamedTuple):
    """What was drawn for one operation of every image; on the CPU, so that no device has to be waited for.

    Args:
        chosen: shape ``(n,)``; position of the operation among those that it was drawn from.
        strength: shape ``(n,)``; where in the operation's range its magnitude is, in [0, 1].
    """

    chosen: Int[Tensor, " n"]
    strength: Float[Tensor, " n"]


class Recolouring(NamedTuple):
    """What the run's own augmentation goes on with, after crops and flips, in this order.

    Args:
        jitter_prob: part of the images whose colours are drawn anew (:func:`auxo.data.two_views.colour_jitter`).
        num_operations: of RandAugment (:func:`draw_operations`), for every image.
        erase_prob: part of the images of which a rectangle is hidden (:func:`auxo.data.two_views.draw_rectangles`).
    """

    jitter_prob: float = 0.0
    num_operations: int = 0
    erase_prob: float = 0.0

    @property
    def needs_colours(self) -> bool:
        """Whether images must have three channels."""
        return self.jitter_prob > 0 or self.num_operations > 0


def draw_operations(draws: Draws, count: int, *, num_operations: int = 3) -> list[Drawn]:
    """Return ``num_operations`` operations for each of so many images, drawn with replacement from :data:`OPERATIONS`.

    The magnitude is uniform over the operation's range. Every image has operations and magnitudes of its own.

    Source: RandAugment (Cubuk et al., arXiv 1909.13719) as FixMatch has it (Sohn et al., NeurIPS 2020, arXiv
    2001.07685): no magnitude to be tuned. Pool, ranges and number are those of github.com/LeeDoYup/FixMatch-pytorch;
    github.com/google-research/fixmatch draws two operations, and leaves each out every second time.

    Args:
        draws: of the joined batch.
        count: images.
        num_operations: how many follow one another, >= 0.
    """
    return [Drawn(draws.integers(len(OPERATIONS), count), draws.uniform(count)) for _ in range(num_operations)]


def apply_drawn(
    images: _AnyImages, drawn: Sequence[Drawn], *, operations: Sequence[Operation] | None = None
) -> _AnyImages:
    """Return images after one operation for each of ``drawn``; those of one operation are changed together.

    Args:
        images: in [0, 1]; or, with :data:`MOVES`, anything that moves as the pixels do.
        drawn: from :func:`draw_operations`.
        operations: that the draws choose among; default :data:`OPERATIONS`.
    """
    for chosen, strength in drawn:
        images = apply_operations(images, chosen, strength, operations=operations)
    return images


def apply_operations(
    images: _AnyImages,
    chosen: Int[Tensor, " n"],
    strength: Float[Tensor, " n"],
    *,
    operations: Sequence[Operation] | None = None,
) -> _AnyImages:
    """Return every image after one operation.

    Args:
        images: in [0, 1].
        chosen: the position in ``operations`` of each image's operation; on the CPU, so that no device has to be waited
            for.
        strength: where in the operation's range its magnitude is, in [0, 1]; on the CPU.
        operations: to choose among; default :data:`OPERATIONS`, which need three channels.
    """
    operations = OPERATIONS if operations is None else operations
    order = chosen.argsort(stable=True)
    counts = chosen.bincount(minlength=len(operations)).tolist()
    ends = torch.tensor([(operation.low, operation.high) for operation in operations], dtype=strength.dtype)
    low, high = ends[chosen].unbind(1)
    magnitudes = (low + (high - low) * strength)[order].to(images.device, images.dtype)
    parts = images.contiguous()[order.to(images.device)].split(counts)
    changed = [
        operation.apply(part, magnitude) if len(part) else part
        for operation, part, magnitude in zip(operations, parts, magnitudes.split(counts), strict=True)
    ]
    return torch.cat(changed)[order.argsort().to(images.device)]


def draw_squares(
    draws: Draws, count: int, size: tuple[int, int], *, largest: float = 0.5
) -> Bool[Tensor, "count 1 height width"]:
    """Return which pixels of each image are in a square that hides them, on the CPU.

    Its side is uniform in [0, ``largest``] of the shorter side, its centre uniform over the image; what lies outside
    the image is cut off.

    Source: Cutout (DeVries & Taylor, arXiv 1708.04552), with the random side of FixMatch (arXiv 2001.07685).

    Args:
        draws: of the joined batch.
        count: images.
        size: height and width of an image.
        largest: longest side as a part of the shorter side of the image, in [0, 1].
    """
    height, width = size
    half = draws.uniform(count) * (largest * min(height, width) / 2)

    def is_near(size: int) -> Tensor:
        centres = torch.arange(size, dtype=half.dtype) + 0.5
        return (centres - (draws.uniform(count) * size).unsqueeze(1)).abs() < half.unsqueeze(1)

    rows, columns = is_near(height), is_near(width)
    return rows.view(count, 1, height, 1) & columns.view(count, 1, 1, width)


def _blend_images(other: _Images, images: _Images, weight: _Magnitudes) -> _Images:
    """Go from ``other`` (weight 0) towards the images (weight 1)."""
    return torch.lerp(other, images, weight.view(-1, 1, 1, 1)).clamp(0, 1)


def _auto_contrast(images: _Images, _magnitudes: _Magnitudes) -> _Images:
    """Stretch each channel to [0, 1]; one of a single value stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) / (high - low).clamp(min=1 / 255)
    return torch.where(high > low, stretched, images).clamp(0, 1)


def _change_brightness(images: _AnyImages, magnitudes: _Magnitudes) -> _AnyImages:
    """Blend with black."""
    return (images * magnitudes.view(-1, 1, 1, 1)).clamp(max=1)


def _change_colour(images: _Images, magnitudes: _Magnitudes) -> _Images:
    """Blend with the grey image."""
    return _blend_images(rgb_to_grayscale(images).expand_as(images), images, magnitudes)


def _change_contrast(images: _Images, magnitudes: _Magnitudes) -> _Images:
    """Blend with the image's mean grey, a whole number of 255 as in Pillow and so the same however a mean is summed."""
    mean = (rgb_to_grayscale(images).mean((2, 3), keepdim=True) * 255).round() / 255
    return _blend_images(mean.expand_as(images), images, magnitudes)


def _equalize_histogram(images: _Images, _magnitudes: _Magnitudes) -> _Images:
    """Flatten each channel's histogram."""
    return equalize(images)


def _change_nothing(images: _AnyImages, _magnitudes: _Magnitudes) -> _AnyImages:
    """Change nothing."""
    return images


def _drop_bits(images: _Images, magnitudes: _Magnitudes) -> _Images:
    """Keep so many bits of each pixel, the magnitude rounded down."""
    # Shifted bits, as a power of floats need not be exact on every device.
    step = (1 << (8 - magnitudes.floor()).int()).to(images.dtype).view(-1, 1, 1, 1)
    return ((images * 255).round() / step).floor() * step / 255


def _change_sharpness(images: _Images, magnitudes: _Magnitudes) -> _Images:
    """Blend with a smoothed image: the mean of nine neighbours in which the middle counts five times; edges stay."""
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = (around + 4 * images[:, :, 1:-1, 1:-1]) / 13
    return _blend_images(smooth, images, magnitudes)


def _invert_bright(images: _AnyImages, magnitudes: _Magnitudes) -> _AnyImages:
    """Invert pixels from a value upwards."""
    return torch.where(images < magnitudes.view(-1, 1, 1, 1), images, 1 - images)


def _move_pixels(images: _AnyImages, across: list[Tensor | float], down: list[Tensor | float]) -> _AnyImages:
    """Fetch each pixel from elsewhere in its image, black from outside it.

    Args:
        images: in [0, 1], or whatever else moves as they do.
        across: a, b, c of the place ``a x + b y + c`` across, in pixels from the upper left corner, that the pixel at
            (x, y) comes from; numbers, or one for each image.
        down: the same for the place from the top.
    """
    height, width = images.shape[-2:]
    (a, b, c), (d, e, f) = (
        (torch.as_tensor(value, dtype=images.dtype, device=images.device).expand(len(images)) for value in row)
        for row in (across, down)
    )
    # grid_sample counts from -1 at one edge to 1 at the other.
    first = [a, b * (height / width), a + b * (height / width) + c * (2 / width) - 1]
    second = [d * (width / height), e, d * (width / height) + e + f * (2 / height) - 1]
    theta = torch.stack([torch.stack(first, 1), torch.stack(second, 1)], 1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _turn_images(images: _AnyImages, degrees: _Magnitudes) -> _AnyImages:
    """Turn about the centre, counter-clockwise."""
    height, width = images.shape[-2:]
    angle = torch.deg2rad(degrees)
    cos, sin, x, y = angle.cos(), angle.sin(), width / 2, height / 2
    return _move_pixels(images, [cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y])


def _shear_x(images: _AnyImages, magnitudes: _Magnitudes) -> _AnyImages:
    """Move rows sideways, by a part of their distance from the top."""
    return _move_pixels(images, [1.0, magnitudes, 0.0], [0.0, 1.0, 0.0])


def _shear_y(images: _AnyImages, magnitudes: _Magnitudes) -> _AnyImages:
    """Move columns up or down, by a part of their distance from the left."""
    return _move_pixels(images, [1.0, 0.0, 0.0], [magnitudes, 1.0, 0.0])


def _translate_x(images: _AnyImages, magnitudes: _Magnitudes) -> _AnyImages:
    """Move sideways, by a part of the width."""
    return _move_pixels(images, [1.0, 0.0, magnitudes * images.shape[-1]], [0.0, 1.0, 0.0])


def _translate_y(images: _AnyImages, magnitudes: _Magnitudes) -> _AnyImages:
    """Move up or down, by a part of the height."""
    return _move_pixels(images, [1.0, 0.0, 0.0], [0.0, 1.0, magnitudes * images.shape[-2]])


OPERATIONS = (
    Operation("AutoContrast", 0.0, 1.0, _auto_contrast),
    Operation("Brightness", 0.05, 0.95, _change_brightness),
    Operation("Color", 0.05, 0.95, _change_colour),
    Operation("Contrast", 0.05, 0.95, _change_contrast),
    Operation("Equalize", 0.0, 1.0, _equalize_histogram),
    Operation("Identity", 0.0, 1.0, _change_nothing),
    Operation("Posterize", 4.0, 8.0, _drop_bits),
    Operation("Rotate", -30.0, 30.0, _turn_images, moves=True),
    Operation("Sharpness", 0.05, 0.95, _change_sharpness),
    Operation("ShearX", -0.3, 0.3, _shear_x, moves=True),
    Operation("ShearY", -0.3, 0.3, _shear_y, moves=True),
    Operation("Solarize", 0.0, 1.0, _invert_bright),
    Operation("TranslateX", -0.3, 0.3, _translate_x, moves=True),
    Operation("TranslateY", -0.3, 0.3, _translate_y, moves=True),
)
"""The pool of FixMatch with its ranges of magnitude; AutoContrast, Equalize and Identity ignore theirs."""

MOVES = tuple(operation if operation.moves else operation._replace(apply=_change_nothing) for operation in OPERATIONS)
"""The pool with every operation that only recolours replaced by none: what a target with places goes through."""
