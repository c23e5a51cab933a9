"""Right and wrong classes of pixels: what is kept of each image, and what it adds up to over a set."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from auxo.errors import DataError, NonFiniteError
from auxo.losses import find_known, pixel_cross_entropy_losses
from auxo.tasks._found import Measure
from auxo.tasks._interface import Scores

MOST_CONFUSED = 32
"""Classes up to which every image keeps how often each was taken for each other; beyond, it keeps only its margins."""

_CONFUSION = "confusion"
_MARGINS = ("right", "given", "true")


class PixelSums(NamedTuple):
    """What sets of images add up to, a row for each set.

    Args:
        right: shape ``(sets, classes)``; pixels of each class that were given it.
        given: shape ``(sets, classes)``; known pixels that were given each class.
        true: shape ``(sets, classes)``; pixels of each class.
        nll: shape ``(sets,)``; the summed negative log-likelihood of the right class over the known pixels, nats.
    """

    right: Float[Tensor, "sets classes"]
    given: Float[Tensor, "sets classes"]
    true: Float[Tensor, "sets classes"]
    nll: Float[Tensor, " sets"]

    @classmethod
    def split(cls, rows: Float[Tensor, "sets columns"]) -> "PixelSums":
        """Return the sums that :meth:`join` put side by side."""
        right, given, true = rows[:, :-1].chunk(3, 1)
        return cls(right, given, true, rows[:, -1])

    def join(self) -> Float[Tensor, "sets columns"]:
        """Return all sums side by side."""
        return torch.cat([self.right, self.given, self.true, self.nll[:, None]], 1)

    def total(self) -> "PixelSums":
        """Return the sums over all sets, as one set."""
        return PixelSums.split(self.join().sum(0, keepdim=True))

    @property
    def ious(self) -> Float[Tensor, "sets classes"]:
        """Intersection over union of every class; not a number where neither truth nor answers have it."""
        return self.right / (self.given + self.true - self.right)

    @property
    def mean_iou(self) -> Float[Tensor, " sets"]:
        """Mean intersection over union of the classes that truth or answers have."""
        return self.ious.nanmean(1)

    @property
    def pixel_accuracy(self) -> Float[Tensor, " sets"]:
        """Part of the known pixels that were given their class."""
        return self.right.sum(1) / self.true.sum(1)

    @property
    def mean_accuracy(self) -> Float[Tensor, " sets"]:
        """Mean over the classes that the truth has of the part of their pixels that were given them."""
        return (self.right / self.true).nanmean(1)

    @property
    def mean_nll(self) -> Float[Tensor, " sets"]:
        """Mean negative log-likelihood of the right class over the known pixels, nats."""
        return self.nll / self.true.sum(1)


class _Kind(NamedTuple):
    """A measure of pixels."""

    find: Callable[[PixelSums], Tensor]
    unit: str = "%"
    higher_is_better: bool = True


PixelMeasures: TypeAlias = Mapping[str, _Kind]

MEASURES: PixelMeasures = {
    "mIoU": _Kind(lambda sums: sums.mean_iou),
    "pixel_accuracy": _Kind(lambda sums: sums.pixel_accuracy),
    "mean_accuracy": _Kind(lambda sums: sums.mean_accuracy),
    "nll": _Kind(lambda sums: sums.mean_nll, "nats", higher_is_better=False),
}
"""The measures of a set, the one that decides first."""


def score_pixels(
    logits: Float[Tensor, "n classes height width"], labels: Integer[Tensor, "n height width"], *, ignore: int
) -> Scores:
    """Return what is kept of every image, by name: counts of pixels, and the summed negative log-likelihood.

    Of up to 32 classes the counts are ``confusion``, shape ``(n, classes^2)``: how often each right class, in the
    order of the classes, was given each. Of more they are ``right``, ``given`` and ``true``, see :class:`PixelSums`.
    """
    logits = logits.detach()
    is_known, num_classes = find_known(labels, ignore=ignore), logits.shape[1]
    right = torch.where(is_known, labels.long(), num_classes).flatten(1)  # unknown pixels fill a bin of their own
    given = torch.where(is_known, logits.argmax(1), num_classes).flatten(1)
    kept = {"nll": pixel_cross_entropy_losses(logits, labels, ignore=ignore).double().flatten(1).sum(1)}
    if num_classes <= MOST_CONFUSED:
        counts = _count_by_image(right * (num_classes + 1) + given, (num_classes + 1) ** 2)
        square = counts.view(-1, num_classes + 1, num_classes + 1)[:, :num_classes, :num_classes]
        return {**kept, _CONFUSION: square.flatten(1)}
    hits = torch.where(right == given, right, num_classes)
    margins = (_count_by_image(numbers, num_classes + 1)[:, :num_classes] for numbers in (hits, given, right))
    return {**kept, **dict(zip(_MARGINS, margins, strict=True))}


def _count_by_image(numbers: Int[Tensor, "n pixels"], end: int) -> Int[Tensor, "n end"]:
    """Return how often each image has each number below an end."""
    starts = torch.arange(len(numbers), device=numbers.device)[:, None] * end
    return (numbers + starts).flatten().bincount(minlength=len(numbers) * end).view(len(numbers), end)


def read_confusions(scores: Scores) -> Int[Tensor, "n classes classes"] | None:
    """Return how often each image's pixels of each class, by row, were given each, by column; ``None`` if not kept."""
    if _CONFUSION not in scores:
        return None
    counts = scores[_CONFUSION].long()
    return counts.view(len(counts), -1, round(counts.shape[1] ** 0.5))


def read_sums(scores: Scores) -> PixelSums:
    """Return the sums of every image, a row each, from what :func:`score_pixels` kept."""
    confusions = read_confusions(scores)
    if confusions is None:
        right, given, true = (scores[name].double() for name in _MARGINS)
        return PixelSums(right, given, true, scores["nll"].double())
    wide = confusions.double()
    return PixelSums(wide.diagonal(dim1=1, dim2=2), wide.sum(1), wide.sum(2), scores["nll"].double())


def check_sums(total: PixelSums) -> None:
    """Refuse sums of a set of which no pixel is known, and those of outputs that were not all finite.

    Raises:
        DataError: no pixel is known.
        NonFiniteError: an output was not finite.
    """
    if not bool(total.true.sum()):
        raise DataError("pixels with a class to measure", "none that is not ignored", "give masks of these images")
    if not bool(total.nll.isfinite().all()):
        raise NonFiniteError(
            "finite logits",
            f"a mean negative log-likelihood of {float(total.mean_nll[0])}",
            "the weights have diverged; go back to the last good checkpoint and lower the learning rate",
        )


def measure_sums(sums: PixelSums) -> dict[str, Measure]:
    """Return all measures of some images together, without intervals."""
    total = sums.total()
    return {
        name: Measure(float(kind.find(total)[0]), unit=kind.unit, higher_is_better=kind.higher_is_better)
        for name, kind in MEASURES.items()
    }


def find_measures(rows: Float[Tensor, "sets columns"]) -> Float[Tensor, "sets measures"]:
    """Return all measures of many sets, a row each, from sums side by side."""
    sums = PixelSums.split(rows)
    return torch.stack([kind.find(sums) for kind in MEASURES.values()], 1)


def find_ious(rows: Float[Tensor, "sets columns"]) -> Float[Tensor, "sets classes"]:
    """Return the intersection over union of every class of many sets, a row each, from sums side by side."""
    return PixelSums.split(rows).ious


def sum_confusions(scores: Scores) -> Int[np.ndarray, "classes classes"] | None:
    """Return how many pixels of each class, by row, were given each, by column; ``None`` if that was not kept."""
    confusions = read_confusions(scores)
    return None if confusions is None else confusions.sum(0).numpy()
