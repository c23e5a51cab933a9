"""Accuracy, likelihood and calibration of a head, as sums that processes can add up."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.errors import DataError, ShapeError
from auxo.losses import cross_entropy_losses
from auxo.types import Labels

__all__ = ["HeadMetrics", "HeadScores", "ReliabilityBin"]

_NUM_BINS = 15


class HeadScores(NamedTuple):
    """What a head achieved on a set.

    Args:
        n: number of items.
        correct: number of items whose largest logit is that of their label.
        accuracy: ``correct / n``.
        nll: mean negative log-likelihood of the labels, nats.
        calibration_error: expected calibration error over 15 bins, a fraction.
        per_class: accuracy on the items of each class; ``None`` for a class without items.
    """

    n: int
    correct: int
    accuracy: float
    nll: float
    calibration_error: float
    per_class: tuple[float | None, ...]


class ReliabilityBin(NamedTuple):
    """The items of one range of confidence.

    Args:
        low: lower end of the range; the bin of confidences of exactly one begins and ends there.
        high: upper end, which belongs to the next bin.
        n: number of items, >= 1.
        confidence: their mean confidence.
        accuracy: the fraction of them that was right.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class HeadMetrics:
    """Sums over batches from which a head's scores follow; all of them stay on the device.

    Counts, likelihood and calibration are plain sums, so the scores of a set shared out over processes equal the
    scores of the whole. Sums are float64 (float32 on devices without it).

    The expected calibration error is ``sum_b (n_b / n) |accuracy_b - confidence_b|``, where the confidence is the
    largest softmax probability and bin ``b`` of 15 holds the confidences in ``[b/15, (b+1)/15)``. As in torchmetrics'
    ``MulticlassCalibrationError`` with the norm ``l1``, confidences are float32 and those of exactly one have a
    sixteenth bin. (torchmetrics keeps every confidence and merges processes by itself; sums need neither.)

    Source: Naeini, Cooper, Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; Guo,
        Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017, Eq. 3
        (https://arxiv.org/abs/1706.04599).

    Args:
        num_outputs: number of classes.
        device: where the logits are.

    Example:
        >>> metrics = HeadMetrics(2, torch.device("cpu"))
        >>> metrics.update(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
        >>> metrics.compute().per_class
        (1.0, 0.0)
    """

    def __init__(self, num_outputs: int, device: torch.device) -> None:
        dtype = torch.float32 if device.type == "mps" else torch.float64
        bins = _NUM_BINS + 1
        self._sizes = (num_outputs, num_outputs, 1, bins, bins, bins)
        self._sums = torch.zeros(sum(self._sizes), dtype=dtype, device=device)
        self._boundaries = torch.linspace(0, 1, bins, device=device)

    def update(self, logits: Float[Tensor, "batch outputs"], targets: Labels) -> None:
        """Add a batch; nothing is copied to the host.

        Args:
            logits: shape ``(batch, num_outputs)``; the scores before the softmax.
            targets: shape ``(batch,)``; int64 in ``0..num_outputs-1``.

        Raises:
            ShapeError: the logits have another number of outputs.
        """
        if logits.shape[1] != self._sizes[0]:
            raise ShapeError(
                f"logits of shape (batch, {self._sizes[0]})", str(tuple(logits.shape)), "give the head's own logits"
            )
        if logits.dtype.itemsize < 4:
            logits = logits.float()
        seen, hits, nll, counts, confidences, accuracies = self._sums.split(self._sizes)
        correct = (logits.argmax(1) == targets).to(self._sums.dtype)
        seen.index_add_(0, targets, torch.ones_like(correct))
        hits.index_add_(0, targets, correct)
        nll += cross_entropy_losses(logits, targets).sum(dtype=self._sums.dtype)
        confidence = logits.softmax(1).amax(1).float()
        bins = torch.bucketize(confidence, self._boundaries, right=True) - 1
        counts.index_add_(0, bins, torch.ones_like(correct))
        confidences.index_add_(0, bins, confidence.to(self._sums.dtype))
        accuracies.index_add_(0, bins, correct)

    def merge(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Replace the sums by those over all processes.

        Args:
            sum_over_processes: returns the sum of a one-dimensional tensor over the processes; every process must call
                it for the same heads in the same order. It may be off by rounding, as a mean times a number is.
        """
        self._sums = sum_over_processes(self._sums)

    def compute(self) -> HeadScores:
        """Return the scores so far; the only copy to the host.

        Raises:
            DataError: no item was added.
        """
        seen, hits, nll, counts, confidences, accuracies = self._totals()
        n, correct = round(sum(seen)), round(sum(hits))
        if n == 0:
            raise DataError("at least one item to measure", "none", "give a set that is not empty")
        gaps = (abs(a - c) for k, c, a in zip(counts, confidences, accuracies, strict=True) if k > 0.5)
        return HeadScores(
            n=n,
            correct=correct,
            accuracy=correct / n,
            nll=nll[0] / n,
            calibration_error=sum(gaps) / n,
            per_class=tuple(round(h) / round(s) if s > 0.5 else None for s, h in zip(seen, hits, strict=True)),
        )

    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Return the bins of the calibration error that have items, in the order of their confidence."""
        *_, counts, confidences, accuracies = self._totals()
        edges = [*self._boundaries.tolist(), 1.0]
        return tuple(
            ReliabilityBin(edges[place], edges[place + 1], round(count), confidences[place] / count, hits / count)
            for place, (count, hits) in enumerate(zip(counts, accuracies, strict=True))
            if count > 0.5
        )

    def _totals(self) -> list[list[float]]:
        """Return the sums by kind, on the host."""
        return [part.tolist() for part in self._sums.split(self._sizes)]
