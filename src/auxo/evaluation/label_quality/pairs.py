r"""Pairs of pixels that labels choose as positives and as negatives, and how many of them are right.

With :math:`n_{ac}` pixels of label a and class c, and its sums :math:`n_a, n_c, n`::

    Prec+ = sum_ac n_ac (n_ac - 1) / sum_a n_a (n_a - 1)               P(same class | of one label)
    Prec- = 1 - (sum_c n_c^2 - sum_ac n_ac^2) / (n^2 - sum_a n_a^2)    P(another class | of two labels)
    Rec+  = sum_ac n_ac (n_ac - 1) / sum_c n_c (n_c - 1)               P(of one label | same class)

Ours, after Zhang, Torr, Ranftl, Richter, Looking Beyond Single Images for Contrastive Semantic Segmentation Learning,
NeurIPS 2021, of which only the abstract could be read: it has a metric that judges labels fast, whose formula is not
known to us.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.evaluation.label_quality.tables import LabelTable


@dataclass(frozen=True)
class PairCounts:
    """Ordered pairs of different pixels, by the class of the first.

    Args:
        chosen: pairs of one label, the positives; float64.
        chosen_right: those among them of one class.
        refused: pairs of two labels, the negatives.
        refused_right: those among them of two classes.
        alike: pairs of one class.
    """

    chosen: Float[Tensor, " classes"]
    chosen_right: Float[Tensor, " classes"]
    refused: Float[Tensor, " classes"]
    refused_right: Float[Tensor, " classes"]
    alike: Float[Tensor, " classes"]

    def __sub__(self, other: "PairCounts") -> "PairCounts":
        """Return the pairs that are not among others."""
        return PairCounts(
            self.chosen - other.chosen,
            self.chosen_right - other.chosen_right,
            self.refused - other.refused,
            self.refused_right - other.refused_right,
            self.alike - other.alike,
        )

    def measure(self) -> dict[str, float | None]:
        """Return precisions and recall, of all pairs and averaged over the class of the first pixel.

        ``None`` stands for a share of no pairs at all.
        """
        shares = {
            "precision_positive": (self.chosen_right, self.chosen),
            "precision_negative": (self.refused_right, self.refused),
            "recall_positive": (self.chosen_right, self.alike),
        }
        found: dict[str, float | None] = {}
        for name, (part, whole) in shares.items():
            found[name] = float(part.sum() / whole.sum()) if whole.sum() > 0 else None
            has_pairs = whole > 0
            found[f"{name}_balanced"] = float((part / whole)[has_pairs].mean()) if has_pairs.any() else None
        return found


class PixelPairs(NamedTuple):
    """Pairs of pixels of some images.

    Args:
        all: all of them.
        within: those of one image.
        across: those of two images.
    """

    all: PairCounts
    within: PairCounts
    across: PairCounts


class ImagePairs(NamedTuple):
    """Pairs of one pixel in each of two images, for every two; float64. On the diagonal both pixels are in one image.

    Args:
        chosen: of one label.
        chosen_right: of one label and one class.
        refused: of two labels.
        refused_right: of two labels and two classes.
    """

    chosen: Float[Tensor, "images images"]
    chosen_right: Float[Tensor, "images images"]
    refused: Float[Tensor, "images images"]
    refused_right: Float[Tensor, "images images"]

    def measure(self) -> dict[str, float | None]:
        """Return means over pairs of different images, and the share of those that have no positive at all."""
        is_pair = torch.ones_like(self.chosen).triu(1) > 0
        found: dict[str, float | None] = {}
        for name, part, whole in (
            ("precision_positive", self.chosen_right, self.chosen),
            ("precision_negative", self.refused_right, self.refused),
        ):
            used = is_pair & (whole > 0)
            found[name] = float((part / whole)[used].mean()) if used.any() else None
        pairs = int(is_pair.sum())
        found["without_positives"] = float((is_pair & (self.chosen == 0)).sum() / pairs) if pairs else None
        return found


def count_pairs(table: LabelTable) -> PixelPairs:
    """Return the pairs of pixels of all images, of one image, and of two, without going through them.

    Example:
        >>> from auxo.evaluation.label_quality.tables import count_labels
        >>> labels, classes = torch.tensor([[[0, 0]], [[0, 1]]]), torch.tensor([[[0, 0]], [[1, 1]]])
        >>> count_pairs(count_labels(labels, classes, num_classes=2)).across.measure()["precision_positive"]
        0.0
    """
    merged = table.total_labels()
    one = torch.zeros(len(merged), dtype=torch.int64)
    everything = _count_groups(merged, one, merged.sum(0, keepdim=True))
    within = _count_groups(table.counts, table.images, table.total_images())
    return PixelPairs(everything, within, everything - within)


def count_image_pairs(table: LabelTable) -> ImagePairs:
    """Return the pairs of pixels between every two images.

    Cost: ``images ** 2`` times the labels that occur in two images or more, for each class.
    """
    is_shared = table.labels.bincount()[table.labels] > 1
    _, shared = table.labels[is_shared].unique(return_inverse=True)
    number = int(shared.max()) + 1 if len(shared) else 0
    rows, images = table.counts[is_shared], table.images[is_shared]
    totals = table.total_images()
    chosen, right = (totals.new_zeros(table.num_images, table.num_images) for _ in range(2))
    spread = totals.new_zeros(table.num_images, number)
    for column in rows.T:
        own = spread.clone()
        own[images, shared] = column
        right += own @ own.T
    whole = spread.clone()
    whole[images, shared] = rows.sum(1)
    chosen += whole @ whole.T
    sizes = totals.sum(1)
    _count_diagonal(table, chosen, right)
    pairs = sizes[:, None] * sizes - sizes.diag()
    alike = totals @ totals.T - sizes.diag()
    refused = pairs - chosen
    return ImagePairs(chosen, right, refused, refused - (alike - right))


def _count_diagonal(
    table: LabelTable, chosen: Float[Tensor, "images images"], right: Float[Tensor, "images images"]
) -> None:
    """Set the pairs within each image, where a label of that image alone counts, too, and no pixel meets itself."""
    sizes = table.counts.sum(1)
    zeros = chosen.new_zeros(table.num_images)
    chosen.diagonal().copy_(zeros.index_add(0, table.images, sizes * (sizes - 1)))
    right.diagonal().copy_(zeros.index_add(0, table.images, (table.counts * (table.counts - 1)).sum(1)))


def _count_groups(
    rows: Float[Tensor, "rows classes"], groups: Int[Tensor, " rows"], totals: Float[Tensor, "groups classes"]
) -> PairCounts:
    """Return the pairs of pixels within groups.

    Args:
        rows: pixels of each label of each group, by class.
        groups: of the rows.
        totals: pixels of each group, by class.
    """
    sizes, whole, own = rows.sum(1, keepdim=True), totals.sum(1)[groups, None], totals[groups]
    chosen_right = rows * (rows - 1)
    refused = rows * (whole - sizes)
    return PairCounts(
        chosen=(rows * (sizes - 1)).sum(0),
        chosen_right=chosen_right.sum(0),
        refused=refused.sum(0),
        refused_right=(refused - rows * (own - rows)).sum(0),
        alike=(totals * (totals - 1)).sum(0),
    )
