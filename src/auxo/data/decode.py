"""Encoded images to pixels: any 8-bit image becomes a uint8 tensor of three channels."""

import io
import os
import stat
import struct
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from auxo.data.fitting import ImageFit
from auxo.errors import DataError

MIN_PIXELS = 8
"""The shortest side, in pixels, that an image may have."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "JPEG2000", "PPM", "TIFF")
"""The formats that are read, by Pillow's names; none of them makes Pillow start another program."""

ORIENTATION = 0x0112
"""The number of the EXIF field that says how an image lies in its file."""

UPRIGHT = 1
"""The EXIF orientation of an image that lies in its file as it is shown."""

_MOST_BYTES = 2**30
_JPEG2000_START = b"\xff\x4f\xff\x51"
_BITS_PER_SAMPLE = 258
_FEW_BITS = 8  # of a channel
_SIDEWAYS = (5, 6, 7, 8)
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

ImageSize: TypeAlias = int | tuple[int, int] | ImageFit | None
"""Pixels that images are brought to: the side of a square, or height and width, or also how; ``None`` keeps theirs."""


class AbstractEncodedImages(ABC):
    """Encoded images by row; must survive pickling, because data-loading workers read it."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def read(self, row: int) -> bytes:
        """Return the encoded bytes of a row.

        Raises:
            DataError: they cannot be read; the message names the file or row.
        """

    @abstractmethod
    def describe(self, row: int) -> str:
        """Return the file or row, for messages."""


def read_bytes(path: str) -> bytes:
    """Return a file's bytes.

    Raises:
        DataError: it is missing, not readable, no regular file, or too large for an image.
    """
    try:
        known = os.stat(path)
        is_file = stat.S_ISREG(known.st_mode)
        if not is_file or known.st_size > _MOST_BYTES:  # a pipe would wait, a device never end
            got = f"one of {known.st_size:,} bytes" if is_file else "a device, pipe or folder"
            raise DataError(f"a file of at most {_MOST_BYTES:,} bytes", f"{got} at {path}", "remove it")
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            "a file that can be read", f"{path} ({error.strerror})", "check the path and its rights"
        ) from error


def decode_image(
    content: bytes, *, where: str, image_size: ImageSize, is_exact: bool = False
) -> UInt8[Tensor, "3 height width"]:
    """Return the pixels of an encoded image, turned as its EXIF orientation says.

    Grey is repeated over three channels; transparency is dropped.

    Args:
        content: an encoded image in one of ``FORMATS``; the first of several frames counts.
        where: the file or row it came from, for messages.
        image_size: side in pixels of the square, or height and width, it is resized (antialiased) and centre-cropped
            to, or another :class:`auxo.data.fitting.ImageFit`; ``None`` keeps its size.
        is_exact: crop at the pixel, as a mask of the image is cropped; else a JPEG that is much too large is read at a
            part of its size, which is faster and may move it by less than a pixel.

    Raises:
        DataError: not an image, damaged, empty, smaller than ``MIN_PIXELS``, implausibly large, or of more than
            8 bits per channel.
    """
    with open_encoded(content, where=where) as opened:
        _check_header(opened, content, where)
        fit = as_fit(image_size)
        if fit is not None and not is_exact:
            opened.draft(opened.mode, (2 * fit.width, 2 * fit.height))
        opened.load()
        image = _to_rgb(opened)
    if fit is not None:
        image = fit.apply(image, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@contextmanager
def open_encoded(
    content: bytes, *, where: str, what: str = "image", formats: Sequence[str] = FORMATS, lossy: Sequence[str] = ()
) -> Iterator[Image.Image]:
    """Open encoded pixels, and tell in one line what is wrong with them, also where they are read within the block.

    Args:
        content: the encoded bytes.
        where: the file or row they came from, for messages.
        what: "image" or "mask", for messages.
        formats: that are read, by Pillow's names.
        lossy: further formats that are opened, to be refused by name; messages do not offer them.

    Raises:
        DataError: none of the formats, damaged, or implausibly large.
    """
    article = "an" if what == "image" else "a"
    Image.init()  # a format can be opened once its plugin is loaded; returns at once after the first call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content), formats=(*formats, *lossy)) as opened:
                yield opened
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError(
                f"{article} {what} of plausible size", f"{error} ({where})", "shrink or remove it"
            ) from error
        except UnidentifiedImageError as error:
            got = f"{len(content)} bytes of something else in {where}"
            raise DataError(f"{article} {what} ({', '.join(formats)})", got, "remove or convert it") from error
        except _DAMAGE as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            got = f"a damaged one in {where} ({reason})"
            raise DataError(f"a whole {what}", got, "remove or replace the file") from error


def as_fit(image_size: ImageSize) -> ImageFit | None:
    """Return how images are brought to a size; a side or height and width alone crop."""
    if image_size is None or isinstance(image_size, ImageFit):
        return image_size
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return ImageFit(height, width)


class StoredSize(NamedTuple):
    """How an image lies in its file.

    Args:
        width: pixels, as stored.
        height: pixels, as stored.
        orientation: the EXIF number; 1 is upright.
    """

    width: int
    height: int
    orientation: int

    @property
    def turned(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        return (self.height, self.width) if self.orientation in _SIDEWAYS else (self.width, self.height)


def read_stored_size(content: bytes, where: str) -> StoredSize:
    """Return how an image lies in its file, by its header alone.

    Raises:
        DataError: not an image, or damaged.
    """
    with open_encoded(content, where=where) as opened:
        return describe_size(opened)


def describe_size(opened: Image.Image) -> StoredSize:
    """Return how an open image lies in its file."""
    orientation = opened.getexif().get(ORIENTATION, UPRIGHT)
    return StoredSize(*opened.size, orientation if orientation in range(1, 9) else UPRIGHT)


def has_deep_channels(image: Image.Image, content: bytes) -> bool:
    """Whether an image has more than 8 bits per channel, also where Pillow gives the upper 8 of them without a word.

    Args:
        image: opened and not loaded, in one of ``FORMATS``.
        content: the encoded bytes.
    """
    if image.format == "JPEG2000":
        size = content.find(_JPEG2000_START)  # ISO/IEC 15444-1, A.5.1: the number of channels, three bytes for each
        count = int.from_bytes(content[size + 40 : size + 42], "big")
        return any((bits & 0x7F) + 1 > _FEW_BITS for bits in content[size + 42 : size + 42 + 3 * count : 3])
    if image.format == "TIFF":
        bits: tuple[int, ...] = vars(image)["tag_v2"].get(_BITS_PER_SAMPLE, (1,))
        return max(bits) > _FEW_BITS
    decoders = [tile[3] for tile in vars(image).get("tile", ())]
    if image.format == "PNG":  # what a tile is decoded by is called as "RGB;16B"
        return any(";16" in str(each) for each in decoders)
    if image.format == "PPM":  # and here is ("RGB", largest value), or as in PNG
        return any(each[-1] >= 2**_FEW_BITS if isinstance(each, tuple) else ";16" in str(each) for each in decoders)
    return False


def _check_header(image: Image.Image, content: bytes, where: str) -> None:
    """Refuse an image by its header, and float images also by their pixels."""
    if min(image.size) < MIN_PIXELS:
        got = f"{image.width}x{image.height} in {where}"
        raise DataError(f"an image of at least {MIN_PIXELS}x{MIN_PIXELS} pixels", got, "remove or enlarge it")
    got = f"mode {image.mode} in {where}"
    if image.mode in _MODES:
        if not has_deep_channels(image, content):
            return
        got = f"more than 8 bits per channel in {where}"
    if image.mode == "F" and np.isnan(np.asarray(image)).any():
        got = f"NaN pixels in {where}"
    raise DataError(f"an 8-bit image (modes {', '.join(_MODES)})", got, "convert it to 8 bits per channel")


def _to_rgb(image: Image.Image) -> Image.Image:
    """Turn a loaded image upright and convert it to RGB."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
