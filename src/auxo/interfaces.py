"""The contracts between the parts of auxo: backbone, pretext, method, and the state a method is trained in."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from auxo.errors import ConfigError, SelectionError
from auxo.optimizers import OptimizerConfig
from auxo.random import Draws, named_generator
from auxo.runtime import Runtime
from auxo.tasks import AbstractTask
from auxo.types import Batch, Batches, Features, Images, Losses, Metrics

_TRAINING_SPLITS = ("train", "meta", "unlabelled", "pictures")


class AbstractBackbone(nn.Module, ABC):
    """A network without heads.

    Attributes:
        num_features: length of the pooled vector.
    """

    num_features: int

    @abstractmethod
    def forward(self, images: Images) -> Features:
        """Return pooled features and named maps of normalised images, shape ``(batch, channels, height, width)``."""

    def map_size(self, name: str, *, height: int, width: int) -> tuple[int, int]:
        """Return how many pixels of an image a map lies over, in height and width, around the image's centre.

        All of them unless convolutions without padding cut the rim off.

        Args:
            name: of the map.
            height: pixels of the image.
            width: pixels of the image.
        """
        del name
        return height, width


class PretextBatch(NamedTuple):
    """Inputs and answers that a pretext made from a batch.

    Args:
        inputs: shape ``(n, channels, height, width)``; dtype and device of the images they come from.
        targets: the answers. Classes are int64 of shape ``(n,)``; several answers to one input are int64 of shape
            ``(n, answers)``; numbers to be predicted are floats of shape ``(n, num_outputs)``, detached.
        sources: shape ``(n,)``; int64 position in the batch of the image that each input was made from.
    """

    inputs: Shaped[Tensor, "n channels height width"]
    targets: Tensor
    sources: Int[Tensor, " n"]


class AbstractPretext(ABC):
    """A task that makes its own labels.

    Stateless: the head belongs to the method and has ``num_outputs`` outputs. Evaluation counts right answers where the
    targets are classes, int64 of shape ``(n,)``; a method leaves other pretexts out of ``pretext_heads()``.
    """

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Width of the head that answers this task."""

    @abstractmethod
    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make training inputs and targets; all randomness comes from ``draws``, one draw per image."""

    @abstractmethod
    def make_all(self, images: Images) -> PretextBatch:
        """Make every variant of every image without randomness, for evaluation."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return per-sample losses, shape ``(n,)``, attached to the graph and never reduced."""


class PretextHead(NamedTuple):
    """A pretext and the function that answers it.

    Args:
        pretext: the task.
        answer: maps pretext inputs to outputs of shape ``(n, pretext.num_outputs)``.
    """

    pretext: AbstractPretext
    answer: Callable[[Tensor], Tensor]


@dataclass
class TrainState:
    """Everything about a stage that a checkpoint holds, besides the method's weights.

    Random numbers and the order of the data are functions of ``seed`` and ``step`` alone, so nothing else is needed to
    continue a run to the bit.

    Args:
        optimizers: by name.
        schedulers: by the name of the optimiser they drive; stepped after every update by the trainer.
        seed: the seed of this stage.
        step: updates done so far in this stage.
        num_steps: updates of the whole stage.
    """

    optimizers: dict[str, Optimizer]
    schedulers: dict[str, LRScheduler] = field(default_factory=dict)
    seed: int = 0
    step: int = 0
    num_steps: int = 1

    @property
    def progress(self) -> float:
        """Part of the stage that is done, in [0, 1)."""
        return self.step / self.num_steps

    def draws(self, stream: str, batch: Batch) -> Draws:
        """Return this step's random numbers of the stream, shared out as the batch is."""
        return Draws(named_generator(self.seed, stream, self.step), first=batch.first, total=batch.joined_size)


class AbstractMethod(nn.Module, ABC):
    """A way to train. It owns its network, its optimisers' use and its prediction.

    A subclass is final: it is built by its ``Config`` and registered by the name of its module.

    Attributes:
        task: what is to be predicted.
        backbone: the shared network.
    """

    task: AbstractTask
    backbone: AbstractBackbone

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """Build the optimisers over the method's own parameters; called once, after the weights are on the device."""

    @abstractmethod
    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Train on one set of batches.

        Args:
            state: optimisers and step; nothing else of it may be changed.
            batches: one normalised batch for each view in the config's ``plan`` of this step.
            runtime: gives ``autocast()`` and ``step(optimizer, loss)``.

        Returns:
            Detached scalars by name, the same names at every step of one kind. Names ending in ``_loss`` stop the run
            when they are not finite.
        """

    @abstractmethod
    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the outputs of every head for the task, the one that predicts first.

        Their shape is ``(batch, task.num_outputs)``, with height and width after it where targets have places. Empty
        where a method trains no such head, as one that prepares a backbone for later stages.
        """

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the pretexts that evaluation should measure, by name; none unless a method has them."""
        return {}

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parameters that no gradient reaches, by name, each with the reason; none by default."""
        return {}

    def predict(self, images: Images) -> Tensor:
        """Return the outputs of the head that predicts, for normalised images; see :meth:`head_logits`.

        Raises:
            ConfigError: the method has no head that predicts.
        """
        logits = next(iter(self.head_logits(images).values()), None)
        if logits is None:
            fix = "train one on top in a later stage, such as linear_probe"
            raise ConfigError("a method with a head that predicts", type(self).__name__, fix)
        return logits


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
        split: "train", "meta", "unlabelled", or "pictures": the unlabelled images where there are any, else the
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


@dataclass(frozen=True, kw_only=True)
class MethodConfig(ABC):
    """Options of a method. Subclasses are frozen dataclasses nested in their method as ``Config``."""

    serves: ClassVar[tuple[type[AbstractTask], ...]] = (AbstractTask,)
    """Kinds of tasks that the method can learn; by default any."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig, metadata={"search": {"lr": "around:10"}})
    """How the weights follow their gradients."""

    @property
    def learned_columns(self) -> tuple[str, ...]:
        """Further columns of the data that the method learns, beside the task's targets; by default none."""
        return ()

    @classmethod
    def tiny(cls) -> "MethodConfig":
        """Return options under which one update takes milliseconds, for tests."""
        return cls()

    def required_views(self) -> dict[str, View]:
        """Return the views that ``update`` reads, by name; by default one of the training images, ``train``."""
        return {"train": View()}

    def plan(self, step: int) -> StepPlan:
        """Return what a step reads and moves, the first having the number 0; by default every view and optimiser."""
        return StepPlan(dict.fromkeys(self.required_views(), step))

    def steps_per_epoch(self, passes: Mapping[str, int]) -> int:
        """Return the steps of an epoch: by default of a pass over the view ``train``, or over the first without one.

        Args:
            passes: by view, the batches of one pass over its images.
        """
        return passes.get("train", next(iter(passes.values())))

    def schedule(self, name: str) -> OptimizerConfig:
        """Return the options by which the learning rate of an optimiser moves; by default ``optimizer``'s for all."""
        del name
        return self.optimizer

    def check_task(self, kind: type[AbstractTask]) -> None:
        """Refuse a task that the method cannot learn.

        Raises:
            ConfigError: it is none that the method serves.
        """
        if not issubclass(kind, self.serves):
            served = " or ".join(each.__name__ for each in self.serves)
            method = type(self).__qualname__.partition(".")[0]
            fix = "choose another method, or another task with --task.name"
            raise ConfigError(f"a task that {method} serves, {served}", kind.__name__, fix)

    @abstractmethod
    def build(self, backbone: AbstractBackbone, task: AbstractTask, *, seed: int) -> AbstractMethod:
        """Return the method around ``backbone``; heads are initialised from streams named after them."""
