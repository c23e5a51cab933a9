"""What a method may ask outside of its steps: the images of a split, when a stage begins and when it is measured."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor, nn

from auxo.interfaces.backbone import AbstractBackbone
from auxo.random import named_generator
from auxo.types import Batch


class AbstractImageReader(ABC):
    """Reads the images of one split: the work is divided over the processes, and each gets all of the answer.

    Every process must ask the same, in the same order.

    Attributes:
        split: name of the split.
    """

    split: str

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @property
    @abstractmethod
    def targets(self) -> Mapping[str, Shaped[Tensor, "n ..."]]:
        """What is known of every image, by name, in the order of the split: targets and further columns."""

    @abstractmethod
    def read(self, function: Callable[[Batch], Tensor]) -> Shaped[Tensor, "n ..."]:
        """Return what a function says of every image, in the order of the split, on the CPU.

        Args:
            function: gets batches of normalised images on the device, not augmented, and returns a row for each. It
                runs in evaluation mode, without a graph, and under the precision of the run.
        """

    def recall(
        self, description: str, compute: Callable[[], Tensor], *, network: nn.Module | None = None
    ) -> Shaped[Tensor, "n ..."]:
        """Return what was computed of these images before, or compute it; by default it is always computed.

        At the start of a stage it is taken from the folder of ``--cache``, where it is there, and left there.

        Args:
            description: of all that the answer follows from beside the images and the network.
            compute: gives the answer, on the CPU, the same in every process.
            network: whose weights the answer follows from.
        """
        del description, network
        return compute()

    @abstractmethod
    def features(self, network: AbstractBackbone | None = None) -> Float[Tensor, "n dim"]:
        """Return the pooled features of every image, float32 on the CPU.

        At the start of a stage they are taken from the folder of ``--cache``, where it has those of these images and
        weights, and left there.

        Args:
            network: of the method; ``None`` means the one that predicts.
        """

    @abstractmethod
    def pixels(self, positions: Int[Tensor, " k"]) -> UInt8[Tensor, "k channels height width"]:
        """Return some images as the data have them, uint8 on the CPU."""


@dataclass(frozen=True)
class StageStart:
    """What a method sees at the start of a stage.

    Args:
        images: by split, the images that the stage may train on: ``train``, and ``meta`` and ``unlabelled`` where there
            are such. What judges is not among them.
        seed: of the stage.
        device: where the method is.
    """

    images: Mapping[str, AbstractImageReader]
    seed: int
    device: torch.device

    def generator(self, stream: str) -> torch.Generator:
        """Return random numbers of a stream, on the CPU, equal in every process."""
        return named_generator(self.seed, "begin", stream)


class Prepared(NamedTuple):
    """What a method has made of the images before its first step; a run keeps it.

    Args:
        tensors: by name; every step finds them in ``state.prepared``, on the device.
        targets: by split and name, a value or a map for every image of the split; they are in ``targets`` of every
            batch of the split. Maps have the shape ``(n, height, width)`` or ``(n, k, height, width)`` and move with
            the images.
        fills: of maps, by name, the value for places that come from outside the image or are covered.
    """

    tensors: Mapping[str, Tensor] = {}
    targets: Mapping[str, Mapping[str, Tensor]] = {}
    fills: Mapping[str, int | float] = {}
