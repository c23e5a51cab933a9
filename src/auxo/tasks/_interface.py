"""What is to be predicted: targets, losses, scores of single images, and the measures that follow from them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from auxo.errors import CheckpointError, ConfigError, OptionError, ShapeError
from auxo.options import LATER
from auxo.registry.outside import guard_class
from auxo.tasks._found import Answer, Measure, Measured, Reliability
from auxo.tasks._weighted import measure_weighted_mean
from auxo.types import Column, Losses

Scores: TypeAlias = Mapping[str, Tensor]
"""A few numbers for every image by name, shape ``(n,)`` or ``(n, k)`` each: all that the measures of a set need."""


@runtime_checkable
class Source(Protocol):
    """What a task reads of a source of images; see :class:`auxo.data.AbstractSource`."""

    name: str
    image_shape: tuple[int, int, int]
    colours: Mapping[str, tuple[tuple[int, int, int], ...]]
    blocks: str

    @property
    def columns(self) -> Mapping[str, Column]:
        """One number per image by name of the column."""

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """What the numbers of each target stand for, by its name."""

    def count_places(self, name: str) -> tuple[int, ...]:
        """Return how many pixels have each value of a target with places."""


_Task = TypeVar("_Task", bound="AbstractTask")  # beartype takes Self of decorated classes alone


class Target(NamedTuple):
    """Something that a task learns from.

    Args:
        name: of the column or map in a batch's ``targets``.
        names: what its numbers stand for; empty where they are quantities.
        has_places: whether it has a value for every pixel, shape ``(n, height, width)`` or ``(n, k, height, width)``;
            such a target moves with the image. Others have one value per image, shape ``(n,)``.
        ignore: the value of places, or of images, that say nothing.
    """

    name: str
    names: tuple[str, ...] = ()
    has_places: bool = False
    ignore: int = -1


class TargetNumbers(NamedTuple):
    """Targets as numbers, side by side in the order of a task's targets.

    Args:
        values: shape ``(n, k)``, or ``(n, k, height, width)`` with places; indicators of classes, or quantities; zeros
            where a target says nothing.
        known: shape ``(n, targets)``, or ``(n, targets, height, width)``; 1 where a target says something, else 0.
    """

    values: Float[Tensor, "n k ..."]
    known: Float[Tensor, "n targets ..."]


class AbstractTask(ABC):
    """What is to be predicted, and from what. Subclasses are frozen dataclasses of plain values.

    A task outside auxo is a subclass in a Python file, named ``file.py:Name``. Everything that depends on what is
    predicted is asked here: method, evaluation, selection, tables, report and command line know no task.

    Attributes:
        channels: colour channels of an image.
        height: pixels.
        width: pixels.
    """

    channels: int
    height: int
    width: int

    primary: ClassVar[str]
    """Name of the measure that decides: it selects checkpoints and stands first in tables."""
    hub_tag: ClassVar[str] = "other"
    """What model hubs call such a task."""
    is_size_fixed: ClassVar[bool] = True
    """Whether a trained network takes images of the size that it was trained with alone."""
    confused: ClassVar[str] = "images"
    """What :meth:`confusion` counts."""
    mask_target: ClassVar[str | None] = None
    """The target that a mask beside every image gives, where the task has one; readers then look for masks."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        guard_class(cls)

    @classmethod
    def require(cls: "type[_Task]", task: "AbstractTask") -> "_Task":
        """Return a task that is one of this class.

        Raises:
            ConfigError: it is another.
        """
        if not isinstance(task, cls):
            fix = "choose it with --task.name, or a method that serves the other; see auxo list methods"
            raise ConfigError(f"the task {cls.__name__}", type(task).__name__, fix)
        return task

    @classmethod
    @abstractmethod
    def from_source(cls, source: Source) -> "AbstractTask":
        """Return the task that a training set poses.

        Raises:
            DataError: the source lacks a target.
        """

    @classmethod
    def check_source(cls, source: Source) -> None:
        """Refuse a training set from which the task cannot be learned; by default none.

        Raises:
            DataError: it cannot, and why.
        """
        del source

    @classmethod
    def strata(cls, source: Source) -> Column | None:
        """Return the kinds of images whose proportions are kept where a set is cut or thinned.

        Their names are for messages and may be left out. ``None``, the default, means that images are drawn without
        regard to what they show.
        """
        del source
        return None

    @property
    @abstractmethod
    def targets(self) -> tuple[Target, ...]:
        """What a batch's ``targets`` must hold; the first says what an image is of, if one number does."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Numbers that a head gives: per image, or per place where targets have places."""

    @property
    @abstractmethod
    def chance(self) -> float | None:
        """The primary measure of guessing; ``None`` where it is not known."""

    @abstractmethod
    def losses(self, outputs: Float[Tensor, "n ..."], targets: Mapping[str, Tensor]) -> Losses:
        """Return unreduced losses, attached to the graph: shape ``(n,)``, or ``(n, height, width)`` with places.

        Args:
            outputs: of a head: shape ``(n, num_outputs)``, or ``(n, num_outputs, height, width)`` with places.
            targets: of the same images.
        """

    @property
    def target_widths(self) -> tuple[int, ...]:
        """Numbers that each target has in :meth:`encode_targets`: one for each class, or one for a quantity."""
        return tuple(len(target.names) or 1 for target in self.targets)

    def encode_targets(self, targets: Mapping[str, Tensor]) -> TargetNumbers:
        """Return targets as numbers, for methods that mix or make them; quantities as they are, unless a task says.

        A task whose quantities are far from 1 in size should scale them here, and one that has several numbers for a
        target give their number in :attr:`target_widths`.

        Raises:
            ShapeError: a quantity has several numbers, and the task does not say how.
        """
        values, known = [], []
        for target in self.targets:
            given = targets[target.name]
            is_known = given != target.ignore
            if target.names:
                numbers = functional.one_hot(torch.where(is_known, given, 0).long(), len(target.names)).movedim(-1, 1)
            elif given.dim() != (3 if target.has_places else 1):
                got, fix = f"the shape {tuple(given.shape)} for {target.name!r}", "override encode_targets of the task"
                raise ShapeError("one number for each image or place of a quantity", got, fix)
            else:
                numbers = given.unsqueeze(1)
            known.append(is_known.unsqueeze(1).to(torch.get_default_dtype()))
            values.append(numbers * known[-1])
        return TargetNumbers(torch.cat(values, 1), torch.cat(known, 1))

    @abstractmethod
    def score(self, outputs: Float[Tensor, "n ..."], targets: Mapping[str, Tensor]) -> Scores:
        """Return what is kept of every image: detached numbers from which :meth:`measure` computes everything.

        They are gathered in the order of the source over all batches and processes.
        """

    @abstractmethod
    def measure(self, scores: Scores, columns: Mapping[str, Column]) -> Measured:
        """Return what the scores of a set add up to.

        Args:
            scores: of all its images, float64 on the CPU.
            columns: further columns of the data that the set is grouped by.

        Raises:
            NonFiniteError: the outputs were not all finite.
        """

    @abstractmethod
    def answer_columns(self) -> tuple[str, ...]:
        """Return what the cells of an answer are called."""

    @abstractmethod
    def answers(self, outputs: Float[Tensor, "n ..."]) -> list[Answer]:
        """Return what outputs mean for a person, an answer for each image."""

    def rank_answers(self, outputs: Float[Tensor, "n ..."], count: int) -> list[tuple[tuple[str, float], ...]] | None:
        """Return for each image the likeliest of several answers with their probabilities, the first the most.

        Args:
            outputs: of the head.
            count: most answers of one image, >= 1; fewer where there are fewer.

        Returns:
            ``None`` where a task does not choose one of several answers, as by default.
        """
        del outputs, count
        return None

    def worsened(self, clean: Tensor, changed: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Return for each image whichever outputs are the worse answer, of the clean and of the changed image.

        By default those of the larger loss.
        """
        losses = [self.losses(outputs, targets).flatten(1).mean(1) for outputs in (clean, changed)]
        is_worse = (losses[1] > losses[0]).view(-1, *(1,) * (clean.dim() - 1))
        return torch.where(is_worse, changed, clean)

    def image_values(self, scores: Scores) -> Float[Tensor, " n"] | None:
        """Return the primary measure of every image alone, where that of a set is their mean; else ``None``."""
        del scores
        return None

    def measure_weighted(
        self, scores: Scores, weights: Float[Tensor, " n"], *, cells: Int[Tensor, " n"]
    ) -> Mapping[str, Measure]:
        """Return the measures of a set under weights of its images, equal within a cell; none where there are none.

        By default that is the primary measure, where it is the mean of :meth:`image_values`.
        """
        values = self.image_values(scores)
        if values is None:
            return {}
        weighted = measure_weighted_mean(values, weights, cells=cells)
        return {self.primary: self.measure(scores, {}).measures[self.primary]._replace(**weighted._asdict())}

    def confusion(self, scores: Scores) -> Int[np.ndarray, "rows columns"] | None:
        """Return how often each right answer, by row, was given as each answer, by column; ``None`` without such."""
        del scores
        return None

    def reliability(self, scores: Scores) -> tuple[Reliability, ...]:
        """Return the ranges of confidence that have items, in order; none where a task has no confidence."""
        del scores
        return ()

    def rank_images(self, scores: Scores) -> Float[Tensor, " n"] | None:
        """Return how well each image alone was answered, the higher the better, by which reports choose what they show.

        By default :meth:`image_values`; NaN for an image that has no right answer; ``None`` where nothing says.
        """
        return self.image_values(scores)

    def draw_targets(self, targets: Mapping[str, Tensor]) -> list[UInt8[np.ndarray, "height width 3"]] | None:
        """Return the right answers as images in colours, where :meth:`answers` are images; by default ``None``.

        Reports then show images beside their right and their given answers.
        """
        del targets
        return None

    @property
    def legend(self) -> Mapping[str, tuple[int, int, int]]:
        """What colours of answers that are images stand for: red, green and blue, 0..255, by name; by default none."""
        return {}

    def describe(self) -> str:
        """Return what a network does for the task, a sentence of a model card."""
        where = "for every pixel of an image" if self.targets[0].has_places else "for an image"
        numbers = "one number" if self.num_outputs == 1 else f"{self.num_outputs} numbers"
        return f"A network for the task {type(self).__name__}: it gives {numbers} {where}."

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """What the numbers of each target stand for, by its name; not of quantities."""
        return {target.name: target.names for target in self.targets if target.names}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the training set, such as a class that it does not show, a sentence each."""
        return ()

    @property
    def train_counts(self) -> tuple[int, ...]:
        """Training images of each kind that the first target tells apart; empty where they are not known."""
        return ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of every image."""
        return self.channels, self.height, self.width

    @property
    def places(self) -> dict[str, int]:
        """The targets that have places, each with its value to ignore."""
        return {target.name: target.ignore for target in self.targets if target.has_places}

    def with_smoothing(self, label_smoothing: float) -> "AbstractTask":
        """Return the same task whose losses are those of smoothed labels.

        Args:
            label_smoothing: part of each label that is shared out evenly among all classes, in (0, 1).

        Raises:
            OptionError: labels of the task cannot be smoothed.
        """
        got = f"{label_smoothing:g} with {type(self).__name__}"
        raise OptionError("label_smoothing", "0 with a task without classes of images", got, "leave it out")

    def to_record(self) -> dict[str, Any]:
        """Return the task's fields, which are numbers, texts and tuples of them, as JSON values.

        What only training asks of it, such as smoothed labels, is left out.
        """
        own = [item for item in fields(cast("Any", self)) if not LATER.items() <= item.metadata.items()]
        values = {item.name: getattr(self, item.name) for item in own}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, origin: str) -> "AbstractTask":
        """Return the task that :meth:`to_record` wrote.

        Args:
            record: its fields.
            origin: the file that they were read from, for the message.

        Raises:
            CheckpointError: the fields are others.
        """
        try:
            return cls(**{name: _freeze_lists(value) for name, value in record.items()})
        except (TypeError, ConfigError) as error:
            got = ", ".join(record)
            expected = f"the fields of the task {cls.__name__} in {origin}"
            raise CheckpointError(expected, got, "take the file that the run wrote, or restore its task") from error


def _freeze_lists(value: object) -> object:
    """Return JSON with tuples in place of lists."""
    return tuple(map(_freeze_lists, value)) if isinstance(value, list) else value
