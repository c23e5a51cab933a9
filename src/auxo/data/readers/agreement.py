"""Columns that are learned: they mean the same in every set."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

import torch

from auxo.data.columns import HIDDEN, suggest_columns, take_columns
from auxo.data.config import Unknown
from auxo.data.names import NameLookup
from auxo.data.readers.kept import KeptImages, describe_unknown, refuse_unknown
from auxo.data.sources import AbstractSource
from auxo.data.splits import MetaSplit, OODSplit, Splits, TestSplit, UnlabelledSplit, ValSplit
from auxo.errors import DataError
from auxo.types import Column

_Split = TypeVar("_Split", ValSplit, TestSplit, MetaSplit, OODSplit, UnlabelledSplit)


def require_columns(source: AbstractSource, names: Collection[str]) -> None:
    """Refuse a source that lacks a further column that was asked for.

    Raises:
        DataError: it lacks one.
    """
    fix = "correct --data.columns or leave it out, or choose images that have them"
    fix = suggest_columns(names, source.vocabulary) + fix
    _refuse_missing(source, names, f"images with the further columns {', '.join(names)}", fix)


def align_columns(
    source: AbstractSource, vocabulary: Mapping[str, tuple[str, ...]], *, unknown: Unknown = "refuse"
) -> AbstractSource:
    """Return a source whose numbers of some columns stand for what those of the training set stand for.

    Args:
        source: has these columns, with numbers of its own.
        vocabulary: of the training set: what the numbers of each column that is learned stand for.
        unknown: what to do with images whose value is not among those.

    Raises:
        DataError: the source lacks a column or has such an image; the message names its file or row.
    """
    _require_learned(source, vocabulary)
    kept = KeptImages(source.name, len(source), unknown=unknown)
    columns = dict(source.columns)
    for name, names in vocabulary.items():
        columns[name] = _align_column(source, name, names, kept)
    if all(columns[name].names == source.columns[name].names for name in vocabulary):
        return source
    places, notes = kept.places(), kept.notes()
    part = source.subset(places, source.name) if notes else source
    aligned = part.with_columns(take_columns(columns, places))
    aligned.notes = (*source.notes, *notes)
    return aligned


def align_splits(splits: Splits, learned: Collection[str], *, unknown: Unknown = "refuse") -> Splits:
    """Return splits whose numbers of the learned columns stand for the same in all.

    Args:
        splits: each with numbers of its own.
        learned: further columns that are learned, whose values are those of the training images.
        unknown: what to do with images of another value.

    Raises:
        DataError: a split lacks a column or has such an image; the message names its file or row.
    """
    train = splits.train.source
    _require_learned(train, learned)
    # Numbers of targets with places are compared as they are, by the splits themselves.
    vocabulary = {name: train.columns[name].names for name in learned if name in train.columns}

    def align(split: _Split) -> _Split:
        is_hidden = {name for name, column in split.source.columns.items() if not column.names}
        known = {name: names for name, names in vocabulary.items() if name not in is_hidden}
        return replace(split, source=align_columns(split.source, known, unknown=unknown))

    return replace(
        splits,
        val=align(splits.val),
        test=None if splits.test is None else align(splits.test),
        meta=None if splits.meta is None else align(splits.meta),
        ood=tuple(align(split) for split in splits.ood),
        unlabelled=None if splits.unlabelled is None else align(splits.unlabelled),
    )


def _align_column(source: AbstractSource, name: str, names: tuple[str, ...], kept: KeptImages) -> Column:
    """Return a column with numbers that stand for ``names``, -1 where an image is left out."""
    values, own = source.columns[name]
    lookup = NameLookup(names)
    found = [lookup.find(each) for each in own]
    aligned = torch.tensor([HIDDEN if place is None else place for place in found])[values]

    def refuse(place: int) -> DataError:
        got = f"'{own[int(values[place])]}' at {source.describe(place)}"
        return refuse_unknown(name, names, got)

    kept.drop(aligned == HIDDEN, describe_unknown(name), refuse)
    return Column(aligned, names)


def _require_learned(source: AbstractSource, names: Collection[str]) -> None:
    """Refuse a source that lacks a column that is learned."""
    fix = "choose images that have it, and name a further column with --data.columns"
    _refuse_missing(source, names, f"images with values of {', '.join(names)}, which the run learns", fix)


def _refuse_missing(source: AbstractSource, names: Collection[str], expected: str, fix: str) -> None:
    """Refuse a source that lacks one of some columns."""
    own = [name for name, values in source.vocabulary.items() if values]  # others are hidden
    if not set(names) <= set(own):
        raise DataError(expected, f"{', '.join(own) or 'none'} in '{source.name}'", fix)
