"""What invented labels look like: images of each sub-class, their numbers, and whether labels say anything."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from auxo.interfaces import AbstractImageReader, Exhibit, ImageExhibit, TableExhibit, TextExhibit
from auxo.layers.sub_classes import SubClasses, describe_labels
from auxo.types import LABEL, Batch

_SHOWN, _PER_ROW = 3, 10  # classes whose sub-classes are shown, and images of each


def exhibit_labels(
    reader: AbstractImageReader,
    give_labels: Callable[[Batch], Tensor],
    *,
    sub_classes: SubClasses,
    class_names: Sequence[str],
) -> tuple[Exhibit, ...]:
    """Return a sentence on the labels, images of each sub-class for a few classes, and how many images each has.

    Args:
        reader: of the images.
        give_labels: maps a batch of ``n`` images to their soft labels, shape ``(n, total)``.
        sub_classes: which of them belong to which class.
        class_names: as many as there are classes.
    """
    labels = reader.read(give_labels)
    found, counts = labels.argmax(dim=1), sub_classes.counts
    told = describe_labels(labels, reader.targets[LABEL], num_classes=len(counts), join=lambda tensor: tensor)
    text = (
        f"A label has an entropy of {told.entropy:.2f} nats ({math.log(max(counts)):.2f} where it says nothing) "
        f"and tells {told.information:.2f} nats about its image in the class; {told.num_used:.1f} labels are used."
    )
    sizes = found.bincount(minlength=sum(counts)).split(counts)
    pad = [[""] * (max(counts) - count) for count in counts]
    rows = [(name, *own.tolist(), *rest) for name, own, rest in zip(class_names, sizes, pad, strict=True)]
    names = [f"{name} / {k}" for name, count in zip(class_names, counts, strict=True) for k in range(count)]
    shown = [(found == k).nonzero().flatten()[:_PER_ROW] for k in range(sum(counts[:_SHOWN]))]
    captions = [names[k] for k, members in enumerate(shown) for _ in members]
    header = ("class", *map(str, range(max(counts))))
    return (
        TextExhibit("Invented labels", text),
        ImageExhibit("Training images by sub-class", reader.pixels(torch.cat(shown)), captions, columns=_PER_ROW),
        TableExhibit("Most likely sub-class of the training images", header, rows),
    )
