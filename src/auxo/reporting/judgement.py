"""What a run's model says of the run's own sets now: confusions, reliability, Grad-CAM and t-SNE."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int

from auxo.data import AbstractSource, EvaluationSplit, Splits, TrainSplit
from auxo.errors import ConfigError, DataError, NonFiniteError, ShapeError
from auxo.evaluation import BINS, Reader, ShiftCurve, group_images, shift_set
from auxo.explain import (
    AttentionGrid,
    ExplainConfig,
    PointMap,
    ShownAnswer,
    Subject,
    arrange,
    attend,
    rank_answers,
    show_answers,
)
from auxo.reporting.run_record import RunRecord
from auxo.runs.model import TrainedModel, load_model, splits_of
from auxo.runs.results import EvaluationRow
from auxo.runtime import Runtime
from auxo.tasks import Reliability, Scores
from auxo.types import Column

Made = TypeVar("Made")

_MOST_VALUES = 20  # of a column whose strength is varied: names of patients are no shortcut that occurs again


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
        row: what they add up to.
        confusion: how many of each right answer, by row, were given each answer, by column; ``None`` for a task without
            such.
        confused: what the confusion counts, ``images`` or another noun.
        bins: of confidence; none for a task without.
    """

    name: str
    row: EvaluationRow
    confusion: Int[np.ndarray, "answers answers"] | None
    confused: str
    bins: Sequence[Reliability]


@dataclass(frozen=True)
class LookedAt:
    """What Grad-CAM and t-SNE found.

    Args:
        split: the set whose images they show.
        source: its images.
        right: the class of every image of the set.
        classes: numbers of those that are shown.
        points: t-SNE.
        attention: Grad-CAM.
        num_per_class: images of each class that Grad-CAM shows, at most.
    """

    split: str
    source: AbstractSource
    right: Column
    classes: Sequence[int]
    points: PointMap | Omission
    attention: AttentionGrid | Omission
    num_per_class: int


@dataclass(frozen=True)
class ShownSet:
    """Images of a set beside their answers.

    Args:
        split: name of the set.
        n: images of the set.
        measure: by which they were chosen.
        answers: worst, middle and best.
        legend: what colours stand for: red, green and blue, 0..255, by name.
    """

    split: str
    n: int
    measure: str
    answers: Sequence[ShownAnswer]
    legend: Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Judgement:
    """What a model is and what it says of the run's sets now.

    Args:
        num_parameters: of the network.
        answers: what the outputs of the head stand for, in their order; none where they are quantities.
        data: digests of the images that it was made with.
        head: that predicts.
        sets: on each set, or why there is nothing to say.
        looked_at: by Grad-CAM and t-SNE, or why there is nothing to show.
        shifts: of the test set, or of validation where there is none, by further column of the data; or why not.
        shown: images of that set beside their answers, where answers are images; ``None`` for other tasks.
    """

    num_parameters: int
    answers: Sequence[str]
    data: dict[str, str]
    head: str
    sets: list[SetJudgement] | Omission
    looked_at: LookedAt | Omission
    shifts: Mapping[str, ShiftCurve | Omission] = field(default_factory=dict)
    shown: ShownSet | Omission | None = None


def judge(run: RunRecord, config: ExplainConfig, *, runtime: Runtime, batch_size: int) -> Judgement:
    """Return what the model of a finished run says of the run's own sets.

    Where the images cannot be read, or where no head predicts, the reason stands in place of what needs them.

    Args:
        run: finished.
        config: how many images Grad-CAM and t-SNE show.
        runtime: device and precision.
        batch_size: images of one forward pass.

    Raises:
        CheckpointError: the model is damaged.
        DataError: the images are no longer those that the model was made with.

    Cost: reading all sets, one forward pass of each, and what Grad-CAM and t-SNE take.
    """
    model = load_model(run.config, run.folder, runtime=runtime)
    splits = attempt_making(lambda: splits_of(run.config))
    reader = Reader.of(model, runtime=runtime, batch_size=batch_size)
    head = next((row.head for row in run.history.first_head()), "")
    if isinstance(splits, Omission):
        return _make_judgement(model, head, splits, splits)
    model.check_splits(splits)
    looked_at = _look_at_images(run, model, splits, config, runtime, batch_size)
    if not head:
        return _make_judgement(model, head, Omission("no head predicts"), looked_at)
    scores = {split.name: reader.scores(split)[head] for split in splits.evaluation()}
    sets = [_judge_set(reader, split, scores[split.name], head=head) for split in splits.evaluation()]
    main = splits.test or splits.val
    shifts = shift_columns(reader, main, scores[main.name], head=head, train=splits.train)
    subject = Subject(model, main.source, run.name, main.name, runtime, batch_size)
    shown = _show_set(subject, scores[main.name], config) if model.task.targets[0].has_places else None
    return replace(_make_judgement(model, head, sets, looked_at, shifts), shown=shown)


def shift_columns(
    reader: Reader, split: EvaluationSplit, scores: Scores, *, head: str, train: TrainSplit
) -> dict[str, ShiftCurve | Omission]:
    """Return the measures of a set against the strength of each of its further columns, or why there are none.

    Args:
        reader: of the model.
        split: the set.
        scores: of the head for all its images.
        head: whose measures they are.
        train: says which value is usual in each class.
    """
    targets = {target.name for target in reader.task.targets}
    left_out = {*targets, split.source.blocks}  # blocks are many and small
    names = [name for name, column in split.source.columns.items() if column.names and name not in left_out]
    return {name: shift_column(reader, split, scores, name, head=head, train=train) for name in names}


def shift_column(
    reader: Reader,
    split: EvaluationSplit,
    scores: Scores,
    name: str,
    *,
    head: str,
    train: TrainSplit | None,
    bins: int = BINS,
) -> ShiftCurve | Omission:
    """Return the measures of a set against the strength of one column, or why there are none."""
    grouping = group_images(split.source, name, task=reader.task, bins=bins)
    if len(grouping.groups.names) > _MOST_VALUES:
        return Omission(f"it has {len(grouping.groups.names)} values, more than {_MOST_VALUES}")
    seen = None if train is None else train.source
    return attempt_making(
        lambda: shift_set(reader.task, split.source, scores, name, split=split.name, head=head, train=seen, bins=bins)
    )


def _make_judgement(
    model: TrainedModel,
    head: str,
    sets: list[SetJudgement] | Omission,
    looked_at: LookedAt | Omission,
    shifts: Mapping[str, ShiftCurve | Omission] | None = None,
) -> Judgement:
    """Return a judgement with what the model itself says."""
    size = sum(parameter.numel() for parameter in model.method.parameters())
    names, data = model.task.targets[0].names, dict(model.data)
    return Judgement(size, names, data, head, sets, looked_at, shifts or {})


def _show_set(subject: Subject, scores: Scores, config: ExplainConfig) -> ShownSet | Omission:
    """Return images of a set beside their answers, or why there are none."""
    task = subject.reader.task

    def show() -> ShownSet:
        ranked = rank_answers(subject, scores, num_images=2 * config.per_class)
        answers = show_answers(subject, ranked, scores)
        return ShownSet(subject.split, len(subject.source), task.primary, answers, task.legend)

    return attempt_making(show)


def _judge_set(reader: Reader, split: EvaluationSplit, scores: Scores, *, head: str) -> SetJudgement:
    """Return what a head says of a set."""
    task = reader.task
    row = reader.row(split.name, head, scores, split.source.columns)
    return SetJudgement(split.name, row, task.confusion(scores), task.confused, task.reliability(scores))


def _look_at_images(
    run: RunRecord, model: TrainedModel, splits: Splits, config: ExplainConfig, runtime: Runtime, batch_size: int
) -> LookedAt | Omission:
    """Return what Grad-CAM and t-SNE find on the test images, or on those of validation where there are none."""
    split = splits.test or splits.val
    subject = Subject(model, split.source, run.name, split.name, runtime, batch_size)
    right = attempt_making(lambda: subject.right)
    if isinstance(right, Omission):
        return Omission("Grad-CAM and t-SNE ask for one class per image")
    classes = attempt_making(lambda: config.choose_classes(right, source=split.source.name))
    if isinstance(classes, Omission):
        return classes
    attention: AttentionGrid | Omission = Omission("no head predicts, and Grad-CAM asks what speaks for an answer")
    if subject.predicts:
        attention = attempt_making(lambda: attend(subject, classes, config))
    points = attempt_making(lambda: arrange(subject, classes, config))
    return LookedAt(split.name, split.source, right, classes, points, attention, config.per_class)


def attempt_making(make: Callable[[], Made]) -> Made | Omission:
    """Return what is made, or why it cannot be."""
    try:
        return make()
    except (ConfigError, DataError, NonFiniteError, ShapeError) as error:
        return Omission(" ".join(str(error).split()))
