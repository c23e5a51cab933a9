"""Positives and negatives as training draws them, and how many are right: the quality that a labeller is chosen by."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from auxo.losses import IGNORE
from auxo.pretexts.pixels import Negatives, PixelSampling, Positives, draw_pixels, pair_masks, shrink_labels
from auxo.random import Draws


@dataclass(frozen=True)
class SampledPairs:
    """Pairs that were drawn, by the class of the anchor; float64.

    Args:
        positives: pairs of one label.
        positives_right: those among them of one class.
        negatives: pairs of two labels.
        negatives_right: those among them of two classes.
    """

    positives: Float[Tensor, " classes"]
    positives_right: Float[Tensor, " classes"]
    negatives: Float[Tensor, " classes"]
    negatives_right: Float[Tensor, " classes"]

    @property
    def precision_positive(self) -> float:
        """Mean over the anchor's class of the share of positives that are right; 0 where there are none."""
        return _average_shares(self.positives_right, self.positives)

    @property
    def precision_negative(self) -> float:
        """Mean over the anchor's class of the share of negatives that are right; 0 where there are none."""
        return _average_shares(self.negatives_right, self.negatives)

    @property
    def quality(self) -> float:
        """Harmonic mean of the two; 0 for labels under which no pixel has a positive."""
        one, other = self.precision_positive, self.precision_negative
        return 2 * one * other / (one + other) if one + other else 0.0


def count_sampled_pairs(
    labels: Integer[Tensor, "images height width"],
    classes: Integer[Tensor, "images height width"],
    *,
    num_classes: int,
    sampling: PixelSampling,
    positives: Positives = "all",
    negatives: Negatives = "all",
    size: tuple[int, int] | None = None,
    batch_size: int = 16,
    rounds: int = 8,
    generator: torch.Generator,
    ignore: int = IGNORE,
) -> SampledPairs:
    """Return the pairs that training would draw from batches of some images.

    Args:
        labels: of the pixels; those below 0 are never drawn.
        classes: of the pixels; those that are unknown are not drawn either.
        num_classes: of the task.
        sampling: how many pixels of a label and image, and of a batch.
        positives: which pixels of a label are; see :func:`auxo.pretexts.pixels.pair_masks`.
        negatives: likewise.
        size: rows and columns that labels are brought to, as in training those of the features; ``None`` keeps all.
        batch_size: images of a batch; all where there are fewer.
        rounds: passes over the images, each with other batches and pixels.
        generator: decides everything.
        ignore: the class of pixels that are unknown.
    """
    known = torch.where(classes == ignore, -1, labels.long())
    known, truths = (
        shrink_labels(each, size or (labels.shape[1], labels.shape[2])) for each in (known, classes.long())
    )
    totals = torch.zeros(4, num_classes, dtype=torch.float64)
    for _ in range(rounds):
        for places in torch.randperm(len(labels), generator=generator).split(batch_size):
            drawn = draw_pixels(known[places], sampling=sampling, draws=Draws(generator))
            if not len(drawn.labels):
                continue
            masks = pair_masks(drawn.labels, drawn.images, positives=positives, negatives=negatives)
            found = truths[places].flatten(1)[drawn.images, drawn.places]
            is_same = found[:, None] == found
            for number, pairs in enumerate(
                (masks.positives, masks.positives & is_same, masks.negatives, masks.negatives & ~is_same)
            ):
                totals[number].index_add_(0, found, pairs.sum(1).double())
    return SampledPairs(*totals)


def _average_shares(part: Float[Tensor, " classes"], whole: Float[Tensor, " classes"]) -> float:
    """Return the mean share over classes that have some."""
    has_some = whole > 0
    return float((part / whole)[has_some].mean()) if has_some.any() else 0.0
