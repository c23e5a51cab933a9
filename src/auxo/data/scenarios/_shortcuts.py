"""Splits with a shortcut: images of known classes, a cue drawn into them, and its value as a column."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar, cast

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from auxo.data.config import DataConfig
from auxo.data.cuts import subsample
from auxo.data.scenarios._memory import made_source
from auxo.data.shortcuts import draw_cues, exchange_values, group_classes
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, ValSplit
from auxo.random import derive_seed, named_generator
from auxo.tasks import AbstractTask
from auxo.types import LABEL, Column

Draw: TypeAlias = Callable[
    [UInt8[Tensor, "n 3 h w"], Int[Tensor, " n"], bool, torch.Generator], UInt8[Tensor, "n 3 height width"]
]
"""Draws cues into images: gets the images, the value of each, whether they are of the training part, and random
numbers of the part, which are the same at every strength."""


class Cue(NamedTuple):
    """What goes with the class.

    Args:
        column: name of the column that has its values.
        names: of the values.
        draw: draws them.
    """

    column: str
    names: tuple[str, ...]
    draw: Draw


_Source = TypeVar("_Source", bound=AbstractSource)


def group_source(source: _Source, groups: tuple[str, ...]) -> _Source:
    """Return the images of some groups of classes, with the group for a label.

    Raises:
        OptionError: a class is in two groups, or there is none of its name.
    """
    label = group_classes(source.columns[LABEL], groups)
    kept = (label.values >= 0).nonzero().flatten()
    part = source.subset(kept, source.name)
    grouped = part.with_columns({**part.columns, LABEL: label._replace(values=label.values[kept])})
    return cast("_Source", grouped)


def build_splits(
    parts: dict[str, InMemorySource], cue: Cue, config: DataConfig, *, seed: int, task: type[AbstractTask]
) -> Splits:
    """Return the splits of images with a shortcut.

    Args:
        parts: the images by what they are for: ``train``, ``val``, ``test``, and ``shifted`` for the sets from
            elsewhere, which are called ``strength-P``.
        cue: what is drawn.
        config: gives the shortcut, ``num_train`` and ``image_size``.
        seed: decides all draws; those of an image are the same at every strength.
        task: says what proportions a smaller number of training images keeps.
    """
    shortcut = config.shortcut
    made = {
        role: _plant_cue(parts[role], role, cue, config, shortcut.strength, seed) for role in ("train", "val", "test")
    }
    train = subsample(made["train"], config.num_train, seed=derive_seed(seed, "shortcut", "num_train"), task=task)
    shifted = [_plant_cue(parts["shifted"], "shifted", cue, config, strength, seed) for strength in shortcut.shifted]
    for source, strength in zip(shifted, shortcut.shifted, strict=True):
        source.name = f"strength-{strength:g}"
    return Splits(
        train=TrainSplit(train),
        val=ValSplit(made["val"]),
        test=TestSplit(made["test"]),
        ood=tuple(OODSplit(source) for source in shifted),
        task_kind=task,
    )


def _plant_cue(
    source: InMemorySource, role: str, cue: Cue, config: DataConfig, strength: float, seed: int
) -> InMemorySource:
    """Return the images of a part with the cue, and their label and its value as columns."""
    shortcut, label, num_values = config.shortcut, source.columns[LABEL], len(cue.names)

    def generate(stream: str) -> torch.Generator:
        return named_generator(seed, "shortcut", role, stream)

    classes = exchange_values(
        label.values, shortcut.label_noise, num_values=len(label.names), generator=generate("labels")
    )
    values = draw_cues(classes, strength=strength, num_values=num_values, generator=generate("cues"))
    written = exchange_values(values, shortcut.column_noise, num_values=num_values, generator=generate("column"))
    images = cue.draw(source.images, values, role in ("train", "val"), generate("drawing"))
    columns = {LABEL: label._replace(values=classes), cue.column: Column(written, cue.names)}
    origins = [source.describe(index) for index in range(len(source))]
    return made_source(source.name, images, columns, config, origins=origins, notes=source.notes)
