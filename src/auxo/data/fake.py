"""A small made-up set of upright shapes, for tests and examples: deterministic, and its rotation can be seen."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auxo.data.sources import InMemorySource
from auxo.random import named_generator
from auxo.types import LABEL, Column

SHAPES = ("arrow", "corner", "tee", "wedge")
"""The classes: what the numbers of ``label`` stand for."""


def oriented_shapes(num_images: int, *, size: int = 32, seed: int) -> InMemorySource:
    """Return bright upright shapes on coloured noise, each a little displaced and of its own size and colour.

    No shape looks the same after a quarter or half turn, nor like another shape turned.

    Args:
        num_images: how many; the classes alternate, so they are as equally frequent as they can be.
        size: side in pixels, >= 8.
        seed: of everything random in them.

    Example:
        >>> oriented_shapes(8, seed=0).columns["label"].values
        tensor([0, 1, 2, 3, 0, 1, 2, 3])
    """
    generator = named_generator(seed, "oriented_shapes")
    shapes = torch.arange(num_images) % len(SHAPES)
    noise = torch.rand(num_images, 3, size, size, generator=generator)
    darkness = 0.2 + 0.4 * torch.rand(num_images, 3, 1, 1, generator=generator)
    colour = 0.75 + 0.25 * torch.rand(num_images, 3, 1, 1, generator=generator)
    shift = 0.2 * torch.rand(2, num_images, 1, 1, generator=generator) - 0.1
    scale = 0.75 + 0.15 * torch.rand(num_images, 1, 1, generator=generator)
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    right = (axis.view(1, 1, -1) - shift[0]) / scale
    down = (axis.view(1, -1, 1) - shift[1]) / scale
    is_shape = _draw_shapes(right, down).gather(0, shapes.view(1, -1, 1, 1).expand(1, -1, size, size))[0].unsqueeze(1)
    images = torch.where(is_shape, colour, noise * darkness)
    pixels = (images * 255).round().to(torch.uint8)
    return InMemorySource("oriented-shapes", pixels, {LABEL: Column(shapes, SHAPES)})


def _draw_shapes(
    right: Float[Tensor, "n 1 width"], down: Float[Tensor, "n height 1"]
) -> Bool[Tensor, "shapes n height width"]:
    """Return for every shape which points of the square [-1, 1] x [-1, 1] belong to it."""
    middle = right.abs()
    arrow = ((middle < 0.2) & (down.abs() < 0.85)) | ((down > -0.85) & (down < 0) & (middle < 0.85 * (down + 0.85)))
    upright = (right > -0.7) & (right < -0.3) & (down.abs() < 0.85)
    corner = upright | ((right > -0.7) & (right < 0.7) & (down > 0.45) & (down < 0.85))
    tee = ((middle < 0.2) & (down.abs() < 0.85)) | ((middle < 0.8) & (down > -0.85) & (down < -0.45))
    wedge = (right > -0.75) & (down < 0.75) & (down > right)
    return torch.stack(torch.broadcast_tensors(arrow, corner, tee, wedge))
