"""A source of encoded images, and of masks if it has some, that are decoded when they are fetched."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import NamedTuple, cast

import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from auxo.data.columns import check_columns, hide_columns, take_columns
from auxo.data.decode import AbstractEncodedImages, ImageSize, as_fit, decode_image
from auxo.data.fitting import ImageFit
from auxo.data.mask_legend import Colour
from auxo.data.masks import EncodedMasks
from auxo.data.sources import ENCODED, AbstractSource, hash_bytes
from auxo.errors import DataError
from auxo.types import Column


class HashedImages(NamedTuple):
    """Decoded images and what they are known by.

    Args:
        images: shape ``(n, channels, height, width)``; uint8.
        hashes: of the encoded bytes of each.
    """

    images: UInt8[Tensor, "n channels height width"]
    hashes: tuple[str, ...]


class StreamingSource(AbstractSource):
    """Encoded images that are decoded when they are fetched.

    Args:
        name: see :class:`AbstractSource`.
        encoded: the images.
        columns: see :class:`AbstractSource`; with a value for each entry of ``rows``.
        maps: targets with places by name: masks of the rows of ``encoded``.
        image_size: what images and their masks are resized and cropped to; ``None`` requires them to be of one size.
        rows: shape ``(n,)``; int64 rows of ``encoded`` that belong to this source; ``None`` means all, in order.

    Raises:
        DataError: there is no image, the first one cannot be decoded, or a value of a column is out of range.
    """

    def __init__(
        self,
        name: str,
        encoded: AbstractEncodedImages,
        columns: Mapping[str, Column] | None = None,
        *,
        maps: Mapping[str, EncodedMasks] | None = None,
        image_size: ImageSize = None,
        rows: Int[Tensor, " n"] | None = None,
    ) -> None:
        self.name = name
        self.encoded = encoded
        self.columns = dict(columns or {})
        self.maps = dict(maps or {})
        self.colours = _collect_colours(self.maps)
        self.fit = as_fit(image_size)
        self.rows = torch.arange(len(encoded)) if rows is None else rows
        check_columns(self.columns, self.describe, source=name, num_images=len(self.rows))
        if not len(self.rows):
            raise DataError("at least one image", f"none in '{name}'", "check the path and the split")
        row = int(self.rows[0])
        first = self._decode_row(row, self.encoded.read(row))
        self.image_shape = (int(first.shape[0]), int(first.shape[1]), int(first.shape[2]))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """See :attr:`AbstractSource.vocabulary`."""
        return {**super().vocabulary, **{name: masks.names for name, masks in self.maps.items()}}

    @property
    def places(self) -> dict[str, int]:
        """See :attr:`AbstractSource.places`."""
        return {name: masks.ignore for name, masks in self.maps.items()}

    def fetch_targets(self, indices: Int[Tensor, " n"]) -> dict[str, Shaped[Tensor, "n ..."]]:
        """See :meth:`AbstractSource.fetch_targets`; masks are read and decoded one after another.

        Raises:
            DataError: a mask cannot be used; the message names it.
        """
        return {
            **super().fetch_targets(indices),
            **{name: self._fetch_masks(masks, self.rows[indices].tolist()) for name, masks in self.maps.items()},
        }

    def fetch(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n channels height width"]:
        """See :meth:`AbstractSource.fetch`; images are read and decoded one after another."""
        return self._fetch_images(indices, hashes=None)

    def fetch_hashed(self, indices: Int[Tensor, " n"]) -> HashedImages:
        """Return what :meth:`fetch` and :meth:`content_hashes` do of some images, which are read once for both."""
        hashes: list[str] = []
        return HashedImages(self._fetch_images(indices, hashes=hashes), tuple(hashes))

    @property
    def hash_kind(self) -> str:
        """See :attr:`AbstractSource.hash_kind`."""
        return ENCODED

    def _hash_contents(self) -> list[str]:
        """Return one hash of the encoded bytes per image.

        They are read anew at every start, and kept in no file: benchmarks/content_hashes.py shows that this takes a
        small part of the first epoch, and a cache by path, size and times would be one more that can be wrong.
        """
        return [hash_bytes(self.encoded.read(row)) for row in self.rows.tolist()]

    def describe(self, index: int) -> str:
        """See :meth:`AbstractSource.describe`."""
        return self.encoded.describe(int(self.rows[index]))

    def subset(self, indices: Int[Tensor, " n"], name: str) -> "StreamingSource":
        """See :meth:`AbstractSource.subset`."""
        columns = take_columns(self.columns, indices)
        part = StreamingSource(
            name, self.encoded, columns, maps=self.maps, image_size=self.fit, rows=self.rows[indices]
        )
        part.copy_description(self)
        known = self.take_hashes(indices)
        part._hashes = None if known is None else known.values
        return part

    def with_maps(self, maps: Mapping[str, EncodedMasks]) -> "StreamingSource":
        """Return the same images with these targets with places instead of the source's own."""
        other = copy(self)
        other.maps, other._counts = dict(maps), {}
        other.colours = _collect_colours(maps)
        return other

    def with_fit(self, fit: ImageFit) -> "StreamingSource":
        """Return the same images and masks, brought to a size."""
        other = copy(self)
        other.fit, other._counts = fit, {}
        other.image_shape = (self.image_shape[0], fit.height, fit.width)
        return other

    def duplicate_targets(self, names: Mapping[str, str]) -> "StreamingSource":
        """See :meth:`AbstractSource.duplicate_targets`."""
        other = cast("StreamingSource", super().duplicate_targets(names))
        return other.with_maps(self.maps | {new: self.maps[name] for name, new in names.items() if name in self.maps})

    def without_targets(self, names: Collection[str], name: str) -> "StreamingSource":
        """See :meth:`AbstractSource.without_targets`."""
        columns = hide_columns(self.columns, set(names) - set(self.maps), len(self))
        other = cast("StreamingSource", self.subset(torch.arange(len(self)), name).with_columns(columns))
        return other.with_maps({key: masks.hide() if key in names else masks for key, masks in self.maps.items()})

    def _fetch_images(
        self, indices: Int[Tensor, " n"], *, hashes: list[str] | None
    ) -> UInt8[Tensor, "n channels height width"]:
        """Return the images at ``indices``, and append the hash of each to a list, if there is one."""
        images = torch.empty((len(indices), *self.image_shape), dtype=torch.uint8)
        for place, index in enumerate(indices.tolist()):
            row = int(self.rows[index])
            content = self.encoded.read(row)
            image = self._decode_row(row, content)
            self._require_size(image.shape, row)
            images[place] = image
            if hashes is not None:
                hashes.append(hash_bytes(content))
        return images

    def _decode_row(self, row: int, content: bytes) -> UInt8[Tensor, "channels height width"]:
        """Decode the bytes of one row."""
        where = self.encoded.describe(row)
        return decode_image(content, where=where, image_size=self.fit, is_exact=bool(self.maps))

    def _fetch_masks(self, masks: EncodedMasks, rows: list[int]) -> UInt8[Tensor, "n height width"]:
        """Read and decode the masks of some rows."""
        shape = (len(rows), *self.image_shape[1:])
        values = torch.full(shape, masks.ignore, dtype=torch.uint8)
        for place, row in enumerate(rows if masks.names else ()):
            mask = masks.decode(row, image_size=self.fit)
            self._require_size(mask.shape, row)
            values[place] = mask
        return values

    def _require_size(self, shape: torch.Size, row: int) -> None:
        """Refuse an image that is not of the size of the first, or the mask of such an image."""
        if shape[-2:] != self.image_shape[1:]:
            got = (
                f"{_describe_size(self.image_shape)} in {self.describe(0)} and {_describe_size(shape)} in "
                f"{self.encoded.describe(row)}"
            )
            raise DataError("images of one size", got, "pass --data.image-size N to resize them all")


def _collect_colours(maps: Mapping[str, EncodedMasks]) -> dict[str, tuple[Colour, ...]]:
    """Return the colours of the classes of targets, of those whose colours are known."""
    known = {name: masks.legend.colours for name, masks in maps.items() if masks.legend is not None}
    return {name: colours for name, colours in known.items() if colours}


def _describe_size(shape: Sequence[int]) -> str:
    """Return ``width x height`` of an image shape."""
    return f"{shape[-1]}x{shape[-2]}"
