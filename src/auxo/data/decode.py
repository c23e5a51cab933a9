"""Encoded images to pixels: any 8-bit image becomes a uint8 tensor of three channels."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from auxo.errors import DataError

MIN_PIXELS = 8
"""The shortest side, in pixels, that an image may have."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "JPEG2000", "PPM", "TIFF")
"""The formats that are read, by Pillow's names; none of them makes Pillow start another program."""

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
# What Pillow's decoders raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def read_bytes(path: str) -> bytes:
    """Return a file's bytes.

    Raises:
        DataError: it is missing, or not readable.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            "a file that can be read", f"{path} ({error.strerror})", "check the path and its rights"
        ) from error


def decode_image(content: bytes, *, where: str, image_size: int | None) -> UInt8[Tensor, "3 height width"]:
    """Return the pixels of an encoded image, turned as its EXIF orientation says.

    Grey is repeated over three channels; transparency is dropped.

    Args:
        content: an encoded image in one of ``FORMATS``; the first of several frames counts.
        where: the file or row it came from, for messages.
        image_size: side in pixels of the square it is resized (short side, antialiased) and centre-cropped to;
            ``None`` keeps its size.

    Raises:
        DataError: not an image, damaged, empty, smaller than ``MIN_PIXELS``, implausibly large, or of more than
            8 bits per channel.
    """
    Image.init()  # a format can be opened once its plugin is loaded; returns at once after the first call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                _check_header(opened, where)
                if image_size is not None:
                    opened.draft(opened.mode, (2 * image_size, 2 * image_size))
                opened.load()
                image = _to_rgb(opened)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError("an image of plausible size", f"{error} ({where})", "shrink or remove it") from error
        except UnidentifiedImageError as error:
            got = f"{len(content)} bytes of something else in {where}"
            raise DataError(f"an image ({', '.join(FORMATS)})", got, "remove or convert it") from error
        except _DAMAGE as error:
            got = f"a damaged one in {where} ({_first_line(error)})"
            raise DataError("a whole image", got, "remove or replace the file") from error
    if image_size is not None:
        image = ImageOps.fit(image, (image_size, image_size), method=Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _check_header(image: Image.Image, where: str) -> None:
    """Refuse an image by its header, and float images also by their pixels."""
    if min(image.size) < MIN_PIXELS:
        got = f"{image.width}x{image.height} in {where}"
        raise DataError(f"an image of at least {MIN_PIXELS}x{MIN_PIXELS} pixels", got, "remove or enlarge it")
    if image.mode in _MODES:
        return
    got = f"mode {image.mode} in {where}"
    if image.mode == "F" and np.isnan(np.asarray(image)).any():
        got = f"NaN pixels in {where}"
    raise DataError(f"an 8-bit image (modes {', '.join(_MODES)})", got, "convert it to 8 bits per channel")


def _to_rgb(image: Image.Image) -> Image.Image:
    """Turn a loaded image upright and convert it to RGB."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name."""
    return next(iter(str(error).splitlines()), type(error).__name__)
