"""What a combination network is: from the losses of each sample to one loss of it."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import OptionError
from auxo.options import FamilyOptions
from auxo.random import derive_seed, global_seed


class AbstractCombination(nn.Module, ABC):
    """Makes one loss of several, for each sample.

    Attributes:
        reads_places: whether it takes losses with places; others get their means over the places.
        adds_primary: whether the primary task's mean loss is added to what it returns.
    """

    reads_places: ClassVar[bool] = False

    adds_primary: bool = True

    @abstractmethod
    def forward(self, losses: Float[Tensor, "samples tasks *places"]) -> Float[Tensor, " samples"]:
        """Return the combined loss of each sample, attached to the graph."""

    @torch.no_grad()
    def clamp(self) -> None:
        """Set negative weights to 0, so that the combined loss falls in no task's loss; biases stay."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                parameter.clamp_(min=0)


@dataclass(frozen=True, kw_only=True)
class CombinationConfig(FamilyOptions):
    """How losses are combined; each network has options of its own, nested in it as ``Config``."""

    family = "gates.combinations"

    @abstractmethod
    def build(self, *, num_tasks: int, seed: int) -> AbstractCombination:
        """Return the network, on the CPU; its first weights come from the stream ``init/gate``.

        Args:
            num_tasks: losses to combine.
            seed: the run's seed.
        """


def first_weights(seed: int) -> AbstractContextManager[None]:
    """Return the context in which a network is made, so that its first weights come from the stream ``init/gate``."""
    return global_seed(derive_seed(seed, "init", "gate"))


def draw_weights(module: nn.Module, *, low: float, high: float) -> None:
    """Draw weights evenly between two bounds from torch's global generator, and set biases to 0."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.uniform_(parameter, low, high)
        else:
            nn.init.zeros_(parameter)


def check_bounds(low: float, high: float) -> None:
    """Refuse bounds of first weights of which the lower is not below the upper one."""
    if not low < high:
        raise OptionError("low", f"< {high:g}, the high", str(low), "lower it")


def check_hidden(option: str, sizes: tuple[int, ...]) -> None:
    """Refuse a network without a hidden layer."""
    if not sizes:
        raise OptionError(option, "of at least one layer", "none", "name a size, or choose the network linear")
