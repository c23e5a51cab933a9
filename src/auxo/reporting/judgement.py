"""What a run's model says of the run's own sets now: confusions, reliability, Grad-CAM and t-SNE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int

from auxo.data import AbstractSource, EvaluationSplit, Splits, load_splits
from auxo.errors import ConfigError, DataError, NonFiniteError, ShapeError
from auxo.evaluation import HeadMetrics, HeadScores, ReliabilityBin
from auxo.evaluation.evaluate import class_logits, device_batches
from auxo.explain import AttentionGrid, ExplainConfig, PointMap, Subject, arrange, attend
from auxo.reporting.run_record import RunRecord
from auxo.runtime import Runtime
from auxo.training import TrainedModel, load_model

__all__ = ["Judgement", "LookedAt", "Omission", "SetJudgement", "judge"]

Made = TypeVar("Made")


class Omission(NamedTuple):
    """Something that could not be made.

    Args:
        reason: in words.
    """

    reason: str


@dataclass(frozen=True)
class SetJudgement:
    """The answers of the head that predicts, on one set.

    Args:
        name: of the set.
        confusion: pictures of each class, by row, that are predicted as each class, by column.
        scores: of the head.
        bins: of confidence.
    """

    name: str
    confusion: Int[np.ndarray, "classes classes"]
    scores: HeadScores
    bins: Sequence[ReliabilityBin]


@dataclass(frozen=True)
class LookedAt:
    """What Grad-CAM and t-SNE found.

    Args:
        split: the set whose pictures they show.
        source: its pictures.
        labels: numbers of the classes that are shown.
        points: t-SNE.
        attention: Grad-CAM.
        num_per_class: pictures of each class that Grad-CAM shows, at most.
    """

    split: str
    source: AbstractSource
    labels: Sequence[int]
    points: PointMap | Omission
    attention: AttentionGrid | Omission
    num_per_class: int


@dataclass(frozen=True)
class Judgement:
    """What a model is and what it says of the run's sets now.

    Args:
        num_parameters: of the network.
        class_names: in the order of the labels.
        data: digests of the pictures that it was made with.
        head: the class head that predicts.
        sets: on each set, or why there is nothing to say.
        looked_at: by Grad-CAM and t-SNE, or why there is nothing to show.
    """

    num_parameters: int
    class_names: Sequence[str]
    data: dict[str, str]
    head: str
    sets: list[SetJudgement] | Omission
    looked_at: LookedAt | Omission


def judge(run: RunRecord, config: ExplainConfig, *, runtime: Runtime, batch_size: int) -> Judgement:
    """Return what the model of a finished run says of the run's own sets.

    Where the pictures cannot be read, or where there is no class head, the reason stands in place of what needs them.

    Args:
        run: finished.
        config: how many pictures Grad-CAM and t-SNE show.
        runtime: device and precision.
        batch_size: images of one forward pass.

    Raises:
        CheckpointError: the model is damaged.
        DataError: the pictures are no longer those that the model was made with.

    Cost: reading all sets, one forward pass of each, and what Grad-CAM and t-SNE take.
    """
    model = load_model(run.config, run.folder, runtime=runtime)
    splits = _attempt(lambda: load_splits(run.config.data, seed=run.config.seed))
    head = next((row.head for row in run.history.rows if row.kind == "class"), "")
    if isinstance(splits, Omission):
        return _judgement(model, head, splits, splits)
    model.check_splits(splits)
    if not head:
        sets: list[SetJudgement] | Omission = Omission("the model has no class head")
    else:
        sets = [
            _judge_set(model, split, head=head, runtime=runtime, batch_size=batch_size) for split in splits.evaluation()
        ]
    return _judgement(model, head, sets, _look(run, model, splits, config, runtime, batch_size))


def _judgement(
    model: TrainedModel, head: str, sets: list[SetJudgement] | Omission, looked_at: LookedAt | Omission
) -> Judgement:
    """Return a judgement with what the model itself says."""
    size = sum(parameter.numel() for parameter in model.method.parameters())
    return Judgement(size, model.task.class_names, dict(model.data), head, sets, looked_at)


def _judge_set(
    model: TrainedModel, split: EvaluationSplit, *, head: str, runtime: Runtime, batch_size: int
) -> SetJudgement:
    """Return what a head says of a set."""
    count = model.task.num_classes
    metrics = HeadMetrics(count, runtime.device)
    confusion = torch.zeros(count * count, dtype=torch.int64)
    with torch.inference_mode():
        for raw in device_batches(split, runtime, batch_size=batch_size, workers=0):
            images = model.pipeline(raw, seed=None).images
            logits = class_logits(model.method, images, runtime)[head]
            metrics.update(logits, raw.labels)
            confusion += (raw.labels * count + logits.argmax(1)).cpu().bincount(minlength=count * count)
    return SetJudgement(split.name, confusion.view(count, count).numpy(), metrics.compute(), metrics.reliability())


def _look(
    run: RunRecord, model: TrainedModel, splits: Splits, config: ExplainConfig, runtime: Runtime, batch_size: int
) -> LookedAt | Omission:
    """Return what Grad-CAM and t-SNE find on the test images, or on those of validation where there are none."""
    split = splits.test or splits.val
    subject = Subject(model, split.source, run.name, split.name, runtime, batch_size)
    labels = _attempt(lambda: config.labels(split.source))
    if isinstance(labels, Omission):
        return labels
    attention: AttentionGrid | Omission = Omission("the model has no class head, and Grad-CAM asks what speaks for one")
    if subject.predicts:
        attention = _attempt(lambda: attend(subject, labels, config))
    points = _attempt(lambda: arrange(subject, labels, config))
    return LookedAt(split.name, split.source, labels, points, attention, config.per_class)


def _attempt(make: Callable[[], Made]) -> Made | Omission:
    """Return what is made, or why it cannot be."""
    try:
        return make()
    except (ConfigError, DataError, NonFiniteError, ShapeError) as error:
        return Omission(" ".join(str(error).split()))
