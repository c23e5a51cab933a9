"""Training sets made uneven: fewer and fewer images from class to class, or few in the second half of the classes."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch

from auxo.data.sources import AbstractSource
from auxo.errors import DataError
from auxo.random import named_generator
from auxo.tasks import AbstractTask

Imbalance: TypeAlias = Literal["none", "exp", "step"]


def imbalanced_counts(available: Sequence[int], kind: Imbalance, *, ratio: float) -> list[int]:
    r"""Return how many training images each class keeps, in the order of the classes.

    With ``N`` the size of the largest class, ``C`` classes ``j = 0, 1, ...`` and the ratio ``mu``:

    * ``exp``: ``int(N mu^{j / (C - 1)})``, from ``N`` down to ``mu N``;
    * ``step``: ``N`` for the first half of the classes (of an odd number, the larger half), ``int(mu N)`` for the rest.

    A class keeps at most what it has, so classes that were uneven before stay at or below these numbers.

    Args:
        available: images of each class; at least two classes.
        kind: the profile; ``none`` keeps everything.
        ratio: ``mu``, the smallest over the largest class, in (0, 1].

    Source: Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019
    (arXiv 1906.07413), and the released code, kaidic/LDAM-DRW; exp is the long tail of Cui et al., CVPR 2019.

    Example:
        >>> imbalanced_counts([500] * 5, "exp", ratio=0.01)
        [500, 158, 50, 15, 5]
        >>> imbalanced_counts([500] * 4, "step", ratio=0.1)
        [500, 500, 50, 50]
    """
    if kind == "none":
        return list(available)
    largest, last = max(available), len(available) - 1
    if kind == "exp":
        wanted = [int(largest * ratio ** (j / last)) for j in range(last + 1)]
    else:
        wanted = [int(largest * (1 if 2 * j <= last else ratio)) for j in range(last + 1)]
    return [min(one, other) for one, other in zip(wanted, available, strict=True)]


def imbalanced(
    source: AbstractSource, kind: Imbalance, *, ratio: float, seed: int, task: type[AbstractTask]
) -> AbstractSource:
    """Return the source without the images that its classes lose, in the order they had; ``none`` is the source itself.

    Args:
        source: training images.
        kind: the profile.
        ratio: the smallest over the largest class, in (0, 1].
        seed: decides which images stay. Those of a smaller ratio are among those of a larger one.
        task: says the classes, which are what it stratifies by.

    Raises:
        DataError: a class would keep no image, or the task tells no kinds of images apart.
    """
    if kind == "none":
        return source
    classes = task.strata(source)
    if classes is None:
        fix = "leave it at none, or choose a task that tells some apart (strata)"
        raise DataError(f"kinds of images for data.imbalance {kind}", f"none in '{source.name}'", fix)
    present, numbers, found = classes.values.unique(return_inverse=True, return_counts=True)
    available = found.tolist()
    counts = imbalanced_counts(available, kind, ratio=ratio)
    if 0 in counts:
        rare = int(present[counts.index(0)])
        name = classes.names[rare] if classes.names else str(rare)
        got = f"none of '{name}' with data.imbalance-ratio {ratio:g} and {max(available)} of the largest"
        raise DataError("training images of every class", got, "raise the ratio, or give more images")
    shuffled = torch.randperm(len(source), generator=named_generator(seed, "imbalance"))
    kept = [
        shuffled[numbers[shuffled] == number][:count]  # a loop over classes, not over images
        for number, count in enumerate(counts)
    ]
    return source.subset(torch.cat(kept).sort().values, source.name)
