"""Generated scenes of textured regions: colours tell the classes of one image apart, and nothing across images."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.random import named_generator

TEXTURES = ("vertical", "horizontal", "rising", "falling", "wide", "checks")
"""The classes: five gratings and a chequered texture."""

SIDE = 64
"""Pixels of a side of a scene, unless another number is asked for."""

_WAVES = ((1.6, 0.0), (0.0, 1.6), (1.1, 1.1), (1.1, -1.1), (0.6, 0.2), (1.1, 0.0))  # radians per pixel, right and down
_CHECKED = 5
_CELLS = 6
_NOISE = 0.5
_IMAGE_TINT = 0.3
_BLOCK = 50
_LEVELS = 255 / 7  # of brightness 1; seven standard deviations of all that is added fit between black and white
_GREY = 127.5


class Lighting(NamedTuple):
    """How scenes look.

    Args:
        gains: lowest and highest contrast of an image; the texture's standard deviation is 0.7 of it.
        class_tint: standard deviation of the colour that a texture has in an image, another one in each.
        turn: largest angle, in degrees, by which a scene is turned around the axis of the camera.
    """

    gains: tuple[float, float] = (0.5, 1.5)
    class_tint: float = 0.5
    turn: float = 0.0


class Scenes(NamedTuple):
    """Images and what they show.

    Args:
        images: shape ``(n, 3, side, side)``; uint8.
        masks: shape ``(n, side, side)``; uint8 positions in :data:`TEXTURES`.
    """

    images: UInt8[Tensor, "n 3 side side"]
    masks: UInt8[Tensor, "n side side"]


def draw_scenes(count: int, *, seed: int, name: str, side: int = SIDE, lighting: Lighting | None = None) -> Scenes:
    r"""Return scenes of six regions, each of a random one of the six textures.

    The regions of a scene are the Voronoi cells of six random points. With texture ``c``, place ``p`` (pixels, the
    origin in the middle), gain ``g`` of the image and phases, tints and noise drawn anew for each image,

    .. math:: x_k(p) = g \sin(w_c \cdot p + \varphi_c) + t_k + u_{c,k} + 0.5\, \varepsilon_k(p), \qquad k = r, g, b

    where ``t`` is of the image (0.3 times a standard normal) and ``u`` of the image and the texture. Since ``u`` is the
    same all over a texture of an image, pixels of one image are told apart by colour; since it is another in every
    image, nothing but the texture tells what a region is. ``checks`` is the product of two perpendicular gratings times
    the root of two, which makes it as strong.

    Args:
        count: how many; the first ones of a larger number are the same.
        seed: of everything random.
        name: of the set, which has random numbers of its own.
        side: pixels; a larger scene shows more of the same textures.
        lighting: how they look.
    """
    lighting = lighting or Lighting()
    blocks = [
        _draw_block(_draw_numbers(named_generator(seed, "textures", name, str(first)), side), side, lighting)
        for first in range(0, count, _BLOCK)
    ]
    images, masks = (torch.cat(parts)[:count] for parts in zip(*blocks, strict=True))
    return Scenes(images, masks)


class _Numbers(NamedTuple):
    """The random numbers of a block of scenes; all are drawn for every kind of lighting."""

    points: Float[Tensor, "n cells 2"]
    kinds: Int[Tensor, "n cells"]
    phases: Float[Tensor, "n textures 2"]
    gains: Float[Tensor, " n"]
    angles: Float[Tensor, " n"]
    tints: Float[Tensor, "n 3"]
    class_tints: Float[Tensor, "n textures 3"]
    noise: Float[Tensor, "n 3 side side"]


def _draw_numbers(generator: torch.Generator, side: int) -> _Numbers:
    """Draw the numbers of a block."""
    count = len(TEXTURES)
    return _Numbers(
        points=torch.rand(_BLOCK, _CELLS, 2, generator=generator),
        kinds=torch.randint(count, (_BLOCK, _CELLS), generator=generator),
        phases=2 * torch.pi * torch.rand(_BLOCK, count, 2, generator=generator),
        gains=torch.rand(_BLOCK, generator=generator),
        angles=2 * torch.rand(_BLOCK, generator=generator) - 1,
        tints=torch.randn(_BLOCK, 3, generator=generator),
        class_tints=torch.randn(_BLOCK, count, 3, generator=generator),
        noise=torch.randn(_BLOCK, 3, side, side, generator=generator),
    )


def _draw_block(numbers: _Numbers, side: int, lighting: Lighting) -> Scenes:
    """Return the scenes of a block of random numbers."""
    axis = torch.arange(side) - (side - 1) / 2
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([right, down], -1)
    centres = (numbers.points - 0.5) * side
    nearest = (places - centres[:, :, None, None]).square().sum(-1).argmin(1)
    masks = numbers.kinds.gather(1, nearest.flatten(1)).view_as(nearest)
    angles = numbers.angles * lighting.turn * (torch.pi / 180)
    waves = _turn_waves(torch.tensor(_WAVES), angles)
    first = torch.einsum("ncd,hwd->nchw", waves, places) + numbers.phases[:, :, :1, None]
    textures = first.sin()
    second = torch.einsum("nd,hwd->nhw", waves[:, _CHECKED].flip(-1) * torch.tensor([-1, 1]), places)
    textures[:, _CHECKED] *= 2**0.5 * (second + numbers.phases[:, _CHECKED, 1:, None]).sin()
    texture = textures.gather(1, masks.unsqueeze(1))
    low, high = lighting.gains
    gains = (low + (high - low) * numbers.gains).view(-1, 1, 1, 1)
    tint = _IMAGE_TINT * numbers.tints[:, None] + lighting.class_tint * numbers.class_tints
    tinted = tint.gather(1, masks.flatten(1).unsqueeze(-1).expand(-1, -1, 3)).movedim(2, 1)
    brightness = gains * texture + tinted.view(len(masks), 3, side, side) + _NOISE * numbers.noise
    pixels = (_GREY + _LEVELS * brightness).round().clamp(0, 255).to(torch.uint8)
    return Scenes(pixels, masks.to(torch.uint8))


def _turn_waves(waves: Float[Tensor, "textures 2"], angles: Float[Tensor, " n"]) -> Float[Tensor, "n textures 2"]:
    """Return the wave vectors of every image, turned by its angle in radians."""
    cosine, sine = angles.cos(), angles.sin()
    turns = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    return torch.einsum("nij,cj->nci", turns, waves)
