"""What a labeller is: from the images of a stage to a label for each of their pixels, before its first step."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor, nn

from auxo.errors import DataError
from auxo.interfaces import AbstractBackbone, AbstractImageReader, StageStart
from auxo.layers.decoders import PixelNetwork
from auxo.options import FamilyOptions
from auxo.types import Batch

IGNORED = -1
"""The label of pixels that say nothing."""


class LabelTools(NamedTuple):
    """What a method lends to a labeller.

    Args:
        num_classes: of the task.
        height: pixels of every image.
        width: pixels of every image.
        encoder: the method's backbone, with the weights that the stage begins with.
        load: gives a trained network that stays as it is, from a source such as the directory of a finished run.
        new_segmenter: gives another segmentation network, on the CPU.
    """

    num_classes: int
    height: int
    width: int
    encoder: AbstractBackbone
    load: Callable[[str], AbstractBackbone]
    new_segmenter: Callable[[], PixelNetwork]


@runtime_checkable
class LendsLabelTools(Protocol):
    """A method that makes labels of pixels; its options have a field ``labeller``."""

    def label_tools(self) -> LabelTools:
        """Return what the method lends to a labeller."""
        ...


class LabelSource(NamedTuple):
    """What labels are learned from.

    Args:
        images: whose pixels are to be labelled; never asked for their masks but by what is named for it.
        start: the images of the stage, its seed and device.
        num_classes: of the task.
        size: height and width of the images.
        network: that labels follow from, on the device, in evaluation mode; ``None`` where there is none.
    """

    images: AbstractImageReader
    start: StageStart
    num_classes: int
    size: tuple[int, int]
    network: nn.Module | None


class AbstractPixelLabeller(ABC):
    """Gives every pixel of an image a label, the same whatever other images are in the batch."""

    @abstractmethod
    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the labels of the pixels of normalised images, -1 where there is none.

        Args:
            batch: of an :class:`auxo.interfaces.AbstractImageReader`: its indices are positions in the split.
        """


@dataclass(frozen=True, kw_only=True)
class LabellerConfig(FamilyOptions):
    """How pixels are labelled; each labeller has options of its own, nested in it as ``Config``."""

    family = "pretexts.labellers"

    is_costly: ClassVar[bool] = True
    """Whether labels are worth keeping in the folder of ``--cache``."""

    learns_masks: ClassVar[bool] = False
    """Whether labels follow from the masks of labelled images, which then cannot judge them."""

    @abstractmethod
    def num_labels(self, num_classes: int) -> int | None:
        """Return how many labels there are; ``None`` where that depends on the images.

        Args:
            num_classes: of the task.
        """

    @abstractmethod
    def learn(self, source: LabelSource) -> AbstractPixelLabeller:
        """Return the labeller, once it has learned what it needs from the images.

        Raises:
            DataError: the images do not have what it learns from.
            OptionError: an option does not fit the images or the network.
        """

    def choose_network(self, tools: LabelTools) -> nn.Module | None:
        """Return the network that the labels follow from; by default there is none."""
        del tools
        return None

    def describe_masks(self, start: StageStart) -> str:
        """Return a digest of the masks that the labels follow from; by default they follow from none."""
        del start
        return ""

    def fit(self, images: AbstractImageReader, start: StageStart, tools: LabelTools) -> AbstractPixelLabeller:
        """Return the labeller that has learned from some images; it can label others, too.

        Args:
            images: that are learned from without their masks.
            start: see :class:`auxo.interfaces.StageStart`; masks are read of its training images alone, and only by
                labellers that say so.
            tools: of the method.
        """
        return self.learn(self._build_source(images, start, tools))

    def make(self, images: AbstractImageReader, start: StageStart, tools: LabelTools) -> Int[Tensor, "n height width"]:
        """Return the label of every pixel of some images, the same in every process.

        Labels are int16, or int32 where there are too many, on the CPU; -1 marks pixels that have none. With
        ``--cache`` costly ones are kept there under a digest of images, options, seed, weights and masks.

        Args:
            images: to learn from and to label.
            start: see :meth:`fit`.
            tools: of the method.

        Raises:
            DataError: no pixel has a label.
        """
        source = self._build_source(images, start, tools)

        def compute() -> Tensor:
            labeller = self.learn(source)
            return _shrink_labels(images.read(labeller.label))

        if self.is_costly:
            masks = self.describe_masks(start)
            description = f"labels {self!r} {tools.num_classes} {start.seed} {masks}"
            labels = images.recall(description, compute, network=source.network)
        else:
            labels = compute()
        if not (labels >= 0).any():
            fix = "choose another labeller, or give it a lower margin or confidence"
            raise DataError(f"labels of pixels from the labeller {self.name}", f"none in {images.split}", fix)
        return labels

    def _build_source(self, images: AbstractImageReader, start: StageStart, tools: LabelTools) -> LabelSource:
        """Return what is learned from, with the network on the device of the stage."""
        network = self.choose_network(tools)
        moved = None if network is None else network.to(start.device)
        return LabelSource(images, start, tools.num_classes, (tools.height, tools.width), moved)


def count_clusters(clusters: int, num_classes: int) -> int:
    """Return how many clusters there are: as many as were asked for, or two for every class."""
    return clusters or 2 * num_classes


def _shrink_labels(labels: Int[Tensor, "n height width"]) -> Int[Tensor, "n height width"]:
    """Return labels in the smallest type of two that holds them."""
    fits = not labels.numel() or int(labels.max()) <= torch.iinfo(torch.int16).max
    return labels.to(torch.int16 if fits else torch.int32)
