"""How far labels agree with classes as two ways to sort the same pixels, whatever the labels are called."""

from typing import NamedTuple

import torch

from auxo.evaluation.label_quality.pairs import count_pairs
from auxo.evaluation.label_quality.tables import LabelTable


class Agreement(NamedTuple):
    """Measures of two sortings of the pixels that have a label and a known class.

    Args:
        purity: share of the pixels in the most frequent class of their label; it can only grow with more labels.
        nmi: mutual information over the mean of the two entropies.
        adjusted_rand: Rand index, 0 for labels by chance and 1 for the classes.
        majority_miou: mean IoU where every label stands for its most frequent class; it grows with more labels.
        num_labels: that occur.
        coverage: share of the pixels of known class that have a label.
    """

    purity: float
    nmi: float
    adjusted_rand: float
    majority_miou: float
    num_labels: int
    coverage: float


def measure_agreement(table: LabelTable) -> Agreement:
    """Return the measures, over all images together.

    Source of the adjusted Rand index: Hubert, Arabie, Comparing Partitions, Journal of Classification 2, 1985.

    Args:
        table: with a pixel at least.
    """
    from sklearn.metrics import mutual_info_score

    counts = table.total_labels()
    total = counts.sum()
    information = float(mutual_info_score(None, None, contingency=counts.numpy()))
    mean_entropy = (_find_entropy(counts.sum(1)) + _find_entropy(counts.sum(0))) / 2
    return Agreement(
        purity=float(counts.amax(1).sum() / total),
        nmi=information / mean_entropy if mean_entropy > 0 else 1.0,  # one label and one class agree
        adjusted_rand=_find_adjusted_rand(table),
        majority_miou=_find_majority_miou(counts),
        num_labels=len(counts),
        coverage=float(total / table.num_known),
    )


def _find_entropy(counts: torch.Tensor) -> float:
    """Return the entropy of shares, in nats."""
    shares = counts / counts.sum()
    return float(-torch.special.xlogy(shares, shares).sum())


def _find_adjusted_rand(table: LabelTable) -> float:
    """Return the adjusted Rand index from pairs."""
    pairs = count_pairs(table).all
    chosen, right, alike = (float(part.sum()) for part in (pairs.chosen, pairs.chosen_right, pairs.alike))
    total = chosen + float(pairs.refused.sum())
    expected = chosen * alike / total if total else 0.0
    most = (chosen + alike) / 2
    return (right - expected) / (most - expected) if most != expected else 1.0


def _find_majority_miou(counts: torch.Tensor) -> float:
    """Return the mean IoU of the most frequent class of every label, over classes that occur."""
    best = counts.argmax(1)
    sizes = counts.sum(0)
    predicted = torch.zeros_like(sizes).index_add_(0, best, counts.sum(1))
    right = torch.zeros_like(sizes).index_add_(0, best, counts.amax(1))
    occurs = sizes > 0
    return float((right / (sizes + predicted - right))[occurs].mean())
