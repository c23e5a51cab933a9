"""How often each label meets each class, in every image: all that pairs of pixels are counted from."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from auxo.losses import IGNORE


class LabelTable(NamedTuple):
    """Pixels of every image, by label and class. There is a row for each label of each image that has pixels.

    Args:
        counts: pixels of each row in each class; float64, which is exact for whole numbers up to 2 ** 53.
        images: position of each row's image.
        labels: number of each row's label, 0, 1, ... over those that occur.
        num_images: that were counted, also those without a known pixel.
        num_known: pixels whose class is known, also those without a label.
    """

    counts: Float[Tensor, "rows classes"]
    images: Int[Tensor, " rows"]
    labels: Int[Tensor, " rows"]
    num_images: int
    num_known: int

    def total_labels(self) -> Float[Tensor, "labels classes"]:
        """Return the pixels of each label in each class, over all images."""
        number = int(self.labels.max()) + 1 if len(self.labels) else 0
        return self.counts.new_zeros(number, self.counts.shape[1]).index_add_(0, self.labels, self.counts)

    def total_images(self) -> Float[Tensor, "images classes"]:
        """Return the pixels of each image in each class, over all labels."""
        return self.counts.new_zeros(self.num_images, self.counts.shape[1]).index_add_(0, self.images, self.counts)


def count_labels(
    labels: Integer[Tensor, "images height width"],
    classes: Integer[Tensor, "images height width"],
    *,
    num_classes: int,
    ignore: int = IGNORE,
) -> LabelTable:
    """Return the table of some images.

    Args:
        labels: of the pixels; those below 0 are left out.
        classes: of the pixels; those that are unknown are left out.
        num_classes: of the task.
        ignore: the class of pixels that are unknown.

    Example:
        >>> labels, classes = torch.tensor([[[7, 7, 9, -1]]]), torch.tensor([[[0, 1, 1, 0]]])
        >>> count_labels(labels, classes, num_classes=2).counts.tolist()
        [[1.0, 1.0], [0.0, 1.0]]
    """
    numbers, truths = labels.long(), classes.long()
    is_known = truths != ignore
    is_counted = is_known & (numbers >= 0)
    images = torch.arange(len(labels)).view(-1, 1, 1).expand_as(numbers)[is_counted]
    _, found = numbers[is_counted].unique(return_inverse=True)
    pairs, rows = torch.stack([images, found]).unique(dim=1, return_inverse=True)
    cells = (rows * num_classes + truths[is_counted]).bincount(minlength=pairs.shape[1] * num_classes)
    counts = cells.view(-1, num_classes).double()
    return LabelTable(counts, pairs[0], pairs[1], len(labels), int(is_known.sum()))
