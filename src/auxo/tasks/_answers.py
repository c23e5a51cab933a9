"""Right and wrong answers among a fixed number: what is kept of each, and what they add up to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.errors import DataError, NonFiniteError, ShapeError
from auxo.losses import cross_entropy_losses
from auxo.tasks._found import Measure, Part, Reliability
from auxo.tasks._interface import Scores
from auxo.tasks._intervals import clustered_proportion
from auxo.types import Labels

ANSWERS_MEASURE = "accuracy"
"""Name of the measure of answers that decides."""

_NUM_BINS = 15


def score_answers(logits: Float[Tensor, "n outputs"], targets: Labels, *, num_outputs: int) -> Scores:
    """Return what is kept of every item: right answer, given answer, negative log-likelihood, confidence.

    Args:
        logits: shape ``(n, num_outputs)``; the scores before the softmax.
        targets: shape ``(n,)``; int64 in ``0..num_outputs-1``.
        num_outputs: number of answers.

    Raises:
        ShapeError: the logits have another number of outputs.
    """
    if logits.ndim != 2 or logits.shape[1] != num_outputs:
        expected, got = f"logits of shape (batch, {num_outputs})", str(tuple(logits.shape))
        raise ShapeError(expected, got, "give the head's own logits")
    logits = (logits if logits.dtype.itemsize >= 4 else logits.float()).detach()
    return {
        "right": targets,
        "given": logits.argmax(1),
        "nll": cross_entropy_losses(logits, targets),
        "confidence": logits.softmax(1).amax(1).float(),
    }


class AnswerSums(NamedTuple):
    """What answers add up to.

    Args:
        n: number of items.
        correct: number of items that were answered right.
        nll: mean negative log-likelihood of the right answers, nats.
        calibration_error: expected calibration error over 15 bins, a fraction.
    """

    n: int
    correct: int
    nll: float
    calibration_error: float


def sum_answers(scores: Scores) -> AnswerSums:
    """Return what the kept numbers of :func:`score_answers` add up to.

    The expected calibration error is ``sum_b (n_b / n) |accuracy_b - confidence_b|``, where the confidence is the
    largest softmax probability and bin ``b`` of 15 holds the confidences in ``[b/15, (b+1)/15)``. As in torchmetrics'
    ``MulticlassCalibrationError`` with the norm ``l1``, confidences are float32 and those of exactly one have a
    sixteenth bin.

    Source: Naeini, Cooper, Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; Guo,
        Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017, Eq. 3
        (https://arxiv.org/abs/1706.04599).

    Raises:
        DataError: there is no item.
    """
    is_right = _is_right(scores)
    if not len(is_right):
        raise DataError("at least one item to measure", "none", "give a set that is not empty")
    error = calibration_error(find_reliability(scores))
    return AnswerSums(len(is_right), int(is_right.sum()), float(scores["nll"].double().mean()), error)


def calibration_error(bins: Sequence[Reliability]) -> float:
    """Return the mean distance of confidence and accuracy over the items of some bins, at least one."""
    return sum(part.n * abs(part.accuracy - part.confidence) for part in bins) / sum(part.n for part in bins)


def find_reliability(scores: Scores) -> tuple[Reliability, ...]:
    """Return the bins of the calibration error that have items, in the order of their confidence."""
    boundaries = torch.linspace(0, 1, _NUM_BINS + 1)
    confidence, is_right = scores["confidence"].float(), _is_right(scores)
    places = torch.bucketize(confidence, boundaries, right=True) - 1
    edges = [*boundaries.tolist(), 1.0]
    found = []
    for place in places.unique().tolist():
        members = places == place
        means = float(confidence[members].double().mean()), float(is_right[members].double().mean())
        found.append(Reliability(edges[place], edges[place + 1], int(members.sum()), *means))
    return tuple(found)


def measure_answers(scores: Scores, clusters: Int[Tensor, " n"] | None = None) -> dict[str, Measure]:
    """Return accuracy with its Wilson interval, negative log-likelihood and calibration error.

    Args:
        scores: from :func:`score_answers`, of all items.
        clusters: shape ``(n,)``; number of each item's cluster, whose items go together; ``None`` where all are
            independent.

    Raises:
        NonFiniteError: the logits were not all finite.
    """
    sums = sum_answers(scores)
    if not np.isfinite(sums.nll):
        raise NonFiniteError(
            "finite logits",
            f"a mean negative log-likelihood of {sums.nll}",
            "the weights have diverged; go back to the last good checkpoint and lower the learning rate",
        )
    interval = clustered_proportion(_is_right(scores), clusters)
    return {
        ANSWERS_MEASURE: Measure(sums.correct / sums.n, interval.low, interval.high),
        "nll": Measure(sums.nll, unit="nats", higher_is_better=False),
        "ece": Measure(sums.calibration_error, higher_is_better=False, has_mean=False),
    }


def part_by(scores: Scores, numbers: Int[Tensor, " n"], names: Sequence[str]) -> Mapping[str, Part]:
    """Return the accuracy on each part of the items.

    Args:
        scores: from :func:`score_answers`.
        numbers: shape ``(n,)``; the part that each item is of, a position in ``names``.
        names: of the parts.
    """
    counts = numbers.bincount(minlength=len(names))
    hits = numbers[_is_right(scores)].bincount(minlength=len(names))
    pairs = zip(names, counts.tolist(), hits.tolist(), strict=True)
    return {name: Part(n, hit / n if n else None) for name, n, hit in pairs}


def part_answers(scores: Scores, names: Sequence[str]) -> Mapping[str, Part]:
    """Return the accuracy on the items of each right answer, by the names of the answers."""
    return part_by(scores, scores["right"].long(), names)


def count_confusion(scores: Scores, num_outputs: int) -> Int[np.ndarray, "answers answers"]:
    """Return how often each right answer, by row, was given as each answer, by column."""
    cells = scores["right"].long() * num_outputs + scores["given"].long()
    return cells.bincount(minlength=num_outputs**2).view(num_outputs, num_outputs).numpy()


def _is_right(scores: Scores) -> Tensor:
    """Return which items were answered right."""
    return scores["right"] == scores["given"]
