"""Small images as data URIs: one by one, many in one, and under a map of attention."""

import base64
import io
from math import ceil, sqrt

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from auxo.explain import Attention
from auxo.reporting.blocks import Sprite

_SPRITE_SIDE = 32  # pixels of an image among many
_LARGEST_SIDE = 96  # pixels of a single image
_QUALITY = 82
_OPACITY = 0.6


def sprite_of(images: UInt8[Tensor, "n channels height width"]) -> Sprite:
    """Return many images in one, row by row, each at most 32 pixels high and wide.

    Args:
        images: shape ``(n, channels, height, width)``; uint8; one channel or three.
    """
    small = _shrink_images(images, _SPRITE_SIDE)
    count, _, height, width = small.shape
    columns = ceil(sqrt(count))
    rows = ceil(count / columns)
    padded = torch.zeros((columns * rows, 3, height, width), dtype=torch.uint8)
    padded[:count] = small
    sheet = padded.view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2).reshape(rows * height, -1, 3)
    return Sprite(_encode_uri(sheet.numpy()), columns, rows)


def image_uri(pixels: UInt8[np.ndarray, "channels height width"], *, side: int = _LARGEST_SIDE) -> str:
    """Return an image, at most so many pixels high and wide."""
    return _encode_uri(_move_colours_last(pixels, side))


def heat_uri(values: Float[np.ndarray, "height width"], *, side: int = _LARGEST_SIDE) -> str:
    """Return values in [0, 1] as an image from black to yellow, at most so many pixels high and wide."""
    from matplotlib import colormaps

    colours = np.rint(255 * colormaps["inferno"](values)[..., :3]).astype(np.uint8)
    return image_uri(np.moveaxis(colours, -1, 0), side=side)


def covered_uri(shown: Attention) -> str:
    """Return an image in grey under its map: from black, no evidence, to yellow, the most in this image.

    Outside the part that the map covers the image stays grey.
    """
    from matplotlib import colormaps

    grey = shown.pixels.mean(axis=0, keepdims=True).repeat(3, axis=0)
    colours = np.moveaxis(255 * colormaps["inferno"](shown.attention)[..., :3], -1, 0)
    height, width = shown.attention.shape
    rows, columns = shown.covered or (height, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = (slice(None), slice(top, top + rows), slice(left, left + columns))
    grey[part] = (1 - _OPACITY) * grey[part] + _OPACITY * colours[part]
    return image_uri(grey.round().astype(np.uint8))


def _move_colours_last(
    pixels: UInt8[np.ndarray, "channels height width"], side: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Return one image with the colours last."""
    small = _shrink_images(torch.from_numpy(pixels)[None], side)[0]
    shown: UInt8[np.ndarray, "height width 3"] = small.permute(1, 2, 0).numpy()
    return shown


def _shrink_images(images: UInt8[Tensor, "n channels height width"], side: int) -> UInt8[Tensor, "n 3 rows columns"]:
    """Return images with three channels and no side longer than asked for."""
    coloured = images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)
    height, width = coloured.shape[2:]
    scale = side / max(height, width)
    if scale >= 1:
        return coloured
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small: Float[Tensor, "n 3 rows columns"] = functional.interpolate(
        coloured.float(), size=size, mode="bilinear", antialias=True
    )
    return small.round().clamp(0, 255).to(torch.uint8)


def _encode_uri(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """Return WebP as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="WEBP", quality=_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
