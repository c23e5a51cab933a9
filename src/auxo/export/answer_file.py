"""Answers that are images, as PNG."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from auxo.errors import ConfigError
from auxo.tasks import Answer, blend_images


def encode_answer(image: UInt8[np.ndarray, "height width ..."], palette: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """Return the PNG of an answer's image; with a palette its pixels are both numbers and colours.

    Args:
        image: see :class:`auxo.tasks.Answer`.
        palette: likewise.
    """
    drawn = Image.fromarray(image)
    if palette and image.ndim == 2:
        colours = np.full((256, 3), 255, dtype=np.uint8)  # white for numbers that stand for nothing
        colours[: len(palette)] = palette
        drawn.putpalette(colours.tobytes())
    return _encode_png(drawn)


def encode_overlay(pixels: UInt8[Tensor, "channels height width"], answer: Answer, *, where: str) -> bytes:
    """Return the PNG of an answer's image over the image that it answers, half transparent.

    Args:
        pixels: of that image.
        answer: with an image of its size.
        where: the file of the image, for the message.

    Raises:
        ConfigError: the answer has another size.
    """
    painted, below = answer.paint(), pixels.movedim(0, -1).expand(-1, -1, 3).numpy()
    if painted is None or painted.shape != below.shape:
        got = f"{None if painted is None else painted.shape[:2]} of {below.shape[:2]} for {where}"
        raise ConfigError("answers of the size of their images for --overlays", got, "leave --overlays out")
    return _encode_png(Image.fromarray(blend_images(below, painted)))


def _encode_png(image: Image.Image) -> bytes:
    """Return an image as a PNG."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()
