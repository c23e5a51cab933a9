"""What an adaptation is: a change of a trained network by images without labels from where it will be used."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import torch
import tyro
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.data import AbstractSource, TrainSplit
from auxo.errors import DataError
from auxo.evaluation import Reader
from auxo.options import FamilyOptions

FEW_IMAGES = 100
"""What is adapted to fewer is rough."""


class UnlabelledImages:
    """The images of a source, and nothing else of it: an adaptation cannot read a label.

    Args:
        source: its targets, if it has any, are not passed on.

    Raises:
        DataError: it has no image.
    """

    def __init__(self, source: AbstractSource) -> None:
        if len(source) == 0:
            raise DataError(f"images in {source.name}", "none", "name another set")
        self.name = source.name
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: Int[Tensor, " n"]) -> UInt8[Tensor, "n channels height width"]:
        """Return the images at some positions; uint8 on the CPU.

        Raises:
            DataError: an image is damaged; the message names it.
        """
        return self._source.fetch(indices)

    def choose(self, count: int) -> Int[Tensor, " n"]:
        """Return the positions of at most so many images, chosen and ordered by their contents, not by their order.

        Cost: where there are more images, all of them are read once.
        """
        if len(self) <= count:
            return torch.arange(len(self))
        hashes = self._source.content_hashes()
        return torch.tensor(sorted(range(len(self)), key=lambda position: hashes[position])[:count])


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an adaptation works with.

    Args:
        reader: of the trained network, whose weights and statistics it changes in place.
        target: images from where the network will be used.
        seed: of all draws.
        source: the run's training images; ``None`` where they are not at hand.
        shares: of the classes in training; empty where the task has none.
    """

    reader: Reader
    target: UnlabelledImages
    seed: int = 0
    source: TrainSplit | None = None
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig(FamilyOptions):
    """How a trained network is adapted; an adaptation is nothing but its options."""

    family = "adaptation"

    name: Annotated[str, tyro.conf.arg(name="method")] = field(init=False, default="")
    """How to adapt; it decides which other options there are. "auxo list adaptations" describes them."""

    @property
    def needs_source(self) -> bool:
        """Whether it trains on the run's training images, too."""
        return False

    @property
    def is_checked(self) -> bool:
        """Whether what it did is held against the class proportions of training, and undone where it fits them less."""
        return False

    def require(self, setting: Setting) -> None:
        """Refuse a network that cannot be adapted so, before any work; by default none.

        Raises:
            ConfigError: what the adaptation moves is not there.
        """
        del setting

    def find_doubts(self, setting: Setting) -> list[str]:
        """Return what speaks against adapting so, a sentence each, before any work; by default that images are few."""
        count = len(setting.target)
        return [] if count >= FEW_IMAGES else [f"{count} images are few to adapt to: fewer than {FEW_IMAGES}"]

    @abstractmethod
    def adapt(self, setting: Setting) -> Mapping[str, Float[Tensor, ""] | float | int]:
        """Change the network in place, and return numbers that say what was done, by name."""
