"""Readers: a set of one's own, named by a path or hub address, becomes a source."""

from collections.abc import Mapping, Sequence
from typing import cast

from auxo.data.config import DataConfig
from auxo.data.loader import in_memory
from auxo.data.readers.agreement import align_columns, align_splits, require_columns
from auxo.data.readers.divisions import Part
from auxo.data.readers.kinds import list_images
from auxo.data.readers.layouts import Layout, find_layout, refuse_divided
from auxo.data.readers.legends import add_masks, leave_out_blank
from auxo.data.sources import AbstractSource
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.registry.outside import call_outside, is_outside
from auxo.types import LABEL

__all__ = [
    "Layout",
    "Part",
    "align_splits",
    "find_layout",
    "leave_out_blank",
    "read_named",
    "read_source",
    "read_streaming",
    "read_unlabelled",
    "require_columns",
    "store",
]

_AUTO_MEMORY_BYTES = 2**30


def read_source(
    spec: str,
    config: DataConfig,
    *,
    vocabulary: Mapping[str, tuple[str, ...]] | None = None,
    mask: str | None = None,
) -> AbstractSource:
    """Read a set of images by what ``spec`` is, and hold it as ``config.storage`` says.

    Args:
        spec: a folder of class folders, or of images and masks, a Parquet file, a folder of Parquet files, a CSV,
            ``hf://…``, or ``file.py:Name`` of a class or function that makes a source of the options in ``config``.
        config: gives columns, image size and storage, and says what to do with values that are missing or unknown.
        vocabulary: what the numbers of targets stand for in the training set, by their names; ``None`` for that set
            itself. Columns of this set are mapped to that by name; a target with places must have it. Any other column
            has values of its own.
        mask: the target that a mask beside every image gives, from :attr:`auxo.tasks.AbstractTask.mask_target`; then no
            label is read. ``None`` reads no masks.

    Raises:
        ConfigError: a file of the user's does not run, or makes no source.
        DataError: the set cannot be used; the message names the file or row.
    """
    return store([read_named(spec, config, vocabulary=vocabulary, mask=mask)], config)[0]


def read_named(
    spec: str | Part,
    config: DataConfig,
    *,
    vocabulary: Mapping[str, tuple[str, ...]] | None = None,
    mask: str | None = None,
) -> AbstractSource:
    """Read a set as :func:`read_source` does; only its first image is decoded, and masks whose numbers say it all.

    A part of a :class:`Layout` is read as it is; what else is named and is divided by its names is refused.
    """
    part = Part(spec) if isinstance(spec, str) else spec
    if isinstance(spec, str):
        refuse_divided(spec, config, mask=mask)
    spec = part.spec
    if not is_outside(spec):
        return _read_part(part, config, vocabulary=vocabulary, mask=mask)
    source = call_outside(spec, AbstractSource, config)
    require_columns(source, config.further_columns)
    source.blocks = config.block_column or source.blocks
    known = dict(vocabulary or {})
    for name in [name for name in known if name in source.vocabulary and name not in source.columns]:
        _require_names(spec, source.vocabulary[name], known.pop(name))
    return align_columns(source, known, unknown=config.unknown)


def read_streaming(
    spec: str,
    config: DataConfig,
    *,
    vocabulary: Mapping[str, tuple[str, ...]] | None = None,
    mask: str | None = None,
) -> StreamingSource:
    """Read a set as :func:`read_named` does, but nothing that a Python file of the user's makes."""
    return _read_part(Part(spec), config, vocabulary=vocabulary, mask=mask)


def _read_part(
    part: Part, config: DataConfig, *, vocabulary: Mapping[str, tuple[str, ...]] | None, mask: str | None
) -> StreamingSource:
    """Read what was found of a part."""
    known = {name: names for name, names in (vocabulary or {}).items() if name != mask}
    listing = part.list_images(config, mask=mask)
    source = listing.to_source(known, image_size=config.target_size, unknown=config.unknown)
    source.blocks = config.block_column or ""
    aligned = cast("StreamingSource", align_columns(source, known, unknown=config.unknown))
    if mask is None:
        return aligned
    names = None if vocabulary is None else vocabulary.get(mask)
    return add_masks(aligned, listing, config, spec=part.spec, target=mask, names=names)


def read_unlabelled(spec: str, config: DataConfig, *, mask: str | None = None) -> AbstractSource:
    """Read a set whose targets, if it has any, are not looked at; no more than its first image is decoded.

    Args:
        spec: a folder with images in it or in folders below, a Parquet file, a folder of Parquet files, a CSV, or
            ``hf://…``, or ``file.py:Name`` as for :func:`read_source`.
        config: gives columns and image size. Further columns are hidden where the set does not have them all.
        mask: see :func:`read_source`; it is hidden everywhere.

    Raises:
        ConfigError: a file of the user's does not run, or makes no source.
        DataError: the set cannot be used; the message names the file or row.
    """
    if is_outside(spec):
        source = call_outside(spec, AbstractSource, config)
        source.blocks = config.block_column or source.blocks
        shown = config.further_columns if set(config.further_columns) <= set(source.columns) else ()
        return source.without_targets({*source.vocabulary, *config.further_columns} - set(shown), source.name)
    listing = list_images(spec, config, is_labelled=False, mask=mask)
    source = listing.to_source({}, image_size=config.target_size, unknown=config.unknown)
    source.blocks = config.block_column or ""
    if mask is not None:
        source = add_masks(source, listing, config, spec=spec, target=mask, names=None)
    label = {LABEL} if mask is None else set()
    return source.without_targets((label | {*config.further_columns}) - set(source.columns), source.name)


def store(sources: Sequence[AbstractSource], config: DataConfig) -> list[AbstractSource]:
    """Decode the sets of a run into memory, or leave them streaming, all alike.

    With ``storage="auto"`` they are decoded if all their pixels and masks together take up to 1 GiB. A streaming source
    of the user's own class with targets with places stays as it is.
    """
    size = sum(_count_bytes(source) for source in sources)
    is_small = config.storage == "auto" and size <= _AUTO_MEMORY_BYTES
    if config.storage == "memory" or is_small:
        decoded: list[AbstractSource] = []
        for source in sources:
            is_encoded = isinstance(source, StreamingSource) and (
                source.vocabulary.keys() == source.columns.keys() | source.maps.keys()  # a subclass may have others
            )
            decoded.append(in_memory(source, workers=config.workers) if is_encoded else source)
        return decoded
    return list(sources)


def _count_bytes(source: AbstractSource) -> int:
    """Return the bytes of the pixels of a source, and of its masks, as :func:`store` would hold them."""
    channels, height, width = source.image_shape
    shown = sum(bool(source.vocabulary[name]) for name in source.places)
    return len(source) * (channels + shown) * height * width


def _require_names(spec: str, names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Refuse a set of the user's whose numbers stand for other things than those of the training set."""
    if names != expected:
        fix = "give the names of the training images, in their order"
        raise DataError(f"{list(expected)} from {spec}", f"{list(names)}", fix)
