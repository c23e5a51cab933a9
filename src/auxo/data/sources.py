"""Sources: labelled images by position, held in memory or decoded when they are asked for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from auxo.data.decode import MIN_PIXELS, decode_image
from auxo.errors import DataError

__all__ = ["NO_LABEL", "AbstractEncodedImages", "AbstractSource", "InMemorySource", "StreamingSource", "pixel_hashes"]

NO_LABEL = -1
"""The label of an image without one."""

_CHUNK = 512


class AbstractSource(ABC):
    """Images, labelled or not, reachable by position.

    Attributes:
        name: what tables and messages call this set.
        class_names: one name per class, in the order of the labels; empty where there are no labels.
        labels: shape ``(n,)``; int64 in ``0..len(class_names)-1``, on the CPU; all -1 where there are no labels, which
            no loss accepts.
        image_shape: ``(channels, height, width)`` of every image.
    """

    name: str
    class_names: tuple[str, ...]
    labels: Int[Tensor, " n"]
    image_shape: tuple[int, int, int]
    _hashes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self.labels.shape[0])

    @abstractmethod
    def fetch(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n channels height width"]:
        """Return the images at ``indices``, any order, repeats allowed; uint8 on the CPU.

        Raises:
            DataError: a picture is damaged or of another size; the message names it.
        """

    def content_hashes(self) -> tuple[str, ...]:
        """Return one hash per image, equal for equal content; computed at the first call only.

        Hashes compare only between sources of one class: pixels are hashed in memory, encoded bytes when streaming.
        """
        if self._hashes is None:
            self._hashes = tuple(self._hash_contents())
        return self._hashes

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
    def without_labels(self, name: str) -> "AbstractSource":
        """Return the same images as a source called ``name`` that has no classes and the label -1 everywhere."""


class InMemorySource(AbstractSource):
    """Images in one tensor.

    Args:
        name: see :class:`AbstractSource`.
        images: shape ``(n, channels, height, width)``; uint8 on the CPU.
        labels: shape ``(n,)``; int64 in ``0..len(class_names)-1``.
        class_names: see :class:`AbstractSource`.
        origins: where each image came from, for messages; ``None`` means its position in this source.

    Raises:
        DataError: the shapes or types do not fit each other, or a label is out of range.
    """

    def __init__(
        self,
        name: str,
        images: UInt8[Tensor, "n channels height width"],
        labels: Int[Tensor, " labels"],
        class_names: tuple[str, ...],
        origins: Sequence[str] | None = None,
    ) -> None:
        if len(images) != len(labels):
            raise DataError(
                "as many labels as images", f"{len(labels)} labels for {len(images)} images in '{name}'", "pair them"
            )
        if origins is not None and len(origins) != len(images):
            raise DataError(
                "as many origins as images", f"{len(origins)} for {len(images)} images in '{name}'", "pair them"
            )
        self.name = name
        self.images = images
        self.labels = labels.long()
        self.class_names = class_names
        self.image_shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
        self._origins = origins
        _check_labels(self)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        images: "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | Tensor",
        labels: "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | Sequence[int] | Tensor",
        class_names: Sequence[str],
    ) -> "InMemorySource":
        """Return a source of the user's own arrays or tensors.

        Args:
            name: see :class:`AbstractSource`.
            images: shape ``(n, channels, height, width)`` or, for grey images, ``(n, height, width)``; uint8 0..255
                or float in [0, 1], which is rounded to the nearest of 256 levels. One channel is repeated to three.
            labels: shape ``(n,)``; integers in ``0..len(class_names)-1``.
            class_names: at least two different names.

        Raises:
            DataError: shape, type, range, a pixel that is not finite (the message says in which image), labels that
                do not fit, or fewer than two classes.

        Example:
            >>> pixels = np.zeros((4, 8, 8), dtype=np.uint8)
            >>> InMemorySource.from_arrays("mine", pixels, [0, 1, 0, 1], ["cat", "dog"]).image_shape
            (3, 8, 8)
        """
        if len(set(class_names)) != len(class_names) or len(class_names) < 2:
            raise DataError(
                "at least two different class names", f"{list(class_names)} in '{name}'", "name every class once"
            )
        pixels = _to_uint8(name, _check_shape(name, _as_tensor(name, images)))
        numbers = _as_tensor(name, labels)
        if numbers.ndim != 1 or numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
            raise DataError(
                "integer labels of shape (n,)",
                f"{numbers.dtype} of shape {tuple(numbers.shape)} in '{name}'",
                "give one whole number per image",
            )
        return cls(name, pixels, numbers.long().cpu(), tuple(class_names))

    def fetch(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n channels height width"]:
        """See :meth:`AbstractSource.fetch`."""
        return self.images.index_select(0, indices)

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
        return InMemorySource(name, images, self.labels[indices], self.class_names, origins)

    def without_labels(self, name: str) -> "InMemorySource":
        """See :meth:`AbstractSource.without_labels`; the pixels are shared."""
        origins = [self.describe(i) for i in range(len(self))]
        return InMemorySource(name, self.images, torch.full_like(self.labels, NO_LABEL), (), origins)


class AbstractEncodedImages(ABC):
    """Encoded pictures by row; must survive pickling, because data-loading workers read it."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, row: int) -> bytes:
        """Return the encoded bytes of a row.

        Raises:
            DataError: they cannot be read; the message names the file or row.
        """

    @abstractmethod
    def describe(self, row: int) -> str:
        """Return the file or row, for messages."""


class StreamingSource(AbstractSource):
    """Encoded pictures that are decoded when they are fetched.

    Args:
        name: see :class:`AbstractSource`.
        encoded: the pictures.
        labels: shape ``(n,)``; int64, the label of each entry of ``rows``.
        class_names: see :class:`AbstractSource`.
        image_size: side in pixels that pictures are resized and cropped to; ``None`` requires them to be of one size.
        rows: shape ``(n,)``; int64 rows of ``encoded`` that belong to this source; ``None`` means all, in order.

    Raises:
        DataError: there is no picture, the first one cannot be decoded, or a label is out of range.
    """

    def __init__(
        self,
        name: str,
        encoded: AbstractEncodedImages,
        labels: Int[Tensor, " labels"],
        class_names: tuple[str, ...],
        *,
        image_size: int | None = None,
        rows: Int[Tensor, " n"] | None = None,
    ) -> None:
        self.name = name
        self.encoded = encoded
        self.labels = labels.long()
        self.class_names = class_names
        self.image_size = image_size
        self.rows = torch.arange(len(encoded)) if rows is None else rows
        if len(self.rows) != len(labels):
            raise DataError(
                "as many labels as images", f"{len(labels)} labels for {len(self.rows)} images in '{name}'", "pair them"
            )
        if not len(self.rows):
            raise DataError("at least one image", f"none in '{name}'", "check the path and the split")
        first = self._decode(int(self.rows[0]))
        self.image_shape = (int(first.shape[0]), int(first.shape[1]), int(first.shape[2]))
        _check_labels(self)

    def fetch(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n channels height width"]:
        """See :meth:`AbstractSource.fetch`; pictures are read and decoded one after another."""
        images = torch.empty((len(indices), *self.image_shape), dtype=torch.uint8)
        for place, index in enumerate(indices.tolist()):
            row = int(self.rows[index])
            image = self._decode(row)
            if image.shape != images.shape[1:]:
                raise DataError(
                    "pictures of one size",
                    f"{_size(self.image_shape)} in {self.describe(0)} and {_size(image.shape)} in "
                    f"{self.encoded.describe(row)}",
                    "pass --data.image-size N to resize them all",
                )
            images[place] = image
        return images

    def _hash_contents(self) -> list[str]:
        """Return one hash of the encoded bytes per image."""
        return [_hash(self.encoded.read(row)) for row in self.rows.tolist()]

    def describe(self, index: int) -> str:
        """See :meth:`AbstractSource.describe`."""
        return self.encoded.describe(int(self.rows[index]))

    def subset(self, indices: Int[Tensor, " n"], name: str) -> "StreamingSource":
        """See :meth:`AbstractSource.subset`."""
        return StreamingSource(
            name,
            self.encoded,
            self.labels[indices],
            self.class_names,
            image_size=self.image_size,
            rows=self.rows[indices],
        )

    def without_labels(self, name: str) -> "StreamingSource":
        """See :meth:`AbstractSource.without_labels`."""
        labels = torch.full_like(self.labels, NO_LABEL)
        return StreamingSource(name, self.encoded, labels, (), image_size=self.image_size, rows=self.rows)

    def _decode(self, row: int) -> UInt8[Tensor, "channels height width"]:
        """Read and decode one row."""
        return decode_image(self.encoded.read(row), where=self.encoded.describe(row), image_size=self.image_size)


def pixel_hashes(source: AbstractSource) -> tuple[str, ...]:
    """Return one hash of the decoded pixels per image, which compares between sources of any class.

    Cost: a streaming source is decoded once.
    """
    return tuple(digest for chunk in _chunks(len(source)) for digest in _hash_pixels(source.fetch(chunk)))


def _chunks(count: int) -> Iterator[Int[Tensor, " n"]]:
    """Yield the positions ``0..count-1`` a few hundred at a time."""
    yield from torch.arange(count).split(_CHUNK)


def _hash(content: bytes | memoryview) -> str:
    """Return a 128-bit hash."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _hash_pixels(images: UInt8[Tensor, "n channels height width"]) -> list[str]:
    """Hash each image's pixels."""
    return [_hash(row.data) for row in images.flatten(1).contiguous().numpy()]


def _size(shape: Sequence[int]) -> str:
    """Return ``width x height`` of an image shape."""
    return f"{shape[-1]}x{shape[-2]}"


def _check_labels(source: AbstractSource) -> None:
    """Refuse labels that are not the number of a class, and any but -1 where there are no classes."""
    count = len(source.class_names)
    lowest, end = (0, count) if count else (NO_LABEL, NO_LABEL + 1)
    bad = ((source.labels < lowest) | (source.labels >= end)).nonzero().flatten()
    if len(bad):
        index = int(bad[0])
        raise DataError(
            f"labels in 0..{count - 1}" if count else "the label -1 where there are no classes",
            f"{int(source.labels[index])} at {source.describe(index)}",
            "number the classes from 0, and leave images without a label out",
        )


def _as_tensor(
    name: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.generic]] | Sequence[int] | Tensor"
) -> Shaped[Tensor, "..."]:
    """Return the user's array as a tensor; one that is read-only or strided backwards is copied."""
    if isinstance(values, np.ndarray):
        values = np.require(values, requirements=["C", "W"])
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError("arrays of numbers", f"{reason} in '{name}'", "give labels as class numbers from 0") from error


def _check_shape(name: str, images: Shaped[Tensor, "..."]) -> Shaped[Tensor, "n channels height width"]:
    """Bring an image array to four dimensions with at least three channels, or refuse it."""
    if images.ndim == 3:
        images = images.unsqueeze(1)
    got = f"{tuple(images.shape)} in '{name}'"
    if images.ndim != 4 or not len(images):
        raise DataError("images of shape (n, channels, height, width)", got, "reshape the array; n is at least 1")
    if images.shape[1] not in (1, 3) and images.shape[-1] in (1, 3):
        raise DataError("channels before height and width", got, "permute the array to (n, channels, height, width)")
    if min(images.shape[2:]) < MIN_PIXELS:
        raise DataError(f"images of at least {MIN_PIXELS}x{MIN_PIXELS} pixels", got, "enlarge them")
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _to_uint8(name: str, images: Shaped[Tensor, "n channels height width"]) -> UInt8[Tensor, "n channels height width"]:
    """Convert pixels to uint8 on the CPU, or refuse them."""
    if images.dtype == torch.uint8:
        return images.cpu().contiguous()
    if not images.is_floating_point():
        raise DataError("uint8 or float images", f"{images.dtype} in '{name}'", "convert pixels to uint8 0..255")
    for is_valid, expected in (
        (images.isfinite(), "finite pixels"),
        ((images >= 0) & (images <= 1), "float pixels in [0, 1]"),
    ):
        bad = (~is_valid.flatten(1).all(dim=1)).nonzero().flatten()
        if len(bad):
            index = int(bad[0])
            pixel = float(images[index][~is_valid[index]][0])
            raise DataError(expected, f"{pixel:g} in image {index} of '{name}'", "scale or repair the array")
    return (images * 255).round().to(torch.uint8).cpu().contiguous()
