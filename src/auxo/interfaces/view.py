"""What a method sees of the data: views of a split, orders of its images, and the plan of a step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from auxo.errors import ConfigError, SelectionError

_TRAINING_SPLITS = ("train", "meta", "unlabelled", "images")


class AbstractOrder(ABC):
    """What a pass over the images of a split shows; :mod:`auxo.data.orders` has some.

    Subclasses are frozen dataclasses of plain values.

    A pass depends on the columns, the seed and its number alone, so that training resumes at any step, and every
    number of processes sees the same batches.
    """

    @abstractmethod
    def length(self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int) -> int:
        """Return how many images a pass shows, the same for every pass.

        Args:
            targets: the columns of the split that are not hidden, by name; one whole number for every image.
            count: images of the split.

        Raises:
            ConfigError: a column that the order goes by is not there.
        """

    @abstractmethod
    def positions(
        self, targets: Mapping[str, Int[Tensor, " n"]], *, count: int, seed: int, number: int
    ) -> Int[Tensor, " length"]:
        """Return the int64 positions in ``0..count-1`` that a pass shows, in turn; repeats are allowed.

        Args:
            targets: see :meth:`length`.
            count: see :meth:`length`.
            seed: of the order.
            number: of the pass, from 0.

        Raises:
            ConfigError: a column that the order goes by is not there.
        """


@dataclass(frozen=True)
class View:
    """One way in which a method wants to see the images of a split at every step.

    Views that agree in split, images of a batch, order, stream and whether they have images show the same images in
    the same order, each under augmentations of its own; others have batches of their own.

    Args:
        split: "train", "meta", "unlabelled", or "images": the unlabelled images where there are any, else the
            training ones. The images of the last two have no targets: the label is -1.
        augment: the run's ``data.augment`` (``None``), or another by its name, see :class:`auxo.data.InputPipeline`.
        ratio: images of this view for each of the stage's ``batch_size``, > 0; their product is rounded to whole
            images, at least one. The last batch in a pass may have fewer.
        order: what a pass over the split shows; ``None`` means :class:`auxo.data.Shuffled`.
        stream: name of the random numbers of the order; "" are those that all methods share under one seed.
        batch_size: images of a batch over all processes, >= 1, instead of a ratio.
        images: whether batches have images; without, they have targets and indices, nothing is decoded, and their
            ``images`` is empty, of the shape ``(batch, 0, 0, 0)``.

    Raises:
        SelectionError: another split: what judges is never trained on.
        ConfigError: a ratio or a batch size out of range, both of them, or an augmentation without images.

    Example:
        >>> views = {"first": View("unlabelled", augment="strong"), "second": View("unlabelled", augment="strong")}
        >>> View("meta", batch_size=50).count_images(64), View("unlabelled", ratio=1.5).count_images(64)
        (50, 96)
    """

    split: str = "train"
    augment: str | None = None
    ratio: int | float = 1
    order: AbstractOrder | None = None
    stream: str = ""
    batch_size: int | None = None
    images: bool = True

    def __post_init__(self) -> None:
        if self.split not in _TRAINING_SPLITS:
            expected = f"views of {', '.join(_TRAINING_SPLITS[:-1])} or {_TRAINING_SPLITS[-1]}"
            raise SelectionError(expected, repr(self.split), "train on no other split")
        if not 0 < self.ratio < math.inf:
            fix = "give the images of the view for each of the stage's batch size"
            raise ConfigError("a view's ratio > 0", str(self.ratio), fix)
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError("a view's batch size >= 1", str(self.batch_size), "ask for one image or more")
        if self.batch_size is not None and self.ratio != 1:
            got = f"batch_size {self.batch_size} and ratio {self.ratio}"
            raise ConfigError("a view's batch size or its ratio", got, "leave one of them out")
        if self.augment is not None and not self.images:
            raise ConfigError("no augment in a view without images", repr(self.augment), "leave one of them out")

    def count_images(self, batch_size: int) -> int:
        """Return how many images a full batch of this view has, over all processes.

        Args:
            batch_size: of the stage.
        """
        return max(1, round(self.ratio * batch_size)) if self.batch_size is None else self.batch_size


class StepPlan(NamedTuple):
    """What one step of a stage reads and moves.

    Args:
        batches: by view, the number of the batch that is shown, counted from 0 over the whole stage: equal numbers are
            equal images under equal augmentations. Views that are left out are not fetched.
        optimizers: those that take a step, so that their learning rates move; ``None`` means all.
        kind: steps of one kind report the same metrics and are of equal cost.
    """

    batches: Mapping[str, int]
    optimizers: tuple[str, ...] | None = None
    kind: str = "step"
