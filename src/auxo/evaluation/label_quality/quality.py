"""All that is said of one labeller, and the table of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Integer
from torch import Tensor

from auxo.errors import DataError
from auxo.evaluation.label_quality.agreement import Agreement, measure_agreement
from auxo.evaluation.label_quality.pairs import count_image_pairs, count_pairs
from auxo.evaluation.label_quality.sampled import SampledPairs, count_sampled_pairs
from auxo.evaluation.label_quality.tables import count_labels
from auxo.evaluation.tables import Table
from auxo.losses import IGNORE
from auxo.pretexts.pixels import Negatives, PixelSampling, Positives
from auxo.random import named_generator

_MISSING = "-"


class DrawingRule(NamedTuple):
    """How training draws pixels.

    Args:
        sampling: how many.
        positives: which pixels of a label are positives.
        negatives: which pixels of other labels are negatives.
        size: rows and columns of the features; ``None`` means those of the image.
        batch_size: images of a batch.
    """

    sampling: PixelSampling = PixelSampling()
    positives: Positives = "all"
    negatives: Negatives = "all"
    size: tuple[int, int] | None = None
    batch_size: int = 16


@dataclass(frozen=True)
class LabelQuality:
    """How good labels are.

    Args:
        drawn: pairs as training draws them.
        across: the same, with positives in other images alone: what only labels that images share have.
        pairs: shares of all pairs of pixels (``all``), of those of one image (``within``) and of two (``across``).
        image_pairs: means over pairs of images.
        agreement: with the classes.
        num_images: that were judged.
    """

    drawn: SampledPairs
    across: SampledPairs
    pairs: Mapping[str, Mapping[str, float | None]]
    image_pairs: Mapping[str, float | None]
    agreement: Agreement
    num_images: int

    @property
    def quality(self) -> float:
        """Q: harmonic mean of the class-balanced precisions of drawn positives and negatives."""
        return self.drawn.quality

    @property
    def cross_quality(self) -> float:
        """Q with positives in other images alone, by which labellers are ordered; 0 where images share no labels."""
        return self.across.quality

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        drawn = {
            name: {
                "quality": each.quality,
                "precision_positive": each.precision_positive,
                "precision_negative": each.precision_negative,
            }
            for name, each in (("drawn", self.drawn), ("drawn_across", self.across))
        }
        return {
            "images": self.num_images,
            "quality": self.quality,
            "cross_quality": self.cross_quality,
            **drawn,
            "pairs": {name: dict(shares) for name, shares in self.pairs.items()},
            "image_pairs": dict(self.image_pairs),
            **self.agreement._asdict(),
        }


def judge_labels(
    labels: Integer[Tensor, "images height width"],
    classes: Integer[Tensor, "images height width"],
    *,
    num_classes: int,
    rule: DrawingRule | None = None,
    seed: int = 0,
    ignore: int = IGNORE,
) -> LabelQuality:
    """Return how good labels are on images whose classes are known.

    Images whose masks the labeller has learned from tell nothing: they are all right there.

    Args:
        labels: of the pixels, -1 where there is none.
        classes: of the pixels.
        num_classes: of the task.
        rule: how training draws pixels; ``None`` means the defaults.
        seed: of the draws.
        ignore: the class of pixels that are unknown.

    Raises:
        DataError: no pixel has both a label and a class.
    """
    table = count_labels(labels, classes, num_classes=num_classes, ignore=ignore)
    if not len(table.counts):
        fix = "judge on other images, or give the labeller a lower margin or confidence"
        raise DataError("pixels that have a label and a class", f"none in {len(labels)} images", fix)
    rule = rule or DrawingRule()

    def draw_pairs(positives: Positives) -> SampledPairs:
        return count_sampled_pairs(
            labels,
            classes,
            num_classes=num_classes,
            sampling=rule.sampling,
            positives=positives,
            negatives=rule.negatives,
            size=rule.size,
            batch_size=rule.batch_size,
            generator=named_generator(seed, "label-quality"),
            ignore=ignore,
        )

    pairs = count_pairs(table)
    return LabelQuality(
        drawn=draw_pairs(rule.positives),
        across=draw_pairs("cross_image"),
        pairs={name: counts.measure() for name, counts in pairs._asdict().items()},
        image_pairs=count_image_pairs(table).measure(),
        agreement=measure_agreement(table),
        num_images=len(labels),
    )


def build_quality_table(qualities: Mapping[str, LabelQuality], *, notes: Sequence[str] = ()) -> Table:
    """Return the table of several labellers, the best first by the quality across images.

    Args:
        qualities: by the name of the labeller.
        notes: sentences on how they came about.
    """
    pairs = ("Prec+ across", "Prec- across", "Rec+ across")
    columns = ("labeller", "labels", "Q across", "Q", *pairs, "purity", "NMI", "ARI", "IoU by majority", "labelled")
    ordered = sorted(qualities.items(), key=lambda item: -item[1].cross_quality)
    lines = []
    for name, found in ordered:
        shares, agreement = found.pairs["across"], found.agreement
        across = [shares[f"{key}_balanced"] for key in ("precision_positive", "precision_negative", "recall_positive")]
        numbers = [found.cross_quality, found.quality, *across]
        numbers += [agreement.purity, agreement.nmi, agreement.adjusted_rand]
        numbers += [agreement.majority_miou, agreement.coverage]
        lines.append((name, f"{agreement.num_labels:,}", *map(_write_share, numbers)))
    caption = (
        "Q: harmonic mean of the precisions of positives and negatives as training draws them, averaged over classes; "
        "across: with positives in other images alone. Prec+, Prec-, Rec+: of all pairs of pixels of two images, "
        "averaged over classes. In percent. Purity and IoU by majority grow with the number of labels."
    )
    return Table(columns, tuple(lines), " ".join([caption, *notes]))


def _write_share(value: float | None) -> str:
    """Return a share in percent."""
    return _MISSING if value is None else f"{round(100 * value, 1) + 0.0:.1f}"  # no minus before nothing
