"""Classes: every image is of one of a fixed number, told by the column ``label``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.errors import DataError
from auxo.losses import cross_entropy_losses
from auxo.options import LATER
from auxo.tasks._answers import (
    ANSWERS_MEASURE,
    count_confusion,
    find_reliability,
    measure_answers,
    part_answers,
    part_by,
    score_answers,
)
from auxo.tasks._found import Answer, Measure, Measured, Reliability
from auxo.tasks._interface import AbstractTask, Scores, Source, Target
from auxo.tasks._intervals import auroc_interval, bootstrap_weighted, clustered_proportion
from auxo.tasks._weighted import auroc_of_weighted, weighted_auroc
from auxo.types import LABEL, Column, Losses

SOURCE = (
    "Calibration error: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (arXiv 1706.04599). "
    "Worst group: Sagawa et al., Distributionally Robust Neural Networks, ICLR 2020 (arXiv 1911.08731)."
)

_FEWEST_OF_A_CELL = 10
_BY_CLASS = "class"
_MARGIN = "margin"


@dataclass(frozen=True)
class Classification(AbstractTask):
    """Which class an image is of.

    Measures: ``accuracy`` with Wilson's interval; ``nll``, the mean negative log-likelihood of the right class;
    ``ece``, the expected calibration error; of two classes also ``auroc`` and ``average_precision``, the second class
    being the positive one; and for every further column ``worst_group/COLUMN``: the smallest accuracy on the images of
    one class and one value of the column, over those cells that have at least ten images. Where the images come in
    blocks that go together, intervals are of whole blocks: Wilson's with an effective number of images, and of the area
    the bootstrap over blocks.

    Args:
        class_names: one name per class, in the order of the labels.
        channels: colour channels of an image.
        height: pixels.
        width: pixels.
        class_counts: training images of each class; empty where they are not known.
        blocks: column whose equal values mark images that are not independent; empty where all are.
        label_smoothing: part of each label that is shared out among all classes in :meth:`losses`, in [0, 1).
    """

    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    class_counts: tuple[int, ...] = ()
    blocks: str = ""
    label_smoothing: float = field(default=0.0, metadata=LATER)

    primary: ClassVar[str] = ANSWERS_MEASURE
    hub_tag: ClassVar[str] = "image-classification"

    @classmethod
    def from_source(cls, source: Source) -> "Classification":
        """Return the classes of a source, with the number of its images of each."""
        column = source.columns.get(LABEL)
        if column is None or not column.names:
            got = f"'{source.name}' without a column '{LABEL}'"
            raise DataError("images with classes", got, "give labels, or choose another task with --task.name")
        names, counts = column.names, column.values.bincount(minlength=len(column.names))
        return cls(names, *source.image_shape, class_counts=tuple(counts.tolist()), blocks=source.blocks)

    @classmethod
    def check_source(cls, source: Source) -> None:
        """Refuse training images of fewer than two classes, or with a class that has none."""
        names = source.vocabulary.get(LABEL, ())
        if len(names) < 2:
            got = f"only {list(names)} in '{source.name}'"
            raise DataError("training images of at least two classes", got, "add another class")
        counts = source.columns[LABEL].values.bincount(minlength=len(names)).tolist()
        absent = [name for name, count in zip(names, counts, strict=True) if not count]
        if absent:
            more = f" ({len(absent)} such classes)" if absent[1:] else ""
            raise DataError(
                f"training images of all {len(names)} classes",
                f"none of '{absent[0]}' in '{source.name}'{more}",
                "add images, raise --data.num-train, or leave the class out",
            )

    @classmethod
    def strata(cls, source: Source) -> Column | None:
        """Return the classes: a part of a set has the class proportions of the whole."""
        return source.columns.get(LABEL)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The column ``label``."""
        return (Target(LABEL, self.class_names),)

    @property
    def num_outputs(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def chance(self) -> float | None:
        """One in as many as there are classes."""
        return 1 / len(self.class_names)

    def describe(self) -> str:
        """Return what the network does."""
        return f"An image classifier: it gives one of {self.num_outputs} classes to an image."

    @property
    def train_counts(self) -> tuple[int, ...]:
        """Training images of each class."""
        return self.class_counts

    def losses(self, outputs: Float[Tensor, "n classes"], targets: Mapping[str, Tensor]) -> Losses:
        """Return the cross-entropy of every image with its label, smoothed if asked, nats, shape ``(n,)``."""
        return cross_entropy_losses(outputs, self._find_right(targets), smoothing=self.label_smoothing)

    def with_smoothing(self, label_smoothing: float) -> "Classification":
        """Return the same task whose losses are those of smoothed labels."""
        return replace(self, label_smoothing=label_smoothing)

    def score(self, outputs: Float[Tensor, "n classes"], targets: Mapping[str, Tensor]) -> Scores:
        """Return right and given class, negative log-likelihood and confidence; of two classes also their margin."""
        scores = score_answers(outputs, self._find_right(targets), num_outputs=self.num_outputs)
        if self.num_outputs != 2:
            return scores
        wide = (outputs if outputs.dtype.itemsize >= 4 else outputs.float()).detach()  # half has few different margins
        return {**scores, _MARGIN: wide[:, 1] - wide[:, 0]}

    def measure(self, scores: Scores, columns: Mapping[str, Column]) -> Measured:
        """Return accuracy, likelihood and calibration, and accuracies by class and by group."""
        block = columns.get(self.blocks) if self.blocks else None
        clusters = None if block is None else block.values
        measures = measure_answers(scores, clusters)
        parts = {_BY_CLASS: part_answers(scores, self.class_names)}
        notes: list[str] = []
        if _MARGIN in scores:
            measures |= _rank_measures(scores, clusters)
        for name, column in columns.items():
            cut = f"{name} (column)" if name == _BY_CLASS else name
            parts[cut] = part_by(scores, column.values, column.names)
            if name == self.blocks:  # which are many and small: the worst of them is the unluckiest
                continue
            worst, small = self._find_worst_group(scores, column, clusters)
            if worst is not None:
                measures[f"worst_group/{name}"] = worst
            if small:
                left_out = "left out of the worst group for fewer than ten images"
                notes.append(f"{left_out}: {', '.join(small)} ({name})")
        if clusters is not None:
            notes.append(f"intervals are of whole blocks of images, {len(clusters.unique())} by {self.blocks}")
        return Measured(measures, parts, tuple(notes))

    def answer_columns(self) -> tuple[str, ...]:
        """Return the heads of the columns: the class, its probability, and the probability of every class."""
        return ("prediction", "probability", *(f"p({name})" for name in self.class_names))

    def answers(self, outputs: Float[Tensor, "n classes"]) -> list[Answer]:
        """Return the most probable class of every image with the probabilities of all."""
        answers = []
        for probs in outputs.float().softmax(1).cpu():
            best = int(probs.argmax())
            values = [f"{value:.6f}" for value in probs.tolist()]
            answers.append(Answer((self.class_names[best], values[best], *values)))
        return answers

    def rank_answers(self, outputs: Float[Tensor, "n classes"], count: int) -> list[tuple[tuple[str, float], ...]]:
        """Return the most probable classes of every image with their probabilities."""
        best = outputs.float().softmax(1).topk(min(count, len(self.class_names)))
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [tuple((self.class_names[i], p) for i, p in zip(*row, strict=True)) for row in rows]

    def worsened(self, clean: Tensor, changed: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Return for each image the logits that are wrong where only one is, else those of the lower likelihood."""
        right = self._find_right(targets)
        is_wrong, is_other_wrong = clean.argmax(1) != right, changed.argmax(1) != right
        is_less_likely = cross_entropy_losses(changed, right) > cross_entropy_losses(clean, right)
        takes_changed = (is_other_wrong & ~is_wrong) | ((is_other_wrong == is_wrong) & is_less_likely)
        return torch.where(takes_changed[:, None], changed, clean)

    def image_values(self, scores: Scores) -> Float[Tensor, " n"] | None:
        """Return 1 for images that were told right, else 0: their mean is the accuracy."""
        return (scores["right"] == scores["given"]).double()

    def measure_weighted(
        self, scores: Scores, weights: Float[Tensor, " n"], *, cells: Int[Tensor, " n"]
    ) -> Mapping[str, Measure]:
        """Return the accuracy, and of two classes that both have weight the area under the ROC curve."""
        found = dict(super().measure_weighted(scores, weights, cells=cells))
        if _MARGIN in scores:
            area, ends = auroc_of_weighted(scores[_MARGIN], scores["right"] == 1, weights, cells=cells)
            if isfinite(area):
                found["auroc"] = Measure(area, *(ends or (None, None)))
        return found

    def confusion(self, scores: Scores) -> Int[np.ndarray, "classes classes"] | None:
        """Return the images of each class, by row, that were given each class, by column."""
        return count_confusion(scores, self.num_outputs)

    def reliability(self, scores: Scores) -> tuple[Reliability, ...]:
        """Return the bins of the calibration error that have images."""
        return find_reliability(scores)

    def _find_right(self, targets: Mapping[str, Tensor]) -> Tensor:
        """Return the class of every image."""
        return targets[self.targets[0].name]

    def _find_worst_group(
        self, scores: Scores, column: Column, clusters: Int[Tensor, " n"] | None
    ) -> tuple[Measure | None, list[str]]:
        """Return the smallest accuracy over class and column, with the interval of its cell, and the cells left out."""
        names = [f"{label}/{group}" for label in self.class_names for group in column.names]
        numbers = scores["right"].long() * len(column.names) + column.values
        cells = list(part_by(scores, numbers, [str(k) for k in range(len(names))]).values())  # names may be equal
        pairs = zip(names, cells, strict=True)
        small = [f"{name} ({part.n})" for name, part in pairs if 0 < part.n < _FEWEST_OF_A_CELL]
        found = [number for number, part in enumerate(cells) if part.n >= _FEWEST_OF_A_CELL]
        if not found:
            return None, small
        worst = min(found, key=lambda number: cells[number].value or 0.0)
        members = numbers == worst
        is_right = (scores["right"] == scores["given"])[members]
        interval = clustered_proportion(is_right, None if clusters is None else clusters[members])
        return Measure(cells[worst].value or 0.0, interval.low, interval.high), small


def _rank_measures(scores: Scores, clusters: Int[Tensor, " n"] | None) -> dict[str, Measure]:
    """Return what the order of two classes' margins says; nothing where the set has images of one class only."""
    is_positive, margins = scores["right"] == 1, scores[_MARGIN]
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return {}
    from sklearn.metrics import average_precision_score, roc_auc_score

    pair = is_positive.numpy(), margins.numpy()
    auroc = float(roc_auc_score(*pair))
    ends: tuple[float | None, float | None] = (None, None)  # of no width at 0 and 1
    if 0 < auroc < 1 and clusters is None:
        ends = auroc_interval(auroc, positives, negatives)
    elif 0 < auroc < 1 and clusters is not None:
        _, numbers = clusters.unique(return_inverse=True)
        blocks = torch.ones(int(numbers.max()) + 1, dtype=torch.float64)
        ends = bootstrap_weighted(
            lambda times: weighted_auroc(margins, is_positive, times[:, numbers]),
            blocks,
            cells=torch.zeros(len(blocks), dtype=torch.int64),
        )
    return {
        "auroc": Measure(auroc, *ends),
        "average_precision": Measure(float(average_precision_score(*pair))),
    }
