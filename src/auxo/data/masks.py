"""Mask files: one class for every pixel of an image, from palette, index or RGB masks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from auxo.data.decode import (
    ORIENTATION,
    UPRIGHT,
    AbstractEncodedImages,
    ImageSize,
    StoredSize,
    as_fit,
    describe_size,
    has_deep_channels,
    open_encoded,
    read_stored_size,
)
from auxo.data.mask_legend import MOST_CLASSES, MaskEntry, MaskLegend
from auxo.errors import DataError
from auxo.losses import IGNORE

MASK_FORMATS = ("PNG", "BMP", "GIF", "PPM", "TIFF")
"""The formats of masks, by Pillow's names: all of them keep every value."""

_LOSSY = ("JPEG", "JPEG2000", "WEBP")
_INDEX_MODES = ("1", "L", "LA", "P", "I", "I;16", "I;16L", "I;16B")
_COLOUR_MODES = ("RGB", "RGBA")


@final
class EncodedMasks:
    """Masks in files or rows, one for every image of a set, that are decoded when they are read.

    Args:
        images: the images that they belong to, row for row.
        masks: the masks; ``None`` where they are hidden.
        legend: what their values stand for; ``None`` where they are hidden.
    """

    def __init__(
        self, images: AbstractEncodedImages, masks: AbstractEncodedImages | None, legend: MaskLegend | None
    ) -> None:
        self.images, self.masks, self.legend = images, masks, legend
        self._sizes: dict[int, StoredSize] = {}  # read once, not in every epoch

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers stand for; empty where the masks are hidden."""
        return () if self.legend is None else self.legend.names

    @property
    def ignore(self) -> int:
        """The value of places that say nothing."""
        return IGNORE

    def hide(self) -> "EncodedMasks":
        """Return masks that say nothing."""
        return EncodedMasks(self.images, None, None)

    def decode(self, row: int, *, image_size: ImageSize) -> UInt8[Tensor, "height width"]:
        """Return the mask of a row, brought to the size of its image, which may not be hidden.

        Args:
            row: of the image and of its mask.
            image_size: as for :func:`auxo.data.decode.decode_image`; values are those of the nearest pixel.

        Raises:
            DataError: it cannot be read, is of another size than its image, or has a value that stands for nothing.
        """
        if self.masks is None or self.legend is None:
            raise ValueError("hidden masks have no values")
        where = self.masks.describe(row)
        with _open_mask(self.masks.read(row), where) as opened:
            values = _number_values(opened, self.legend, where)
            stored = describe_size(opened)
        image = self._sizes.get(row)
        if image is None:
            image = read_stored_size(self.images.read(row), self.images.describe(row))
            self._sizes[row] = image
        mask = _turn_mask(Image.fromarray(values), stored, image, where=where, image=self.images.describe(row))
        if (fit := as_fit(image_size)) is not None:
            mask = fit.apply(mask, Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(mask))


def find_indices(
    masks: AbstractEncodedImages, *, rows: list[int], ignore_index: int | None, source: str
) -> list[MaskEntry]:
    """Return the numbers that masks have, as classes that are called by them.

    Cost: every mask is decoded once.

    Args:
        masks: of the training images.
        rows: which of them count.
        ignore_index: what is no class.
        source: name of the set, for messages.

    Raises:
        DataError: a mask cannot be read or has colours, or there are too few or too many numbers.
    """
    found: set[int] = set()
    for row in rows:
        where = masks.describe(row)
        with _open_mask(masks.read(row), where) as opened:
            found.update(np.unique(_read_indices(opened, where)).tolist())
        if len(found) > MOST_CLASSES + 1:
            fix = "say with --data.classes what the values stand for; photographs are no masks"
            raise DataError(f"at most {MOST_CLASSES} values in masks", f"more in '{source}' up to {where}", fix)
    found -= {ignore_index}
    if len(found) < 2:
        ignored = "" if ignore_index is None else f" beside the ignored {ignore_index}"
        fix = "check the masks, or pass --data.ignore-index None if no value says nothing"
        got = f"{', '.join(map(str, sorted(found))) or 'none'}{ignored} in '{source}'"
        raise DataError("at least two values in the training masks", got, fix)
    return [MaskEntry(str(index), index) for index in sorted(found)]


def _number_values(opened: Image.Image, legend: MaskLegend, where: str) -> UInt8[np.ndarray, "height width"]:
    """Return the class of every pixel of a mask as it is stored."""
    is_colour = opened.mode in _COLOUR_MODES
    if is_colour and not legend.colour_numbers:
        got = f"one in RGB: {where}"
        fix = "give the classes colours by a classes.csv (name, colour) or --data.classes, or save it with indices"
        raise DataError("masks of indices, or a colour for every class", got, fix)
    if is_colour or not legend.numbers:
        return legend.number_colours(np.array(opened.convert("RGB")), where=where)
    return legend.number_indices(_read_indices(opened, where), where=where)


def _read_indices(opened: Image.Image, where: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    """Return the numbers of a mask of numbers."""
    if opened.mode not in _INDEX_MODES:
        got = f"one of mode {opened.mode}: {where}"
        fix = "give the classes colours by a classes.csv (name, colour) or --data.classes, or save it with indices"
        raise DataError("masks of indices, or a colour for every class", got, fix)
    return np.array(opened.getchannel("L") if opened.mode == "LA" else opened)


@contextmanager
def _open_mask(content: bytes, where: str) -> Iterator[Image.Image]:
    """Open and read a mask, and tell in one line what is wrong with it."""
    with open_encoded(content, where=where, what="mask", formats=MASK_FORMATS, lossy=_LOSSY) as opened:
        if opened.format not in MASK_FORMATS:
            got, fix = f"{opened.format} in {where}", "save it anew from the original, as PNG"
            raise DataError("a mask in a format that keeps every value", got, fix)
        if opened.mode not in (*_INDEX_MODES, *_COLOUR_MODES):
            raise DataError("a mask of whole numbers or RGB", f"mode {opened.mode} in {where}", "convert it")
        if opened.mode in _COLOUR_MODES and has_deep_channels(opened, content):
            fix = "save it with 8 bits per channel, or with indices"
            raise DataError("a mask of colours of 8 bits per channel", f"more in {where}", fix)
        opened.load()
        yield opened


def _turn_mask(mask: Image.Image, stored: StoredSize, size: StoredSize, *, where: str, image: str) -> Image.Image:
    """Return a mask as its upright image lies, or refuse one that is not of its size or may lie in two ways."""
    if stored.orientation != UPRIGHT:
        transposed = stored.orientation  # the mask says itself how it lies
    elif size.orientation == UPRIGHT or stored[:2] == size.turned != size[:2]:
        transposed = UPRIGHT  # the mask was made of the image as it is shown
    elif stored[:2] == size[:2] != size.turned:
        transposed = size.orientation  # of the image as it is stored
    elif stored[:2] == size[:2]:
        got = f"the EXIF orientation {size.orientation} of {image} alone"
        fix = "turn the pixels of the image and remove the orientation, or give the mask the same one"
        raise DataError(f"an image that lies as its mask {where} does", got, fix)
    else:
        transposed = UPRIGHT  # of neither size, and refused below
    mask = _apply_orientation(mask, transposed)
    if mask.size != size.turned:
        got = f"{stored.width}x{stored.height} in {where} for {size.turned[0]}x{size.turned[1]} in {image}"
        raise DataError("a mask of the size of its image", got, "make both of one size; masks with nearest values")
    return mask


def _apply_orientation(mask: Image.Image, orientation: int) -> Image.Image:
    """Return a mask turned as an EXIF orientation says."""
    if orientation == UPRIGHT:
        return mask
    mask.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(mask)
