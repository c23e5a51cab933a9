"""Images beside their right and their given answers, where answers are images: the worst, the middle and the best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.errors import ConfigError, DataError, NonFiniteError
from auxo.explain.attention import choose_map, enlarge_map
from auxo.explain.grad_cam import grad_cam
from auxo.explain.subject import Inputs, Subject
from auxo.tasks import Answer, Scores

KINDS = ("worst", "middle", "best")
"""Which images are shown, by how well each alone was answered."""


class Ranked(NamedTuple):
    """Images to be shown.

    Args:
        kind: one of ``KINDS``.
        indices: shape ``(n,)``; int64 positions in the set.
    """

    kind: str
    indices: Int[Tensor, " n"]


@dataclass(frozen=True)
class ShownAnswer:
    """An image with its answers.

    Args:
        kind: one of ``KINDS``.
        index: position in the set.
        image: where it is from.
        value: the primary measure on it alone.
        said: the same for a line of text.
        parts: the same of each class that it or its answer has.
        pixels: of the image.
        truth: the right answer, in colours.
        answer: the given answer, in colours.
        doubt: entropy of the probabilities of the classes over its largest possible value, in [0, 1]; ``None`` where
            outputs are quantities.
        explained: the class whose evidence is shown; empty where none is.
        evidence: for that class, in [0, 1], the most in this image being 1; ``None`` likewise.
    """

    kind: str
    index: int
    image: str
    value: float
    said: str
    parts: dict[str, float]
    pixels: UInt8[np.ndarray, "channels height width"]
    truth: UInt8[np.ndarray, "height width 3"]
    answer: UInt8[np.ndarray, "height width 3"]
    doubt: Float[np.ndarray, "height width"] | None
    explained: str = ""
    evidence: Float[np.ndarray, "height width"] | None = None

    def to_row(self, split: str, measure: str) -> dict[str, Any]:
        """Return the numbers as JSON has them."""
        numbers: dict[str, Any] = {} if self.doubt is None else {"doubt": float(self.doubt.mean())}
        numbers |= {"explained": self.explained} if self.explained else {}
        about = {"kind": "image", "split": split, "index": self.index, "image": self.image, "shown": self.kind}
        return {**about, measure: self.value, "parts": self.parts, **numbers}


def check_drawn(subject: Subject) -> None:
    """Refuse a task whose right answers are not drawn.

    Raises:
        ConfigError: they are not.
    """
    task = subject.reader.task
    if task.draw_targets(subject.source.fetch_targets(torch.tensor([0]))) is None:
        got, fix = type(task).__name__, "override draw_targets and rank_images of the task"
        raise ConfigError("a task of one class per image for explanations, or one whose answers are drawn", got, fix)


def score_images(subject: Subject) -> Scores:
    """Return what the task keeps of every image of the set, float64 on the CPU.

    Raises:
        NonFiniteError: an output is not a finite number.
    """
    task, found = subject.reader.task, []
    for inputs in subject.inputs(torch.arange(len(subject.source))):
        outputs, targets = _answer_batch(subject, inputs)
        found.append(task.score(outputs, targets))
    return {name: torch.cat([each[name] for each in found]).double() for name in found[0]}


def rank_answers(subject: Subject, scores: Scores, *, num_images: int) -> list[Ranked]:
    """Return the images that were answered worst, as most are, and best, so many of each at most.

    Args:
        subject: the model and the images.
        scores: of all images of the set.
        num_images: of each kind, >= 1.

    Raises:
        ConfigError: the task says nothing of single images.
        DataError: no image of the set has a value.
    """
    values = subject.reader.task.rank_images(scores)
    if values is None:
        fix = "override rank_images of the task"
        raise ConfigError("a task that ranks images", type(subject.reader.task).__name__, fix)
    order = values.argsort(stable=True)[: int(values.isfinite().sum())]  # NaN comes last: nothing to answer there
    if not len(order):
        raise DataError(f"an image of {subject.split} with a right answer", "none", "name another set")
    count = min(num_images, len(order) // len(KINDS)) or 1
    middle = (len(order) - count) // 2
    parts = (order[:count], order[middle : middle + count], order[-count:].flip(0))
    found: list[Ranked] = []
    for kind, indices in zip(KINDS, parts, strict=True):
        seen = {index for each in found for index in each.indices.tolist()}
        fresh = [index for index in indices.tolist() if index not in seen]  # of a set with fewer than three images
        if fresh:
            found.append(Ranked(kind, torch.tensor(fresh)))
    return found


def show_answers(subject: Subject, ranked: Sequence[Ranked], scores: Scores) -> list[ShownAnswer]:
    """Return images with their answers, kind after kind.

    Args:
        subject: the model and the images.
        ranked: which images.
        scores: of all images of the set.

    Raises:
        ConfigError: answers of the task are no images, or its right answers are not drawn.
        NonFiniteError: an output is not a finite number.
    """
    check_drawn(subject)
    return [
        shown
        for kind, indices in ranked
        for inputs in subject.inputs(indices)
        for shown in _show_batch(subject, inputs, kind, scores)
    ]


def find_evidence(
    subject: Subject, shown: Sequence[ShownAnswer], *, layer: str | None, classes: Sequence[str] = ()
) -> list[ShownAnswer]:
    """Return images with where the evidence for one class of their answers lies, by Grad-CAM.

    That is the first of the classes that are named which the image or its answer has; by default the one of all that
    these have with the lowest value.

    Args:
        subject: the model and the images.
        shown: images with their answers.
        layer: name of a map, see :func:`auxo.explain.choose_layer`.
        classes: names.

    Raises:
        ConfigError: the backbone has no such layer, or the prediction does not depend on it.
    """
    names = subject.reader.task.targets[0].names
    name, _ = choose_map(subject, layer)
    found = []
    for each in shown:
        named = [own for own in classes if own in each.parts]
        explained = named[0] if named else min(each.parts, key=lambda own: each.parts[own])
        inputs = next(subject.inputs(torch.tensor([each.index])))
        number = torch.tensor([names.index(explained)], device=subject.runtime.device)
        raw = grad_cam(subject.model.method, inputs.images, layer=name, classes=number).float().cpu()[0]
        height, width = (int(side) for side in inputs.pixels.shape[2:])
        covered = subject.model.method.predicting_backbone.map_size(name, height=height, width=width)
        relative = raw / raw.max().clamp(min=torch.finfo(raw.dtype).tiny)
        evidence = enlarge_map(relative, covered, (height, width)).numpy()
        found.append(replace(each, explained=explained, evidence=evidence))
    return found


def _show_batch(subject: Subject, inputs: Inputs, kind: str, scores: Scores) -> list[ShownAnswer]:
    """Return the images of a batch with their answers."""
    task = subject.reader.task
    outputs, targets = _answer_batch(subject, inputs)
    truths, answers = task.draw_targets(targets) or (), [_paint_answer(answer) for answer in task.answers(outputs)]
    doubts = _measure_doubt(outputs) if task.targets[0].names else None
    found = []
    for place, index in enumerate(inputs.indices.tolist()):
        own = task.measure({name: values[index : index + 1] for name, values in scores.items()}, {})
        parts = next(iter(own.parts.values()), {})
        found.append(
            ShownAnswer(
                kind=kind,
                index=index,
                image=subject.source.describe(index),
                value=own.measures[task.primary].value,
                said=own.measures[task.primary].describe(),
                parts={name: part.value for name, part in parts.items() if part.value is not None},
                pixels=inputs.pixels[place].numpy(),
                truth=truths[place],
                answer=answers[place],
                doubt=None if doubts is None else doubts[place].numpy(),
            )
        )
    return found


def _answer_batch(subject: Subject, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the outputs for a batch of images and their targets, on the CPU."""
    with torch.no_grad():
        outputs = subject.model.method.predict(inputs.images).float().cpu()
    if not outputs.isfinite().all():
        fix = "the weights have diverged; train again with a lower learning rate"
        raise NonFiniteError(f"finite outputs on {subject.split}", "some that are not", fix)
    return outputs, subject.source.fetch_targets(inputs.indices)


def _paint_answer(answer: Answer) -> UInt8[np.ndarray, "height width 3"]:
    """Return an answer in colours.

    Raises:
        ConfigError: it is no image.
    """
    painted = answer.paint()
    if painted is None:
        raise ConfigError("answers that are images", "one that is none", "override answers of the task")
    return painted


def _measure_doubt(logits: Float[Tensor, "n classes height width"]) -> Float[Tensor, "n height width"]:
    """Return the entropy of the softmax over classes, over that of guessing."""
    logs = logits.log_softmax(1)
    return (-(logs.exp() * logs).sum(1) / log(logits.shape[1])).clamp(0, 1)
