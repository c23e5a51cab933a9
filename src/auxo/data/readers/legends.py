"""What the values of a set's masks stand for: a table, what a Parquet file says, or the numbers themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from auxo.data.columns import shorten
from auxo.data.config import DataConfig
from auxo.data.decode import AbstractEncodedImages
from auxo.data.mask_legend import CLASSES, MaskEntry, MaskLegend, number_names, read_legend
from auxo.data.masks import EncodedMasks, find_indices
from auxo.data.readers.divisions import find_role
from auxo.data.readers.files import IMAGES, list_entries
from auxo.data.readers.kept import LEAVE_OUT, KeptImages
from auxo.data.readers.listing import HUB_PREFIX, Listing, list_parquet
from auxo.data.sources import AbstractSource, split_positions
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.files.moved import find_path
from auxo.registry.outside import is_outside


class _Table(NamedTuple):
    """What values stand for, and where that is written."""

    entries: Sequence[MaskEntry]
    origin: str


def add_masks(
    source: StreamingSource,
    listing: Listing,
    config: DataConfig,
    *,
    spec: str,
    target: str,
    names: tuple[str, ...] | None,
) -> StreamingSource:
    """Return the images of a set with their masks.

    Args:
        source: the images that are used.
        listing: has the masks; none hides them.
        config: says what values stand for.
        spec: the set, as the user named it.
        target: what the masks are called.
        names: of the classes of the training images; ``None`` for those themselves.

    Raises:
        DataError: nothing says what the values stand for, or a mask that says it by its numbers cannot be read.
    """
    if listing.masks is None:
        return source.with_maps({target: EncodedMasks(source.encoded, None, None)})
    legend = _choose_legend(source, listing.masks, config, spec=spec, names=names)
    return source.with_maps({target: EncodedMasks(source.encoded, listing.masks, legend)})


def leave_out_blank(source: AbstractSource, target: str, config: DataConfig) -> AbstractSource:
    """Return images that say something: one whose mask says nothing anywhere is refused, or left out.

    Args:
        source: training images.
        target: what the masks are called.
        config: says what to do with such images.

    Raises:
        DataError: there is one, and such are refused, or all are such.
    """
    ignore = source.places[target]
    chunks = split_positions(len(source))
    is_blank = torch.cat([(source.fetch_targets(part)[target] == ignore).flatten(1).all(1) for part in chunks])
    kept = KeptImages(source.name, len(source), unknown=config.unknown)

    def refuse(place: int) -> DataError:
        fix = f"draw it, remove the image, or {LEAVE_OUT}"
        got = f"only ignored ones in the mask of {source.describe(place)}"
        return DataError("a pixel of some class in the mask of every training image", got, fix)

    kept.drop(is_blank, "whose mask says nothing", refuse)
    if not is_blank.any():
        return source
    part = source.subset(kept.places(), source.name)
    part.notes = (*part.notes, *kept.notes())
    return part


def _choose_legend(
    source: StreamingSource,
    masks: AbstractEncodedImages,
    config: DataConfig,
    *,
    spec: str,
    names: tuple[str, ...] | None,
) -> MaskLegend:
    """Return what the values of a set's masks stand for."""
    ignore = config.ignore_index
    table = _find_table(spec, config)
    if table is None and names is not None and config.train is not None:
        table = _find_table(config.train, config)
    if table is not None:
        return MaskLegend.of_entries(table.entries, ignore_index=ignore, origin=table.origin, names=names)
    if names is None:
        entries = find_indices(masks, rows=source.rows.tolist(), ignore_index=ignore, source=source.name)
        return MaskLegend.of_entries(entries, ignore_index=ignore, origin="the training masks")
    legend = number_names(names, ignore_index=ignore, origin="the training masks")
    if legend is None:
        fix = f"write {CLASSES} beside the images with name and index or colour, or name it with --data.classes"
        raise DataError(f"what values of masks are {shorten(names)}", f"nothing about it for {spec}", fix)
    return legend


def _find_table(spec: str, config: DataConfig) -> _Table | None:
    """Return what is written about the values of a set: in the file of the options, beside it, or in its Parquet."""
    if config.classes is not None:
        path = find_path(config.classes)
        return _Table(read_legend(path), str(path))
    if spec.startswith(HUB_PREFIX) or is_outside(spec):
        return None
    place = find_path(spec)
    folder = place if place.is_dir() else place.parent
    within = [each.parent for each in (folder, *folder.parents) if each.name == IMAGES]
    above = [folder.parent] if find_role(folder.name) else []  # one table for train, val and test
    below = [each for each in list_entries(folder).folders if find_role(each.name) == "train"] if place.is_dir() else []
    for beside in (each / CLASSES for each in (folder, *within, *above, *below)):
        if beside.is_file():
            return _Table(read_legend(beside), str(beside))
    return _read_parquet_names(place)


def _read_parquet_names(place: Path) -> _Table | None:
    """Return the classes that the metadata of a Parquet file name, numbered from 0."""
    if not list_parquet(place):
        return None
    from auxo.data.readers.table import read_class_names  # imports what reads Parquet files, which takes half a second

    names = read_class_names(place)
    if names is None:
        return None
    return _Table([MaskEntry(name, index) for index, name in enumerate(names)], f"the metadata of {place}")
