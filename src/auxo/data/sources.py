"""Sources: images and their targets by position, held in memory or decoded when they are asked for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped, UInt8
from torch import Tensor

from auxo.data.arrays import as_tensor, check_shape, number_values, to_uint8
from auxo.data.columns import check_columns, check_places, hide_columns, take_columns
from auxo.data.fitting import ImageFit
from auxo.errors import DataError
from auxo.types import Column

ENCODED = "encoded bytes"
"""What images are known by where they were decoded from something: whatever holds them, memory or disk."""

# The digests of runs are made of pieces of this size (target_hashes): another one needs another version of them.
_CHUNK = 512


class PlaceMap(NamedTuple):
    """A target with places: a number, or several, for every pixel of every image of a source.

    Args:
        values: shape ``(n, height, width)`` or ``(n, k, height, width)``; on the CPU; of any type that whole numbers or
            quantities have and that holds ``ignore``.
        names: what the numbers stand for; empty where they are quantities or hidden.
        ignore: the value of places that say nothing; of all, where the target is hidden.
    """

    values: Shaped[Tensor, "n ... height width"]
    names: tuple[str, ...] = ()
    ignore: int = -1


class ContentHashes(NamedTuple):
    """What images are known by.

    Args:
        kind: see :attr:`AbstractSource.hash_kind`.
        values: one for every image; equal where they are of the same.
    """

    kind: str
    values: tuple[str, ...]


class AbstractSource(ABC):
    """Images and what is known of them, reachable by position.

    Attributes:
        name: what tables and messages call this set.
        columns: one number per image by name: targets without places, and further columns of the data.
        image_shape: ``(channels, height, width)`` of every image.
        notes: what a person should know of the set, such as how many images were left out of it, a sentence each.
        colours: by target with places, the colour that each of its classes is shown in, red, green and blue of 0..255;
            only of targets that have some.
        blocks: the column whose equal values are of images that depend on each other, such as the frames of one video:
            intervals then draw whole blocks. "" where all images are independent.
        fit: how images were brought to one size; ``None`` where they had it.
    """

    name: str
    columns: Mapping[str, Column]
    image_shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()
    colours: Mapping[str, tuple[tuple[int, int, int], ...]] = MappingProxyType({})
    blocks: str = ""
    fit: ImageFit | None = None
    _hashes: tuple[str, ...] | None = None
    _counts: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """What the numbers of each target stand for, by its name: those of columns here, in a subclass also of maps."""
        return {name: column.names for name, column in self.columns.items()}

    @property
    def places(self) -> dict[str, int]:
        """The targets that have places, each with its value to ignore: none here, in a subclass its maps."""
        return {}

    def fetch_targets(self, indices: Int[Tensor, " n"]) -> dict[str, Shaped[Tensor, "n ..."]]:
        """Return what is known of the images at ``indices``, by name: columns here, in a subclass also maps."""
        return {name: column.values[indices] for name, column in self.columns.items()}

    @abstractmethod
    def fetch(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n channels height width"]:
        """Return the images at ``indices``, any order, repeats allowed; uint8 on the CPU.

        Raises:
            DataError: an image is damaged or of another size; the message names it.
        """

    def content_hashes(self) -> tuple[str, ...]:
        """Return one hash per image, equal for equal content; computed at the first call only.

        They compare only between sources of one :attr:`hash_kind`; see :func:`comparable_hashes`.
        """
        if self._hashes is None:
            self._hashes = tuple(self._hash_contents())
        return self._hashes

    @property
    def hash_kind(self) -> str:
        """What :meth:`content_hashes` are of: here what the class alone knows, :data:`ENCODED`, or pixels."""
        return type(self).__qualname__

    def count_places(self, name: str) -> tuple[int, ...]:
        """Return how many places of all images are of each class of a target with places; those to ignore are not told.

        Cost: the targets are read once; later calls know the answer.

        Args:
            name: of the target, whose numbers stand for something.
        """
        if name not in self._counts:
            totals = sum(part.sum(0) for part in self._count_each(name))
            self._counts = {**self._counts, name: tuple(torch.as_tensor(totals).tolist())}
        return self._counts[name]

    def find_places(self, name: str) -> Bool[Tensor, "n classes"]:
        """Return which classes of a target with places have one in each image; see :meth:`count_places`."""
        return torch.cat([part > 0 for part in self._count_each(name)])

    def _count_each(self, name: str) -> Iterator[Int[Tensor, "chunk classes"]]:
        """Yield the places of each class in each image, for a few hundred images at a time."""
        count, ignore = len(self.vocabulary[name]), self.places[name]
        for chunk in split_positions(len(self)):
            values = self.fetch_targets(chunk)[name].flatten(1).long()
            kept = torch.where(values == ignore, count, values)
            kept += (count + 1) * torch.arange(len(kept)).unsqueeze(1)
            yield kept.flatten().bincount(minlength=len(kept) * (count + 1)).view(len(kept), -1)[:, :count]

    def take_hashes(self, indices: Int[Tensor, " n"]) -> "ContentHashes | None":
        """Return the hashes of the images at ``indices``, or ``None`` where they are not computed yet."""
        known = self._hashes
        return None if known is None else ContentHashes(self.hash_kind, tuple(known[i] for i in indices.tolist()))

    def copy_description(self, other: "AbstractSource") -> None:
        """Take over what is said of another source of the same images, or of more: notes, colours, blocks, the size."""
        self.notes, self.colours, self.blocks, self.fit = other.notes, dict(other.colours), other.blocks, other.fit

    @abstractmethod
    def _hash_contents(self) -> list[str]:
        """Compute :meth:`content_hashes`."""

    @abstractmethod
    def describe(self, index: int) -> str:
        """Return where the image at ``index`` came from, for messages."""

    @abstractmethod
    def subset(self, indices: Int[Tensor, " n"], name: str) -> "AbstractSource":
        """Return the images at ``indices`` as a source of their own called ``name``."""

    @abstractmethod
    def without_targets(self, names: Collection[str], name: str) -> "AbstractSource":
        """Return the same images as a source called ``name`` in which some targets are hidden.

        Args:
            names: of the targets; those that the source does not have are made, and hidden, too.
            name: of the new source.
        """

    def duplicate_targets(self, names: Mapping[str, str]) -> "AbstractSource":
        """Return the same images as a source that has some targets a second time.

        Args:
            names: what the second one is called, by the target's own name; those that there are not are left out.
        """
        columns = {new: self.columns[name] for name, new in names.items() if name in self.columns}
        return self.with_columns({**self.columns, **columns})

    def with_columns(self, columns: Mapping[str, Column]) -> "AbstractSource":
        """Return the same images with these columns instead of the source's own."""
        other = copy(self)
        other.columns = dict(columns)
        check_columns(other.columns, other.describe, source=self.name, num_images=len(self))
        return other


class InMemorySource(AbstractSource):
    """Images in one tensor.

    Args:
        name: see :class:`AbstractSource`.
        images: shape ``(n, channels, height, width)``; uint8 on the CPU.
        columns: see :class:`AbstractSource`.
        maps: targets with places by name.
        origins: where each image came from, for messages; ``None`` means its position in this source.
        notes: see :class:`AbstractSource`.
        hashes: what images were known by where they came from; ``None`` knows them by their pixels.

    Raises:
        DataError: the shapes or types do not fit each other, or a value of a column or a map is out of range.
    """

    def __init__(
        self,
        name: str,
        images: UInt8[Tensor, "n channels height width"],
        columns: Mapping[str, Column] | None = None,
        *,
        maps: Mapping[str, PlaceMap] | None = None,
        origins: Sequence[str] | None = None,
        notes: tuple[str, ...] = (),
        hashes: "ContentHashes | None" = None,
    ) -> None:
        self.name, self.notes = name, notes
        self._hash_kind = "pixels" if hashes is None else hashes.kind
        self._hashes = None if hashes is None else hashes.values
        self.images = images
        self.columns = dict(columns or {})
        self.maps = dict(maps or {})
        self.image_shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
        self._origins = origins
        counts = {key: len(place.values) for key, place in self.maps.items()}
        counts |= {} if origins is None else {"origins": len(origins)}
        counts |= {} if hashes is None else {"hashes": len(hashes.values)}
        check_columns(self.columns, self.describe, source=name, num_images=len(images), others=counts)
        for key, place in self.maps.items():
            check_places(key, place.values, len(place.names), place.ignore, self.image_shape, self.describe)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        images: "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | Tensor",
        columns: "Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]] | Sequence[int] | Tensor]",
        vocabulary: Mapping[str, Sequence[str]],
    ) -> "InMemorySource":
        """Return a source of the user's own arrays or tensors.

        Args:
            name: see :class:`AbstractSource`.
            images: shape ``(n, channels, height, width)`` or, for grey images, ``(n, height, width)``; uint8 0..255
                or float in [0, 1], which is rounded to the nearest of 256 levels. One channel is repeated to three.
            columns: integers by the name of their column, such as ``label``; shape ``(n,)``.
            vocabulary: what the numbers ``0, 1, ...`` of each column stand for: at least two different names.

        Raises:
            DataError: shape, type, range, a pixel that is not finite (the message says in which image), or a column
                that does not fit or has fewer than two names.

        Example:
            >>> pixels = np.zeros((4, 8, 8), dtype=np.uint8)
            >>> animals = {"label": [0, 1, 0, 1]}, {"label": ["cat", "dog"]}
            >>> InMemorySource.from_arrays("mine", pixels, *animals).image_shape
            (3, 8, 8)
        """
        if columns.keys() != vocabulary.keys():
            expected = f"a vocabulary of {', '.join(columns) or 'nothing'}"
            raise DataError(expected, f"{', '.join(vocabulary)} in '{name}'", "say what every column's numbers mean")
        pixels = to_uint8(name, check_shape(name, as_tensor(name, images)))
        return cls(name, pixels, {key: number_values(name, key, columns[key], vocabulary[key]) for key in columns})

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """See :attr:`AbstractSource.vocabulary`."""
        return {**super().vocabulary, **{name: place.names for name, place in self.maps.items()}}

    @property
    def places(self) -> dict[str, int]:
        """See :attr:`AbstractSource.places`."""
        return {name: place.ignore for name, place in self.maps.items()}

    def fetch(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n channels height width"]:
        """See :meth:`AbstractSource.fetch`."""
        return self.images.index_select(0, indices)

    def fetch_targets(self, indices: Int[Tensor, " n"]) -> dict[str, Shaped[Tensor, "n ..."]]:
        """See :meth:`AbstractSource.fetch_targets`."""
        maps = {name: place.values.index_select(0, indices) for name, place in self.maps.items()}
        return {**super().fetch_targets(indices), **maps}

    @property
    def hash_kind(self) -> str:
        """See :attr:`AbstractSource.hash_kind`."""
        return self._hash_kind

    def _hash_contents(self) -> list[str]:
        """Return one hash of the pixels per image."""
        return _hash_pixels(self.images)

    def describe(self, index: int) -> str:
        """See :meth:`AbstractSource.describe`."""
        return f"image {index} of '{self.name}'" if self._origins is None else self._origins[index]

    def subset(self, indices: Int[Tensor, " n"], name: str) -> "InMemorySource":
        """See :meth:`AbstractSource.subset`; the images are copied."""
        origins = [self.describe(i) for i in indices.tolist()]
        images = self.images.index_select(0, indices)
        maps = {key: place._replace(values=place.values.index_select(0, indices)) for key, place in self.maps.items()}
        columns, hashes = take_columns(self.columns, indices), self.take_hashes(indices)
        part = InMemorySource(name, images, columns, maps=maps, origins=origins, hashes=hashes)
        part.copy_description(self)
        return part

    def duplicate_targets(self, names: Mapping[str, str]) -> "InMemorySource":
        """See :meth:`AbstractSource.duplicate_targets`; the values are shared."""
        other = cast("InMemorySource", super().duplicate_targets(names))
        other.maps = self.maps | {new: self.maps[name] for name, new in names.items() if name in self.maps}
        return other

    def without_targets(self, names: Collection[str], name: str) -> "InMemorySource":
        """See :meth:`AbstractSource.without_targets`; the pixels are shared."""
        origins = [self.describe(i) for i in range(len(self))]
        maps = {
            key: hidden_map(place.values.shape, place.ignore, dtype=place.values.dtype) if key in names else place
            for key, place in self.maps.items()
        }
        other = cast("InMemorySource", self.with_columns(hide_columns(self.columns, set(names) - set(maps), len(self))))
        other.name, other.maps, other._origins, other._counts = name, maps, origins, {}
        return other


def comparable_hashes(sources: Sequence[AbstractSource]) -> list[tuple[str, ...]]:
    """Return one hash per image of each source that compare with each other, whatever holds the images.

    Where all are known by the same, as all that are decoded from files are, it is that. Else all are known by their
    pixels, and a streaming source is decoded once.
    """
    is_one_kind = len({source.hash_kind for source in sources}) == 1
    return [source.content_hashes() if is_one_kind else pixel_hashes(source) for source in sources]


def pixel_hashes(source: AbstractSource) -> tuple[str, ...]:
    """Return one hash of the decoded pixels per image, which compares between all sources.

    Cost: a streaming source is decoded once.
    """
    return tuple(digest for chunk in split_positions(len(source)) for digest in _hash_pixels(source.fetch(chunk)))


def target_hashes(source: AbstractSource, name: str) -> tuple[str, ...]:
    """Return one hash of a target for every few hundred images, in their order; none where there is no such target."""
    parts = (source.fetch_targets(chunk).get(name) for chunk in split_positions(len(source)))
    # As bytes, because numpy does not know every type of torch.
    return tuple(hash_bytes(part.contiguous().view(torch.uint8).numpy().data) for part in parts if part is not None)


def split_positions(count: int) -> Iterator[Int[Tensor, " n"]]:
    """Yield the positions ``0..count-1`` a few hundred at a time."""
    yield from torch.arange(count).split(_CHUNK)


def hidden_map(shape: Sequence[int], ignore: int, *, dtype: torch.dtype = torch.uint8) -> PlaceMap:
    """Return a target that says nothing anywhere; one value is kept for all places.

    Args:
        shape: of its values.
        ignore: the value.
        dtype: of the values.
    """
    return PlaceMap(torch.full((1,) * len(shape), ignore, dtype=dtype).expand(*shape), ignore=ignore)


def hash_bytes(content: bytes | memoryview) -> str:
    """Return a 128-bit hash."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _hash_pixels(images: UInt8[Tensor, "n channels height width"]) -> list[str]:
    """Hash each image's pixels."""
    return [hash_bytes(row.data) for row in images.flatten(1).contiguous().numpy()]
