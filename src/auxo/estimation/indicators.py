"""What a trained model says of images, one number per image, from which its measure on them may follow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auxo.errors import ConfigError, NonFiniteError
from auxo.estimation.transport import transport_confidence
from auxo.evaluation import Reader
from auxo.interfaces import AbstractMethod, PretextHead
from auxo.pretexts.rotation import Rotation
from auxo.types import Images

FEATURES = ("rotation", "confidence", "atc_confidence", "atc_entropy", "agreement", "cot")
"""The features of a set, each the mean of a number per image."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Indicators:
    """What a model says of images that indicates how well it does on them, without their targets.

    Args:
        confidence: shape ``(n,)``; the largest softmax probability of the head to be used.
        negative_entropy: shape ``(n,)``; minus the entropy of its softmax probabilities in nats, <= 0.
        agreement: shape ``(n,)``; 1 where the second class head predicts the same class, else 0; ``None`` where there
            is no second head.
        rotation: shape ``(n,)``; the part of the four quarter turns that was told, in [0, 1]; ``None`` where no head
            tells them.
        transport: shape ``(n,)``; probability of the class that each image is given where classes have the proportions
            of training, from :func:`auxo.estimation.transport_confidence`; ``None`` where those are not known.
        values: shape ``(n,)``; the task's primary measure of every image alone, in [0, 1]; ``None`` where their targets
            are not known.
    """

    confidence: Floats
    negative_entropy: Floats
    agreement: Floats | None = None
    rotation: Floats | None = None
    transport: Floats | None = None
    values: Floats | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def known_values(self) -> Floats:
        """The measure of every image.

        Raises:
            ValueError: the targets of the images are not known.
        """
        if self.values is None:
            raise ValueError("expected indicators of images whose targets are known, got others: pass targets")
        return self.values

    def features(self, thresholds: "Thresholds") -> dict[str, Floats]:
        """Return the features by name, one number in [0, 1] per image; the mean over a set is the set's."""
        found = {
            "rotation": self.rotation,
            "confidence": self.confidence,
            "atc_confidence": (self.confidence >= thresholds.confidence).astype(np.float64),
            "atc_entropy": (self.negative_entropy >= thresholds.negative_entropy).astype(np.float64),
            "agreement": self.agreement,
            "cot": self.transport,
        }
        return {name: values for name in FEATURES if (values := found[name]) is not None}


class Thresholds(NamedTuple):
    """Scores above which as many validation images lie as were told rightly.

    Args:
        confidence: of the largest softmax probability.
        negative_entropy: of minus the entropy, nats.
    """

    confidence: float
    negative_entropy: float


def threshold_of(scores: Floats, num_correct: int) -> float:
    """Return the score that ``num_correct`` of the scores reach.

    Where several scores equal it, more do. Nothing reaches the infinite threshold of no correct answer.

    Source: Garg, Balakrishnan, Lipton, Neyshabur, Sedghi, Leveraging Unlabeled Data to Predict Out-of-Distribution
        Performance, ICLR 2022, Eq. 1 (https://arxiv.org/abs/2201.04234).

    Args:
        scores: shape ``(n,)``; of validation images, larger for surer answers.
        num_correct: how many of their answers were right, in ``0..n``.

    Example:
        >>> threshold_of(np.array([0.9, 0.5, 0.7, 0.6]), 3)
        0.6
    """
    return float(np.sort(scores)[::-1][num_correct - 1]) if num_correct else float("inf")


def fit_thresholds(found: Indicators) -> Thresholds:
    """Return the thresholds of images whose targets are known, from validation."""
    num_correct = round(float(found.known_values.sum()))
    return Thresholds(threshold_of(found.confidence, num_correct), threshold_of(found.negative_entropy, num_correct))


def rotation_head(method: AbstractMethod) -> PretextHead | None:
    """Return the head that tells by how many quarter turns a whole image was rotated, if there is one."""
    heads = method.pretext_heads().values()
    return next((head for head in heads if isinstance(head.pretext, Rotation)), None)


def read_indicators(
    reader: Reader, images: Tensor, *, name: str, targets: Mapping[str, Tensor] | None = None
) -> Indicators:
    """Return what a model says of images.

    Args:
        reader: of the model: its first head is the one that predicts, its second the one that may agree.
        images: at least one; uint8 of shape ``(n, channels, height, width)``. Forward passes have the reader's batch
            size; rotation takes a pass of four times as many.
        name: of the set, for messages.
        targets: of the images, where they are known.

    Raises:
        ConfigError: targets are given, and the task's primary measure is no mean over images.
        NonFiniteError: a logit is not a finite number.
    """
    chunks = torch.arange(len(images)).split(reader.batch_size)
    known = (None if targets is None else {key: values[chunk] for key, values in targets.items()} for chunk in chunks)
    return read_chunks(reader, zip((images[chunk] for chunk in chunks), known, strict=True), name=name)


def read_chunks(
    reader: Reader, chunks: Iterable[tuple[Tensor, Mapping[str, Tensor] | None]], *, name: str
) -> Indicators:
    """Return :func:`read_indicators` of images that come a forward pass at a time, with their targets or without."""
    head = rotation_head(reader.method)
    parts: dict[str, list[Tensor]] = {}
    with reader.reading():
        for pixels, targets in chunks:
            for key, values in _score_images(reader, head, reader.inputs(pixels), targets, name).items():
                parts.setdefault(key, []).append(values.cpu())
    found = {key: torch.cat(values).double().numpy() for key, values in parts.items()}
    probs, counts = found.pop("probs"), reader.task.train_counts
    if sum(counts):
        found["transport"] = transport_confidence(probs, counts)
    return Indicators(**found)


def _score_images(
    reader: Reader, head: PretextHead | None, images: Images, targets: Mapping[str, Tensor] | None, name: str
) -> dict[str, Tensor]:
    """Return the indicators of one chunk, each of shape ``(n,)``, and the softmax probabilities that they come from."""
    with reader.runtime.autocast():
        first, *others = reader.method.head_logits(images).values()
    log_probs = first.float().log_softmax(1)
    if not log_probs.isfinite().all():
        fix = "the weights have diverged; train again with a lower learning rate"
        raise NonFiniteError(f"finite logits on {name}", "some that are not", fix)
    probs, predicted = log_probs.exp(), log_probs.argmax(1)
    found = {"probs": probs, "confidence": probs.amax(1), "negative_entropy": (probs * log_probs).sum(1)}
    if targets is not None:
        found["values"] = _measure_images(reader, first, targets)
    if others:
        found["agreement"] = (others[0].argmax(1) == predicted).float()
    if head is not None:
        made = head.pretext.make_all(images)
        with reader.runtime.autocast():
            told = head.answer(made.inputs).argmax(1)
        is_right = (told == made.targets).float()
        found["rotation"] = torch.zeros(len(images), device=images.device).index_add_(0, made.sources, is_right) / 4
    return found


def _measure_images(reader: Reader, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the task's primary measure of every image alone."""
    task = reader.task
    own = {key: values.to(outputs.device) for key, values in targets.items()}
    values = task.image_values(task.score(outputs, own))
    if values is None:
        expected = "a task whose primary measure is a mean over images, for estimation"
        got = f"{task.primary} of {type(task).__name__}"
        raise ConfigError(expected, got, "let its image_values return the measure of every image")
    return values
