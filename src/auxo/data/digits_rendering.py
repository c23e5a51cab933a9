"""Digits from other sources drawn as MNIST draws them, and digits drawn over photographs as MNIST-M does."""

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from auxo.errors import DataError

_SIDE = 28
_DIGIT_SIDE = 20
_CENTRE_OF_MASS = 14.0


def centre_digits(digits: UInt8[Tensor, "digits height width"]) -> UInt8[Tensor, "digits 28 28"]:
    """Return white-on-black digits enlarged and centred as those of MNIST are.

    Each digit's bounding box is scaled, keeping its aspect, until the longer side has 20 pixels (bicubic), and placed
    with its centre of mass on pixel (14, 14), where MNIST has it. Values are stretched so that the strongest stroke is
    255. What falls outside the 28 x 28 field is cut off.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 1998, section III.A.

    Args:
        digits: shape ``(digits, height, width)``; uint8, white on black.

    Raises:
        DataError: a digit has no ink.
    """
    ink = digits > 0
    blank = ~ink.flatten(1).any(1)
    if bool(blank.any()):
        raise DataError("a digit with ink", f"digit {int(blank.nonzero()[0])}, which is blank", "leave it out")
    strokes = digits.float()
    height, width = _measure_extent(ink.any(2)), _measure_extent(ink.any(1))
    pixels_per_pixel = torch.maximum(height, width) / _DIGIT_SIDE
    rows = _sampling_positions(_mean_position(strokes.sum(2)), pixels_per_pixel, digits.shape[1])
    columns = _sampling_positions(_mean_position(strokes.sum(1)), pixels_per_pixel, digits.shape[2])
    grid = torch.stack(
        [columns[:, None, :].expand(-1, _SIDE, -1), rows[:, :, None].expand(-1, -1, _SIDE)],
        dim=3,
    )
    drawn = functional.grid_sample(strokes[:, None], grid, mode="bicubic", align_corners=False)[:, 0].clamp(min=0)
    return (drawn * (255 / drawn.amax((1, 2), keepdim=True))).round().to(torch.uint8)


def _measure_extent(occupied: Tensor) -> Tensor:
    """Return the distance from the first to the last occupied place in each row of flags, both included."""
    places = occupied.float()
    return occupied.shape[1] - places.flip(1).argmax(1) - places.argmax(1)


def _mean_position(weights: Tensor) -> Tensor:
    """Return each row's centre of mass in units of places."""
    return (weights * torch.arange(weights.shape[1])).sum(1) / weights.sum(1)


def _sampling_positions(centre: Tensor, pixels_per_pixel: Tensor, size: int) -> Tensor:
    """Return where in the original, as ``grid_sample`` counts (-1..1), each of the 28 target places lies."""
    targets = torch.arange(_SIDE) - _CENTRE_OF_MASS
    places = centre[:, None] + targets * pixels_per_pixel[:, None]
    return (2 * places + 1) / size - 1


def blend_with_photographs(
    digits: UInt8[Tensor, "digits 3 height width"],
    photographs: UInt8[Tensor, "photographs 3 tall wide"],
    *,
    generator: torch.Generator,
) -> UInt8[Tensor, "digits 3 height width"]:
    """Return ``|crop - digit|`` per channel, each digit over its own random crop of a random photograph.

    Source: Ganin & Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, section 4 (MNIST-M).

    Args:
        digits: shape ``(digits, 3, height, width)``; uint8.
        photographs: shape ``(photographs, 3, tall, wide)``; uint8; no smaller than a digit.
        generator: a CPU generator; decides photograph and place.
    """
    count, _, height, width = digits.shape
    number, _, tall, wide = photographs.shape
    chosen = torch.randint(number, (count,), generator=generator)
    tops = torch.randint(tall - height + 1, (count,), generator=generator)
    lefts = torch.randint(wide - width + 1, (count,), generator=generator)
    rows = (tops[:, None] + torch.arange(height))[:, :, None]
    columns = (lefts[:, None] + torch.arange(width))[:, None, :]
    crops = photographs.movedim(1, 3)[chosen[:, None, None], rows, columns].movedim(3, 1)
    return torch.maximum(crops, digits) - torch.minimum(crops, digits)


def grey_to_rgb(images: UInt8[Tensor, "images height width"]) -> UInt8[Tensor, "images 3 height width"]:
    """Return grey images with the one channel repeated three times."""
    return images[:, None].repeat(1, 3, 1, 1)
