"""What a pretext is: a task that makes its own labels."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Int, Shaped
from torch import Tensor

from auxo.random import Draws
from auxo.types import Images, Losses


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
