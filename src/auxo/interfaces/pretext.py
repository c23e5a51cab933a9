"""What a pretext is: a task that makes its own labels, of one image or of two views of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from auxo.interfaces.backbone import AbstractBackbone
from auxo.interfaces.view import View
from auxo.layers.heads import linear_head
from auxo.options import FamilyOptions
from auxo.random import Draws
from auxo.registry.outside import is_outside, split_outside
from auxo.runtime import Runtime
from auxo.types import Batch, Batches, Images, Losses

_Inputs = TypeVar("_Inputs")

DrawFrom: TypeAlias = Callable[[str, Batch], Draws]
"""Gives this step's random numbers of a stream, shared out as a batch is."""


class PretextLoss(NamedTuple):
    """What a pretext makes of a step's images.

    Args:
        loss: scalar attached to the graph, twice differentiable. Averaged over the processes, it and its derivatives
            are those of one process that holds the joined batch.
        embeddings: of a pretext on two views, this process's first view behind the projector, shape ``(batch, dim)``;
            detached, at least float32. ``None`` where two views are not compared.
    """

    loss: Float[Tensor, ""]
    embeddings: Float[Tensor, "batch dim"] | None = None


class AbstractPretextModule(nn.Module, ABC, Generic[_Inputs]):
    """What a pretext trains beside the backbone, its heads; the backbone is passed in."""

    @abstractmethod
    def prepare(self, batches: Batches, *, draws: DrawFrom, runtime: Runtime) -> _Inputs:
        """Return what :meth:`forward` takes, made from a step's images.

        Args:
            batches: a batch of each of the pretext's views, by name; see :meth:`PretextConfig.views`.
            draws: gives all randomness, from a stream's name and the batch; such as :meth:`TrainState.draws`.
            runtime: puts the processes together; every process must call.

        Raises:
            ShapeError: the images cannot be used.
        """

    @abstractmethod
    def forward(self, backbone: nn.Module, inputs: _Inputs) -> PretextLoss:
        """Return the loss; may run under autocast, and again for the same inputs with other weights.

        Args:
            backbone: returns :class:`auxo.types.Features`; ``pooled`` is read.
            inputs: from :meth:`prepare`.
        """

    def follow(self, backbone: nn.Module, *, progress: float) -> None:
        """Move what follows the trained weights; called once before each training step's forward pass.

        By default nothing does.

        Args:
            backbone: the trained one.
            progress: part of the training that is done, in [0, 1].
        """

    def restart(self, backbone: nn.Module) -> None:
        """Put what follows the trained weights where they are; by default nothing follows."""

    def heads(self, backbone: nn.Module) -> dict[str, "PretextHead"]:
        """Return what evaluation can measure, by name; by default nothing."""
        del backbone
        return {}

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parameters that no gradient reaches, by name, each with the reason; none by default."""
        return {}


@dataclass(frozen=True, kw_only=True)
class PretextConfig(FamilyOptions):
    """A pretext as its options say: which views it reads, and what it builds.

    A pretext of one image is a frozen dataclass on :class:`AbstractImagePretext`, its own options. Any other is a
    module on :class:`AbstractPretextModule` with its options nested as ``Config``.
    """

    family = "pretexts"
    augmentations: ClassVar[Mapping[str, str | None]]
    """The views of an image that a step reads, by name, each with how it is augmented; ``None`` is as the run says."""

    @property
    def label(self) -> str:
        """What rows and metrics call it: its name, without the file of one of the user's own."""
        return split_outside(self.name)[1].replace(".", "_") if is_outside(self.name) else self.name

    @property
    def stream(self) -> str:
        """Name of the random numbers of its inputs, and behind ``init/`` of the first weights of its head."""
        return self.label

    def views(self, *, ratio: int | float = 1, stream: str = "") -> dict[str, View]:
        """Return the views of all images, labelled or not, that a step reads, by name.

        Args:
            ratio: images for each of the stage's batch size, > 0.
            stream: of their order, see :class:`View`.
        """
        return {
            name: View("images", augment=augment, ratio=ratio, stream=stream)
            for name, augment in self.augmentations.items()
        }

    @abstractmethod
    def build(self, backbone: AbstractBackbone, *, seed: int) -> AbstractPretextModule[Any]:
        """Return the pretext's heads, on the CPU; the backbone is read, not kept.

        Args:
            backbone: gives the number of features.
            seed: the run's seed.
        """


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


@dataclass(frozen=True, kw_only=True)
class AbstractImagePretext(PretextConfig):
    """A pretext that asks something of one image, which a linear head on the pooled features answers.

    A subclass is a frozen dataclass that can be made without arguments; its fields are its options.
    """

    augmentations: ClassVar[Mapping[str, str | None]] = {"first": None}

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Width of the head that answers this task."""

    @property
    def chance(self) -> float | None:
        """Accuracy of guessing; ``None`` where the answers are no classes, int64 of shape ``(n,)``."""
        return 1 / self.num_outputs

    @property
    def begins_upright(self) -> bool:
        """Whether the first inputs that :meth:`make` makes are the images as they are, in their order."""
        return False

    @abstractmethod
    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make training inputs and targets; all randomness comes from ``draws``, one draw per image."""

    @abstractmethod
    def make_all(self, images: Images) -> PretextBatch:
        """Make every variant of every image without randomness, for evaluation."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return per-sample losses, shape ``(n,)``, attached to the graph and never reduced."""

    def measured(self, answer: Callable[[Tensor], Tensor]) -> dict[str, "PretextHead"]:
        """Return what evaluation can measure, by name: by default right answers, where the answers are classes.

        Args:
            answer: maps inputs to outputs of shape ``(n, num_outputs)``.
        """
        return {} if self.chance is None else {self.label: PretextHead(self, answer)}

    def build(self, backbone: AbstractBackbone, *, seed: int) -> "ImagePretextModule":
        """Return a linear head; see :class:`ImagePretextModule`."""
        return ImagePretextModule(self, backbone.num_features, seed=seed)


class PretextHead(NamedTuple):
    """A pretext and the function that answers it.

    Args:
        pretext: the task; its answers are classes.
        answer: maps pretext inputs to outputs of shape ``(n, pretext.num_outputs)``.
    """

    pretext: AbstractImagePretext
    answer: Callable[[Tensor], Tensor]


class ImageInputs(NamedTuple):
    """What a pretext of one image made from a batch.

    Args:
        made: inputs and answers.
        batch: the images; says how they are shared out among processes.
    """

    made: PretextBatch
    batch: Batch


class ImagePretextModule(AbstractPretextModule[ImageInputs]):
    """The linear head of a pretext of one image.

    Args:
        pretext: the task.
        num_features: length of the pooled vector.
        seed: for the first weights, from the stream ``init/<pretext.stream>``.
    """

    def __init__(self, pretext: AbstractImagePretext, num_features: int, *, seed: int) -> None:
        super().__init__()
        self.pretext = pretext
        self.head = linear_head(pretext.stream, num_features, pretext.num_outputs, seed=seed)

    def prepare(self, batches: Batches, *, draws: DrawFrom, runtime: Runtime) -> ImageInputs:
        """Return the inputs that the pretext makes from the view ``first``."""
        del runtime
        batch = batches["first"]
        return ImageInputs(self.pretext.make(batch.images, draws=draws(self.pretext.stream, batch)), batch)

    def forward(self, backbone: nn.Module, inputs: ImageInputs) -> PretextLoss:
        """Return the mean loss over the joined batch."""
        return self.answer_features(backbone(inputs.made.inputs).pooled, inputs)

    def answer_features(self, features: Float[Tensor, "n dim"], inputs: ImageInputs) -> PretextLoss:
        """Return the mean loss over the joined batch for features of the inputs that are at hand already."""
        losses = self.pretext.loss(self.head(features), inputs.made.targets)
        return PretextLoss(inputs.batch.mean(losses))

    def heads(self, backbone: nn.Module) -> dict[str, PretextHead]:
        """Return the head, or heads, on ``backbone``."""
        return self.pretext.measured(lambda images: self.head(backbone(images).pooled))
