"""Answers for every pixel of images of any size: of the whole image at once, or of windows that overlap."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from auxo.options import Options, Range


@dataclass(frozen=True, kw_only=True)
class WindowConfig(Options):
    """How a network that answers every pixel is shown images of any size."""

    window: Annotated[int | None, Range(low=8)] = None
    """Side in pixels of the square windows that an image is cut into; their answers are averaged where they overlap. By
    default the whole image is shown at once, which takes memory in proportion to its size."""
    overlap: Annotated[float, Range(low=0, below=1)] = 0.5
    """Part of a window's side that neighbouring windows share."""
    scale: Literal["auto", "own", "model"] = "auto"
    """Size at which images are shown: their own, or enlarged or reduced, without cropping, until they just cover the
    training images; answers have the images' own size. auto is that of the training: model where training images were
    resized (data.image-size), else own."""


class WindowPlan(NamedTuple):
    """What is done with images of one size.

    Args:
        size: height and width at which they are shown.
        window: height and width of what the network sees at once.
        overlap: part of a window that neighbouring windows share.
    """

    size: tuple[int, int]
    window: tuple[int, int]
    overlap: float


def plan_windows(
    size: tuple[int, int],
    config: WindowConfig,
    *,
    trained_size: tuple[int, int],
    was_resized: bool,
    takes_any_size: bool,
) -> WindowPlan:
    """Return how images of one size are shown.

    Args:
        size: their height and width.
        config: what was asked for.
        trained_size: height and width of the training images.
        was_resized: whether those were resized.
        takes_any_size: whether the network does; else the windows are of the size of the training images.
    """
    if config.scale == "model" or (config.scale == "auto" and was_resized):
        factor = max(trained / own for trained, own in zip(trained_size, size, strict=True))
        size = (max(1, round(factor * size[0])), max(1, round(factor * size[1])))
    if not takes_any_size:
        return WindowPlan(size, trained_size, config.overlap)
    side = max(size) if config.window is None else config.window
    return WindowPlan(size, (min(side, size[0]), min(side, size[1])), config.overlap)


def answer_pixels(
    outputs: Callable[[Tensor], Tensor],
    pixels: UInt8[Tensor, "batch channels height width"],
    plan: WindowPlan,
    *,
    batch_size: int,
) -> Float[Tensor, "batch outputs height width"]:
    """Return a network's outputs for every pixel of some images, at the images' size, float32 on the CPU.

    Outputs of windows are averaged where they overlap, before any softmax. An image that is smaller than a window is
    continued by its last row and column, and what is answered there is dropped.

    Args:
        outputs: maps pixels to outputs of the same height and width.
        pixels: of images of one size.
        plan: of :func:`plan_windows`.
        batch_size: windows of one pass.
    """
    height, width = (int(side) for side in pixels.shape[2:])
    shown = _resize_pixels(pixels, plan.size)
    missing = [max(0, side - own) for side, own in zip(plan.window, plan.size, strict=True)]
    if any(missing):
        padding = (0, missing[1], 0, missing[0])
        # torch repeats borders of floating-point images only; zeros would be an edge that training never showed
        shown = functional.pad(shown.float(), padding, mode="replicate").to(torch.uint8)
    if tuple(shown.shape[2:]) == plan.window:
        averaged = outputs(shown).float().cpu()
    else:
        averaged = torch.stack([_average_windows(outputs, image, plan, batch_size) for image in shown])
    averaged = averaged[:, :, : plan.size[0], : plan.size[1]]
    if plan.size == (height, width):
        return averaged
    return functional.interpolate(averaged, size=(height, width), mode="bilinear", align_corners=False)


def _average_windows(
    outputs: Callable[[Tensor], Tensor],
    image: UInt8[Tensor, "channels height width"],
    plan: WindowPlan,
    batch_size: int,
) -> Float[Tensor, "outputs height width"]:
    """Return the outputs of an image, averaged over the windows that see a pixel."""
    rows, columns = plan.window
    places = list(_place_windows((int(image.shape[1]), int(image.shape[2])), plan))
    summed, times = torch.zeros(0), torch.zeros(image.shape[1:])
    for first in range(0, len(places), batch_size):
        chunk = places[first : first + batch_size]
        windows = torch.stack([image[:, top : top + rows, left : left + columns] for top, left in chunk])
        found = outputs(windows).float().cpu()
        if not summed.numel():
            summed = torch.zeros(found.shape[1], *image.shape[1:])
        for (top, left), values in zip(chunk, found, strict=True):
            summed[:, top : top + rows, left : left + columns] += values
            times[top : top + rows, left : left + columns] += 1
    return summed / times


def _place_windows(size: tuple[int, int], plan: WindowPlan) -> Iterator[tuple[int, int]]:
    """Yield the upper left corners of windows that cover an image; the last of a row ends at the edge."""
    tops, lefts = (_place_along(length, side, plan.overlap) for length, side in zip(size, plan.window, strict=True))
    for top in tops:
        for left in lefts:
            yield top, left


def _place_along(length: int, side: int, overlap: float) -> list[int]:
    """Return where windows of a side begin, so that they cover a length and share at least a part."""
    step = max(1, int(side * (1 - overlap)))  # an overlap near 1 rounds to no step at all
    return [*range(0, length - side, step), length - side]


def _resize_pixels(
    pixels: UInt8[Tensor, "batch channels height width"], size: tuple[int, int]
) -> UInt8[Tensor, "batch channels rows columns"]:
    """Return images of another size, bilinear and antialiased as images are resized for training."""
    if tuple(pixels.shape[2:]) == size:
        return pixels
    resized = functional.interpolate(pixels.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8)
