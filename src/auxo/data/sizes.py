"""The size of a run's images, where nobody has said it and theirs differ."""

from collections.abc import Collection, Sequence
from statistics import median_low
from typing import NamedTuple

import torch

from auxo.data.config import DataConfig
from auxo.data.decode import read_stored_size
from auxo.data.fitting import ImageFit
from auxo.data.sources import AbstractSource
from auxo.data.streaming import StreamingSource

_MOST_MEASURED = 1000
_SIDES = (32, 64, 96, 128, 160, 192, 224)
_VERBS = {"crop": "cut to shape around the centre", "letterbox": "with grey beside them", "squash": "squashed"}


class _Size(NamedTuple):
    """Height and width of an upright image."""

    height: int
    width: int


def unify_sizes(sources: Sequence[AbstractSource], config: DataConfig) -> list[AbstractSource]:
    """Return the sets of a run with images of one size, which is chosen where theirs differ and none is given.

    It is that of the training images, if they have one; else the side of a square: the largest of 32, 64, 96, … 224
    that is not above the median of their shorter sides. Up to 1,000 evenly spaced images of each set are measured, by
    their headers.

    Args:
        sources: the training images first.
        config: gives a size, and how images are brought to it.

    Raises:
        DataError: an image is damaged; the message names it.
    """
    encoded = [source for source in sources if isinstance(source, StreamingSource)]
    if config.image_size is not None or not encoded:
        return list(sources)
    found = {source.name: _measure_sizes(source) for source in encoded}
    every = {size for sizes in found.values() for size in sizes}
    every |= {_Size(*source.image_shape[1:]) for source in sources if not isinstance(source, StreamingSource)}
    if len(every) == 1:
        return list(sources)
    train = sources[0]
    own = found[train.name] if isinstance(train, StreamingSource) else [_Size(*train.image_shape[1:])]
    size = own[0] if len(set(own)) == 1 else choose_size(own)
    fit = ImageFit(*size, config.fit)
    unified = [source.with_fit(fit) if isinstance(source, StreamingSource) else source for source in sources]
    unified[0].notes = (*unified[0].notes, _describe(every, fit))
    return unified


def choose_size(sizes: Sequence[tuple[int, int]]) -> _Size:
    """Return the side of a square for images of different sizes.

    Args:
        sizes: height and width of each.

    Example:
        >>> [choose_size(sizes)[0] for sizes in ([(480, 640), (300, 900)], [(100, 130), (120, 90)], [(9, 8), (9, 9)])]
        [224, 64, 8]
    """
    side = median_low([min(size) for size in sizes])
    side = max((each for each in _SIDES if each <= side), default=side)
    return _Size(side, side)


def _measure_sizes(source: StreamingSource) -> list[_Size]:
    """Return the sizes of the images of a source, or of evenly spaced ones."""
    places = torch.linspace(0, len(source) - 1, min(len(source), _MOST_MEASURED), dtype=torch.float64).long()
    rows = source.rows[places].tolist()
    stored = [read_stored_size(source.encoded.read(row), source.encoded.describe(row)) for row in rows]
    return [_Size(size.turned[1], size.turned[0]) for size in stored]


def _describe(sizes: Collection[_Size], fit: ImageFit) -> str:
    """Return a sentence about the size that was chosen."""
    least, most = (choose(sizes, key=lambda size: size.height * size.width) for choose in (min, max))
    spread = f"{least.width}x{least.height} to {most.width}x{most.height}"
    how = f"brought to {fit.width}x{fit.height}, {_VERBS[fit.method]}"
    return f"images have {len(sizes)} sizes from {spread}: all are {how} (--data.image-size, --data.fit)"
